"""Cross entropy with ignored pixels and class balance, as a sum that any number of workers can add up.

K classes, B samples, H x W pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

CountArray = np.ndarray[Any, np.dtype[np.int64]]


def class_weights(class_pixels: CountArray, *, balance: float) -> torch.Tensor:
    """A weight per class, (share of labelled pixels) ** -balance, scaled so that the mean pixel weighs 1.

    A class without pixels weighs 0: no pixel of it can come, and it must not bend the scale.
    """
    pixels = torch.tensor(class_pixels, dtype=torch.float64)
    shares = pixels / pixels.sum()
    weights = torch.where(shares > 0, shares.clamp_min(1e-12) ** -balance, 0.0)
    return (weights / (weights * shares).sum()).float()


def pixel_weight(masks_BHW: torch.Tensor, weights_K: torch.Tensor, *, ignore_id: int) -> float:
    """The sum of the class weights of all labelled pixels: what the summed loss is divided by."""
    counts = torch.bincount(masks_BHW.flatten().long(), minlength=ignore_id + 1)[: len(weights_K)]
    return float((counts.double() * weights_K.double()).sum())


def summed_cross_entropy(
    logits_BKHW: torch.Tensor, masks_BHW: torch.Tensor, weights_K: torch.Tensor, *, ignore_id: int
) -> torch.Tensor:
    """The weighted cross entropy, summed over all labelled pixels. Masks are uint8, on the logits' device."""
    return functional.cross_entropy(
        logits_BKHW.float(), masks_BHW.long(), weight=weights_K, ignore_index=ignore_id, reduction="sum"
    )
