"""Evaluation over any number of workers: one integer confusion matrix, the same as that of a single process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from roadbed.data.labels import LabelSpace
from roadbed.data.loader import Loader
from roadbed.models import SegmentationModel
from roadbed.scores import CountArray, confusion_counts
from roadbed.training.group import Group
from roadbed.training.precision import Precision, autocast

log = logging.getLogger(__name__)

_NUM_TOLD = 20


@torch.no_grad()
def evaluate(
    model: SegmentationModel,
    loader: Loader,
    *,
    labels: LabelSpace,
    batch_size: int,
    group: Group,
    precision: Precision,
    scales: Sequence[float] = (1.0,),
    is_flipped_too: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> CountArray:
    """`counts_KK[truth, predicted]` over all frames of the loader's split, summed over the workers.

    Raises, on every worker, the DamagedError, DataError or StoreError of the one that could not read its frames.
    `scales` and `is_flipped_too` are those of `predict_views`. `progress` is told the number of frames that this worker
    has done. The model is left as it was found but for its training mode, which is restored.
    """
    was_training = model.training
    model.eval()
    counts_KK = np.zeros((labels.num_classes, labels.num_classes), np.int64)
    done = 0
    skipped: list[str] = []
    with group.together():
        for batch in loader.evaluation_batches(batch_size):
            skipped += batch.skipped
            images_B3HW = torch.from_numpy(batch.images_BHW3).to(group.device).permute(0, 3, 1, 2)
            with autocast(group.device, precision):
                shares_BKHW = predict_views(model, images_B3HW, scales=scales, is_flipped_too=is_flipped_too)
            predicted_BHW = shares_BKHW.argmax(1).to(torch.uint8).cpu().numpy()
            counts_KK += confusion_counts(
                batch.masks_BHW, predicted_BHW, num_classes=labels.num_classes, ignore_id=labels.ignore_id
            )
            done += len(batch.samples)
            progress(done)
    model.train(was_training)
    keys = [key for share in group.gather(skipped) for key in share]
    if keys:
        told = ",".join(keys[:_NUM_TOLD]) + (",..." if len(keys) > _NUM_TOLD else "")
        log.warning("evaluated without damaged samples: split=%s number=%d keys=%s", loader.split.name, len(keys), told)
    return group.sum_counts(counts_KK)


def predict_views(
    model: nn.Module, images_B3HW: torch.Tensor, *, scales: Sequence[float], is_flipped_too: bool
) -> torch.Tensor:
    """What the largest of its classes is the prediction, (B, K, H, W): logits, or mean shares over several views.

    A view is the frame at one of the `scales` (over its own size), and with `is_flipped_too` also mirrored. Source:
    Chen et al., DeepLab (arXiv:1606.00915), section 4.1, multi-scale inputs.
    """
    if tuple(scales) == (1.0,) and not is_flipped_too:
        logits_BKHW: torch.Tensor = model(images_B3HW)
        return logits_BKHW
    size_HW = images_B3HW.shape[-2:]
    views = []
    for scale in scales:
        scaled = images_B3HW if scale == 1.0 else _resized(images_B3HW, scale)
        views.append(_shares(model(scaled), size_HW))
        if is_flipped_too:
            views.append(_shares(model(scaled.flip(-1)).flip(-1), size_HW))
    return torch.stack(views).mean(0)


def _resized(images_B3HW: torch.Tensor, scale: float) -> torch.Tensor:
    size_hw = [max(32, round(scale * side)) for side in images_B3HW.shape[-2:]]
    return functional.interpolate(images_B3HW.float(), size_hw, mode="bilinear", align_corners=False, antialias=True)


def _shares(logits_BKhw: torch.Tensor, size_HW: torch.Size) -> torch.Tensor:
    logits_BKHW = logits_BKhw.float()
    if logits_BKhw.shape[-2:] != size_HW:
        logits_BKHW = functional.interpolate(logits_BKHW, size_HW, mode="bilinear", align_corners=False)
    return logits_BKHW.softmax(1)
