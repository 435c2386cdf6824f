"""Evaluation over any number of workers: one integer confusion matrix, the same as that of a single process."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch

from roadbed.data.labels import LabelSpace
from roadbed.data.loader import Loader
from roadbed.inference.views import ONE_VIEW, Views
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
    views: Views = ONE_VIEW,
    progress: Callable[[int], None] = lambda _: None,
) -> CountArray:
    """`counts_KK[truth, predicted]` over all frames of the loader's split, summed over the workers.

    Raises, on every worker, the DamagedError, DataError or StoreError of the one that could not read its frames.
    `views` are what the model sees of each frame. `progress` is told the number of frames that this worker
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
                shares_BKHW = views.predict(model, images_B3HW)
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
