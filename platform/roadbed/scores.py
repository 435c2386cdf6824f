"""Scores of segmentation, all from one table of integer counts.

`counts_KK[t, p]` is the number of pixels of true class t that were predicted as p. Counts of batches and
workers add up; only their sum is divided. Pixels that nobody labelled (the ignore id) are never counted. Numpy alone.

Shapes: K classes, B masks, H and W pixels; masks may have any shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

CountArray = np.ndarray[Any, np.dtype[np.int64]]
ShareArray = np.ndarray[Any, np.dtype[np.float64]]
MaskArray = np.ndarray[Any, np.dtype[Any]]


def confusion_counts(
    truth_BHW: MaskArray, predicted_BHW: MaskArray, *, num_classes: int, ignore_id: int = 255
) -> CountArray:
    """`counts_KK` of masks with ids 0..K-1; `ignore_id` (K..255) may stand in the truth alone.

    Raises ValueError if shapes differ or an id is out of range.
    """
    if truth_BHW.shape != predicted_BHW.shape:
        raise ValueError(f"truth is {truth_BHW.shape}, prediction is {predicted_BHW.shape}; they must be of one size")
    if not num_classes <= ignore_id <= 255:
        raise ValueError(f"ignore_id is {ignore_id}; with {num_classes} classes it lies within {num_classes}..255")
    pairs = _as_bytes(truth_BHW, "truth").astype(np.uint16) << 8
    pairs |= _as_bytes(predicted_BHW, "prediction")
    counts_NN = np.bincount(pairs, minlength=256 * 256).reshape(256, 256)
    _check_ids(counts_NN.sum(axis=0), "prediction", range(num_classes))
    _check_ids(counts_NN.sum(axis=1), "truth", [*range(num_classes), ignore_id])
    return counts_NN[:num_classes, :num_classes].astype(np.int64)


def iou_per_class(counts_KK: CountArray) -> ShareArray:
    """Intersection over union of every class, (K,); nan for a class that neither truth nor prediction has."""
    hits_K = np.diag(counts_KK)
    return _divide(hits_K, counts_KK.sum(axis=0) + counts_KK.sum(axis=1) - hits_K)


def mean_iou(counts_KK: CountArray) -> float:
    """Mean intersection over union of the classes that occur.

    A class absent from both truth and prediction has no IoU and is left out of the mean. Raises ValueError if no class
    occurs. Source: Cordts et al., CVPR 2016, section 4.1.
    """
    _check_any(counts_KK)
    return float(np.nanmean(iou_per_class(counts_KK)))


def class_accuracy(counts_KK: CountArray) -> ShareArray:
    """Share of every true class's pixels that were predicted right, (K,); nan for a class that the truth lacks."""
    return _divide(np.diag(counts_KK), counts_KK.sum(axis=1))


def pixel_accuracy(counts_KK: CountArray) -> float:
    """Share of all labelled pixels that were predicted right. Raises ValueError if there is none."""
    _check_any(counts_KK)
    return float(np.trace(counts_KK) / counts_KK.sum())


def frequency_weighted_iou(counts_KK: CountArray) -> float:
    """The classes' intersections over unions, each weighed by its share of the labelled pixels.

    Raises ValueError if no pixel was counted. Source: Long et al., CVPR 2015, section 5.
    """
    _check_any(counts_KK)
    truth_K = counts_KK.sum(axis=1)
    return float((truth_K * np.nan_to_num(iou_per_class(counts_KK))).sum() / truth_K.sum())


@dataclass(frozen=True)
class Scores:
    """What counts come to, all 0..1. `iou_per_class` has every class in id order, None where it occurs nowhere."""

    miou: float
    pixel_accuracy: float
    mean_accuracy: float
    iou_per_class: dict[str, float | None]

    @classmethod
    def from_counts(cls, counts_KK: CountArray, *, class_names: Sequence[str]) -> Scores:
        """Divide. Raises ValueError if no pixel was counted."""
        _check_any(counts_KK)
        ious = iou_per_class(counts_KK)
        return cls(
            miou=mean_iou(counts_KK),
            pixel_accuracy=pixel_accuracy(counts_KK),
            mean_accuracy=float(np.nanmean(class_accuracy(counts_KK))),
            iou_per_class={
                name: None if np.isnan(iou) else float(iou) for name, iou in zip(class_names, ious, strict=True)
            },
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON, under the field names."""
        return asdict(self)


def _as_bytes(mask: MaskArray, what: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    flat = np.ravel(mask)
    if flat.dtype == np.uint8:
        return flat
    if flat.dtype.kind not in "iu":
        raise ValueError(f"{what} holds {flat.dtype}; class ids are integers")
    if flat.size and (flat.min() < 0 or flat.max() > 255):
        raise ValueError(f"{what} has ids {flat.min()}..{flat.max()}; they lie within 0..255")
    return flat.astype(np.uint8)


def _check_ids(pixels_N: CountArray, what: str, allowed: Sequence[int]) -> None:
    wrong = sorted(set(np.flatnonzero(pixels_N).tolist()) - set(allowed))
    if wrong:
        raise ValueError(f"{what} has ids {wrong[:5]}, the classes do not fit")


def _check_any(counts_KK: CountArray) -> None:
    if not counts_KK.any():
        raise ValueError("no labelled pixel was counted, so there is nothing to score; is every pixel ignored?")


def _divide(parts_K: CountArray, wholes_K: CountArray) -> ShareArray:
    return np.asarray(np.divide(parts_K, wholes_K, out=np.full(len(parts_K), np.nan), where=wholes_K > 0))
