"""Batch norm over several workers: statistics of all their shares together, or of one share alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from roadbed.models import SegmentationModel


def synchronize_batch_norm(model: SegmentationModel) -> None:
    """Let every batch norm compute its statistics over all workers, whose forward passes must then go in step.

    Parameters, buffers and their names stay the same. torch has this on GPUs alone.
    """
    if model.spec.timm_name is not None:
        from timm.layers.norm_act import convert_sync_batchnorm  # seconds to import; knows timm's with an activation

        convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    else:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]


@contextmanager
def running_statistics(model: nn.Module, images_b3HW: torch.Tensor) -> Iterator[None]:
    """Normalise a single sample by the running statistics, and leave them alone.

    Batch norm has no variance of one value, and the image-level branch of ASPP has one value per channel and sample.
    Synchronised batch norm has those of the other workers.
    """
    live = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    if len(images_b3HW) > 1:
        live = []
    for module in live:
        if not isinstance(module, nn.SyncBatchNorm):
            module.eval()
    yield
    for module in live:
        module.train()
