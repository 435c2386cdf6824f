"""Calibration: whether of the pixels of which a network is 80 % sure 80 % are right.

Confidences are counted in whole 65,536ths, so that sums over frames and workers are exact in any order.

Shapes: H and W pixels, B bins.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from roadbed.scores import CountArray, MaskArray, ShareArray

NUM_BINS = 15
UNIT = 1 << 16


def calibration_counts(
    truth_HW: MaskArray, predicted_HW: MaskArray, confidence_HW: np.ndarray[Any, Any], *, ignore_id: int
) -> CountArray:
    """Of the labelled pixels in every bin of confidence (3, B): their number, the right ones, the sum of confidences.

    The sum is in `UNIT`ths. Bins have one width; 1.0 falls into the last.
    """
    is_labelled_HW = truth_HW != ignore_id
    units_P = np.rint(confidence_HW[is_labelled_HW].astype(np.float64) * UNIT).astype(np.int64)
    bins_P = np.clip(units_P * NUM_BINS // UNIT, 0, NUM_BINS - 1)
    is_right_P = truth_HW[is_labelled_HW] == predicted_HW[is_labelled_HW]
    pixels_B = np.bincount(bins_P, minlength=NUM_BINS)
    right_B = np.bincount(bins_P[is_right_P], minlength=NUM_BINS)
    # Whole numbers below 2 ** 53, so floats add them up exactly.
    units_B = np.bincount(bins_P, weights=units_P, minlength=NUM_BINS)
    return np.stack([pixels_B, right_B, units_B.astype(np.int64)]).astype(np.int64)


def calibration_error(sums_R3B: np.ndarray[Any, Any]) -> ShareArray:
    """ECE (R,): the mean distance of confidence and share of right pixels over the bins, each weighed by its pixels.

    nan where nothing was counted. Source: Guo et al., ICML 2017 (arXiv:1706.04599), section 2, with its 15 bins.
    """
    pixels_RB, right_RB, units_RB = (sums_R3B[:, part].astype(np.float64) for part in range(3))
    pixels_R = pixels_RB.sum(axis=1)
    distance_R = np.abs(right_RB - units_RB / UNIT).sum(axis=1)
    return np.asarray(np.divide(distance_R, pixels_R, out=np.full(len(pixels_R), np.nan), where=pixels_R > 0))
