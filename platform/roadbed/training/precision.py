"""Whether a training step computes in float32 or under bfloat16 autocast: a decision by measurement."""

from __future__ import annotations

import copy
import time
from contextlib import AbstractContextManager
from typing import Literal

import torch

from roadbed.inference.engines import has_bfloat16
from roadbed.models import SegmentationModel

Precision = Literal["fp32", "bf16"]

TIMED_STEPS = 2


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context in which the model's forward pass runs."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def choose_precision(
    requested: str, model: SegmentationModel, images_B3HW: torch.Tensor
) -> tuple[Precision, dict[str, float]]:
    """The precision to train in, and the seconds per step that were measured (empty where nothing was).

    `auto` is bf16 on a GPU that has it; on a CPU with bfloat16 instructions it is the faster one on these very images;
    elsewhere fp32. Of no images (a share that was skipped, or that the last batch left empty) one blank frame is timed.
    """
    if requested != "auto":
        return ("bf16" if requested == "bf16" else "fp32"), {}
    if images_B3HW.device.type == "cuda":
        return ("bf16" if torch.cuda.is_bf16_supported() else "fp32"), {}
    if not has_bfloat16():
        return "fp32", {}
    if not len(images_B3HW):
        images_B3HW = images_B3HW.new_zeros((1, *images_B3HW.shape[1:]))
    seconds = {name: _seconds_per_step(model, images_B3HW, name) for name in ("fp32", "bf16")}
    return ("bf16" if seconds["bf16"] < seconds["fp32"] else "fp32"), seconds


def _seconds_per_step(model: SegmentationModel, images_B3HW: torch.Tensor, precision: Literal["fp32", "bf16"]) -> float:
    trial = copy.deepcopy(model)
    best = float("inf")
    for _ in range(1 + TIMED_STEPS):
        start = time.perf_counter()
        with autocast(images_B3HW.device, precision):
            logits_BKHW = trial(images_B3HW)
        logits_BKHW.float().logsumexp(1).mean().backward()
        best = min(best, time.perf_counter() - start)
    return best
