"""Two processes on two GPUs over NCCL: the gradients of one process, and synchronised statistics of the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from gpu_steps import apart, gradients, small_model, step_over_nccl
from roadbed.training.group import Group

pytestmark = pytest.mark.gpu

NUM_SAMPLES = 6
# On a CPU weights that are off by 1e-6 move these gradients by up to 0.006, and statistics of halves by 1 and more.
FARTHEST = 0.1


@pytest.mark.parametrize(
    "settings",
    [
        {"backbone": "resnet50", "batch_norm": "frozen"},
        {"backbone": "mobilenet_v3_large", "batch_norm": "sync"},
        {"backbone": "mobilenet_v3_large", "architecture": "deeplabv3", "batch_norm": "sync"},
        {"backbone": "timm:mobilenetv3_small_100", "batch_norm": "sync"},
    ],
    ids=lambda settings: "-".join(settings.values()),
)
def test_two_workers_step_as_one_process_does(
    two_gpus: int, cuda: torch.device, tmp_path: Path, settings: dict[str, object]
) -> None:
    """With synchronised batch norm too: one process that has the whole batch normalises by its statistics."""
    mp.spawn(step_over_nccl, args=(two_gpus, tmp_path, settings, NUM_SAMPLES), nprocs=two_gpus)  # type: ignore[attr-defined]
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    model = small_model(**settings)
    loss, theirs = gradients(model, Group(device=cuda), num_samples=NUM_SAMPLES)
    assert found["loss"] == pytest.approx(loss, rel=1e-4)
    assert apart(found["gradients"], theirs) < FARTHEST
    buffers = dict(model.named_buffers())
    assert found["buffers"].keys() == buffers.keys()
    for name, tensor in buffers.items():
        torch.testing.assert_close(found["buffers"][name], tensor.cpu(), rtol=1e-3, atol=1e-4, msg=name)
