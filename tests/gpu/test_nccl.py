"""Two processes on two GPUs over NCCL: the gradients of one process, and synchronised statistics of the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from gpu_steps import apart, gradients, small_model
from roadbed.training.group import Group

pytestmark = pytest.mark.gpu

NUM_SAMPLES = 6


def _worker(rank: int, num_workers: int, folder: Path, settings: dict[str, object]) -> None:
    torch.cuda.set_device(rank)
    torch.backends.cudnn.allow_tf32 = False
    dist.init_process_group("nccl", init_method=f"file://{folder}/meeting", rank=rank, world_size=num_workers)
    group = Group(rank=rank, num_workers=num_workers, device=torch.device("cuda", rank))
    model = small_model(**settings)
    loss, named = gradients(model, group, num_samples=NUM_SAMPLES)
    if rank == 0:
        buffers = {name: tensor.cpu() for name, tensor in model.named_buffers()}
        torch.save({"loss": loss, "gradients": named, "buffers": buffers}, folder / "found.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_norm": "frozen"},
        {"batch_norm": "sync"},
        {"batch_norm": "sync", "backbone": "timm:mobilenetv2_100"},
        {"batch_norm": "sync", "backbone": "resnet50", "architecture": "deeplabv3"},
    ],
    ids=lambda settings: "-".join(settings.values()),
)
def test_two_workers_step_as_one_process_does(
    two_gpus: int, cuda: torch.device, tmp_path: Path, settings: dict[str, object]
) -> None:
    """With synchronised batch norm too: one process that has the whole batch normalises by its statistics."""
    mp.spawn(_worker, args=(two_gpus, tmp_path, settings), nprocs=two_gpus)  # type: ignore[attr-defined]
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    model = small_model(**settings)
    loss, theirs = gradients(model, Group(device=cuda), num_samples=NUM_SAMPLES)
    assert found["loss"] == pytest.approx(loss, rel=1e-4)
    assert apart(found["gradients"], theirs) < 1e-2
    buffers = dict(model.named_buffers())
    assert found["buffers"].keys() == buffers.keys()
    for name, tensor in buffers.items():
        torch.testing.assert_close(found["buffers"][name], tensor.cpu(), rtol=1e-3, atol=1e-4, msg=name)
