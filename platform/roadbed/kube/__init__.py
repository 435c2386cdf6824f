"""Roadbed on Kubernetes: what a job becomes there, how it is checked, sent and followed. Neither torch nor ray."""
