"""The gradients of one global batch, over any number of workers.

b samples of a micro-batch, B of a worker's share, K classes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from roadbed.models import SegmentationModel
from roadbed.training.group import Group
from roadbed.training.loss import Divisors, Loss
from roadbed.training.precision import Precision, autocast


@dataclass
class UnsettledStep:
    """A step whose loss is not known yet: the device may still be at it."""

    line: dict[str, Any]
    own_loss: torch.Tensor
    samples: tuple[int, ...]
    num_samples: int
    """Of the global batch, without those that were skipped."""
    waited_s: float


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
    ) -> None:
        """`largest_share` is the most samples that any worker gets of a global batch."""
        self._model, self._group = model, group
        self._loss = loss
        self._ignore_id = ignore_id
        self._micro_batch = micro_batch
        self._network: nn.Module = _Outputs(model)
        if group.num_workers > 1:
            self._network = DistributedDataParallel(
                self._network,
                broadcast_buffers=False,
                gradient_as_bucket_view=True,
                # The same parameters in every step; but torch 2.14 cannot do it together with no_sync.
                static_graph=largest_share <= micro_batch,
            )

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
        if not len(images_B3HW):
            images_B3HW = images_B3HW.new_zeros((1, *images_B3HW.shape[1:]))
            masks_BHW = masks_BHW.new_full((1, *masks_BHW.shape[1:]), self._ignore_id)
        loss = torch.zeros((), device=self._group.device)
        starts = range(0, len(images_B3HW), self._micro_batch)
        for start in starts:
            micro = slice(start, start + self._micro_batch)
            with self._sync(is_last=start == starts[-1]), _running_statistics(self._model, images_B3HW[micro]):
                with autocast(self._group.device, precision):
                    outputs = self._network(images_B3HW[micro])
                part = self._loss.of_outputs(outputs, masks_BHW[micro], divisors)
                # DistributedDataParallel divides the sum of the gradients by the number of workers.
                (part * self._group.num_workers).backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
        return loss

    def _sync(self, *, is_last: bool) -> AbstractContextManager[None]:
        if isinstance(self._network, DistributedDataParallel) and not is_last:
            return self._network.no_sync()
        return nullcontext()


class _Outputs(nn.Module):
    """The logits of a model's head, and those of its auxiliary head if it has one."""

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self._model = model

    def forward(self, images_B3HW: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self._model.aux_head is None:
            return (self._model(images_B3HW),)
        return self._model.forward_with_auxiliary(images_B3HW)


@contextmanager
def _running_statistics(model: nn.Module, images_b3HW: torch.Tensor) -> Iterator[None]:
    """Normalise a single sample by the running statistics, and leave them alone.

    Batch norm has no variance of one value, and the image-level branch of ASPP has one value per channel and sample.
    """
    live = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    if len(images_b3HW) > 1:
        live = []
    for module in live:
        module.eval()
    yield
    for module in live:
        module.train()
