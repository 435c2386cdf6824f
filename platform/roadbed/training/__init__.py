"""Training by torch.distributed, without Ray: losses, schedule, checkpoints, and the loop that uses them."""
