"""A training step on one GPU: the CPU's to float rounding, near it under bf16, and the same again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gpu_steps import apart, gradients, small_model
from roadbed.models import SegmentationModel
from roadbed.training.attempt import Outcome, run_attempt
from roadbed.training.group import Group
from roadbed.training.precision import Precision, choose_precision
from support import blocks_dataset, blocks_job

pytestmark = pytest.mark.gpu

BACKBONES = ("efficientnet_lite0", "mobilenet_v3_large", "resnet50", "timm:mobilenetv2_100")


def frozen_model(backbone: str) -> SegmentationModel:
    return small_model(backbone=backbone, batch_norm="frozen")


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_step_is_that_of_the_cpu(cuda: torch.device, backbone: str) -> None:
    """With frozen batch norm: random weights under live statistics enlarge a rounding to 5 % of a gradient."""
    loss, ours = gradients(frozen_model(backbone), Group(device=cuda), num_samples=4)
    expected, theirs = gradients(frozen_model(backbone), Group(), num_samples=4)
    assert loss == pytest.approx(expected, rel=1e-4)
    assert apart(ours, theirs) < 1e-2


@pytest.mark.parametrize("backbone", BACKBONES)
def test_bf16_autocast_is_near_float32(cuda: torch.device, backbone: str) -> None:
    """A CPU's bfloat16 is up to 0.07 away."""
    if not torch.cuda.is_bf16_supported():
        pytest.skip(f"{torch.cuda.get_device_name(cuda)} has no bfloat16")
    group = Group(device=cuda)
    loss, ours = gradients(frozen_model(backbone), group, num_samples=4, precision="bf16")
    expected, theirs = gradients(frozen_model(backbone), group, num_samples=4)
    assert loss == pytest.approx(expected, rel=1e-2)
    assert 0 < apart(ours, theirs) < 0.2
    assert all(gradient.dtype == torch.float32 for gradient in ours.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_network_has_the_same_loss_and_gradients(cuda: torch.device, precision: Precision) -> None:
    group = Group(device=cuda)
    (loss, ours), (expected, theirs) = (
        gradients(small_model(batch_norm="frozen"), group, num_samples=2, precision=precision, is_compiled=is_compiled)
        for is_compiled in (True, False)
    )
    assert loss == pytest.approx(expected, rel=1e-2)
    assert apart(ours, theirs) < (1e-2 if precision == "fp32" else 0.2)


def test_passes_are_timed_by_the_device(cuda: torch.device) -> None:
    group = Group(device=cuda)
    group.watch.move("computing")
    gradients(frozen_model("resnet50"), group, num_samples=4)
    spent = group.watch.take_spent()
    assert spent["forward"] > 0
    assert spent["backward"] > spent["forward"] / 4


def test_auto_is_bf16_where_the_gpu_has_it(cuda: torch.device) -> None:
    images_B3HW = torch.zeros((1, 3, 64, 64), dtype=torch.uint8, device=cuda)
    chosen, seconds = choose_precision("auto", small_model().to(cuda), images_B3HW)
    assert chosen == ("bf16" if torch.cuda.is_bf16_supported() else "fp32")
    assert not seconds


def test_a_run_trains_checkpoints_and_evaluates_on_the_gpu(cuda: torch.device, tmp_path: Path) -> None:
    blocks_dataset(f"file://{tmp_path}/blocks")
    job = blocks_job(tmp_path, "model.batch_norm=live", "train.precision=auto", "train.micro_batch=4")
    assert run_attempt(job, Group(device=cuda)) == Outcome("finished")
