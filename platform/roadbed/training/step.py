"""The gradients of one global batch, over any number of workers.

b samples of a micro-batch, B of a worker's share, K classes, H x W pixels.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from roadbed.errors import UsageError
from roadbed.models import SegmentationModel
from roadbed.training.batch_norm import running_statistics
from roadbed.training.group import Group
from roadbed.training.loss import Divisors, Loss
from roadbed.training.precision import Precision, autocast

BLANK_PX = 64


@dataclass
class UnsettledStep:
    """A step whose loss is not known yet: the device may still be at it."""

    line: dict[str, Any]
    own_loss: torch.Tensor
    samples: tuple[int, ...]
    num_samples: int
    """Of the global batch, without those that were skipped."""
    norm: torch.Tensor | None = None
    """Of the gradients, where it was asked for; the same on every worker."""


class GradientStep:
    """Leaves in the model's parameters the gradients of a global batch's mean loss.

    A worker's loss is a sum over its share, divided by what the whole global batch weighs; so uneven shares, ignored
    pixels and class weights come out as in one process. A worker without samples in the last batch joins in with a
    frame in which all pixels are ignored.
    """

    def __init__(
        self,
        model: SegmentationModel,
        group: Group,
        *,
        loss: Loss,
        ignore_id: int,
        micro_batch: int,
        largest_share: int,
        is_synchronized: bool = False,
        is_compiled: bool = False,
    ) -> None:
        """`largest_share` is the most samples that any worker gets of a global batch.

        With `is_synchronized` batch norm workers wait for each other in every forward pass, so each makes as many as
        the largest share takes, whatever its own. With `is_compiled` torch.compile makes kernels of the network, one
        set for each size that comes; raises UsageError, on every worker, if one has no
        C++ compiler.
        """
        self._model, self._group = model, group
        self._loss = loss
        self._ignore_id = ignore_id
        self._micro_batch = micro_batch
        most_passes = -(-largest_share // micro_batch)
        self._num_passes = most_passes if is_synchronized else 1
        outputs = _Outputs(model)
        self._network: nn.Module = outputs
        if group.num_workers > 1:
            self._network = DistributedDataParallel(
                self._network,
                forward_sync_buffers=False,
                gradient_as_bucket_view=True,
                # The same parameters in every step. But torch 2.14 cannot do it together with no_sync, and with it
                # three workers on CPUs that go on sum in another order than an attempt that was never broken.
                static_graph=most_passes == 1 and group.device.type != "cpu",
            )
            if group.device.type == "cpu":
                self._lay_out_buckets()
        if is_compiled:
            with group.together():
                _check_compiler()
            outputs.compile(dynamic=False)

    def __call__(
        self,
        images_B3HW: torch.Tensor,
        masks_BHW: torch.Tensor,
        *,
        divisors: Divisors,
        precision: Precision,
        seed: int,
    ) -> torch.Tensor:
        """This worker's part of the mean loss (a scalar on the device; the parts of all workers add up to it).

        `divisors` are those of the global batch; `seed` draws the dropout.
        """
        torch.manual_seed(seed)
        loss = torch.zeros((), device=self._group.device)
        parts = self._micro_batches(images_B3HW, masks_BHW)
        times = _PassTimes(self._group.device)
        for number, (images_b3HW, masks_bHW) in enumerate(parts, start=1):
            times.mark()
            with self._sync(is_last=number == len(parts)), running_statistics(self._model, images_b3HW):
                with autocast(self._group.device, precision):
                    outputs = self._network(images_b3HW)
                part = self._loss.of_outputs(outputs, masks_bHW, divisors)
                times.mark()
                # DistributedDataParallel divides the sum of the gradients by the number of workers.
                (part * self._group.num_workers).backward()  # type: ignore[no-untyped-call]
            times.mark()
            loss += part.detach()
        self._group.watch.passed(times.measure)
        return loss

    def _lay_out_buckets(self) -> None:
        """Let a blank frame go first, so that an attempt that goes on adds up as one that was never broken.

        DistributedDataParallel lays out its buckets anew after the first pass, and with them the order in which the
        gradients of three or more workers are summed.
        """
        self._model.eval()
        images_B3HW = torch.zeros((1, 3, BLANK_PX, BLANK_PX), dtype=torch.uint8, device=self._group.device)
        sum(output_BKHW.sum() for output_BKHW in self._network(images_B3HW)).backward()
        self._model.zero_grad(set_to_none=True)
        self._model.train()

    def _micro_batches(
        self, images_B3HW: torch.Tensor, masks_BHW: torch.Tensor
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        size = self._micro_batch
        starts = range(0, len(images_B3HW), size)
        parts = [(images_B3HW[start : start + size], masks_BHW[start : start + size]) for start in starts]
        blank = (
            images_B3HW.new_zeros((1, *images_B3HW.shape[1:])),
            masks_BHW.new_full((1, *masks_BHW.shape[1:]), self._ignore_id),
        )
        return parts + [blank] * (self._num_passes - len(parts))

    def _sync(self, *, is_last: bool) -> AbstractContextManager[None]:
        if isinstance(self._network, DistributedDataParallel) and not is_last:
            return self._network.no_sync()
        return nullcontext()


class _PassTimes:
    """When passes through the network began, turned and ended, by the clock of the device that makes them.

    A GPU is only given its work: what it marks can be read when it has come so far.
    """

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._marks: list[Any] = []

    def mark(self) -> None:
        """The next of the three moments of a micro-batch: before it, after its loss, after its gradients."""
        if not self._is_cuda:
            self._marks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        self._marks.append(event)

    def measure(self) -> tuple[float, float]:
        """Seconds forward, with the loss, and backward. Waits until the device has come so far."""
        marks = self._marks
        return self._between(marks[0::3], marks[1::3]), self._between(marks[1::3], marks[2::3])

    def _between(self, begins: list[Any], ends: list[Any]) -> float:
        if not self._is_cuda:
            return float(sum(ends) - sum(begins))
        ends[-1].synchronize()
        return float(sum(begin.elapsed_time(end) for begin, end in zip(begins, ends, strict=True)) / 1e3)


def _check_compiler() -> None:
    names = [name for name in (os.environ.get("CXX"), "g++", "clang++") if name]
    if not any(shutil.which(name) for name in names):
        raise UsageError(
            f"train.compile: torch.compile needs a C++ compiler on every worker, and none is there (looked for "
            f"{', '.join(names)}); install g++, or set train.compile to false"
        )


class _Outputs(nn.Module):
    """The logits of a model's head, and those of its auxiliary head if it has one."""

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self._model = model

    def forward(self, images_B3HW: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self._model.aux_head is None:
            return (self._model(images_B3HW),)
        return self._model.forward_with_auxiliary(images_B3HW)
