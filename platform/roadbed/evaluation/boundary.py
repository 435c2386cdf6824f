"""Boundary IoU: intersection over union of the classes' borders, of a width that is a share of the frame's diagonal.

Source: Cheng et al., Boundary IoU, CVPR 2021 (arXiv:2103.16562). There it is that of an object; here, as with the IoU
of semantic segmentation, a class's pixels are counted over all frames before they are divided.

Shapes: H and W pixels, K classes.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from roadbed.scores import CountArray, MaskArray

DEFAULT_DILATION = 0.005
"""Half a percent of the diagonal: 3 pixels of 480x360, 11 of 2048x1024. The paper's 2 % would be all of a pole."""


def dilation_px(height_px: int, width_px: int, *, share: float) -> int:
    """How far a boundary reaches into a class, in pixels, at least 1."""
    return max(1, round(share * math.hypot(height_px, width_px)))


def boundary_counts(
    truth_HW: MaskArray, predicted_HW: MaskArray, *, num_classes: int, ignore_id: int, share: float
) -> CountArray:
    """Of every class the pixels (3, K) that lie in both boundaries, in the truth's, and in the prediction's.

    A pixel lies in its class's boundary if another class, or the frame's edge, is at most `dilation_px` away, along
    rows, columns or both. Pixels that nobody labelled are taken to be what is predicted there, so that their
    edges are no boundaries, and are not counted.
    """
    is_labelled_HW = truth_HW != ignore_id
    filled_HW = np.where(is_labelled_HW, truth_HW, predicted_HW).astype(np.uint8)
    width_px = dilation_px(*truth_HW.shape, share=share)
    in_truth_HW = _is_boundary(filled_HW, width_px) & is_labelled_HW
    in_predicted_HW = _is_boundary(predicted_HW.astype(np.uint8), width_px) & is_labelled_HW
    in_both_HW = in_truth_HW & in_predicted_HW & (filled_HW == predicted_HW)
    parts = (filled_HW[in_both_HW], filled_HW[in_truth_HW], predicted_HW[in_predicted_HW])
    return np.stack([np.bincount(ids, minlength=num_classes) for ids in parts]).astype(np.int64)


def _is_boundary(mask_HW: np.ndarray, width_px: int) -> np.ndarray:
    """Where a window around a pixel holds more than its class: its greatest and its least id differ."""
    # 255 is no class: outside the frame, as in the authors' code, is something else.
    padded = cv2.copyMakeBorder(mask_HW, width_px, width_px, width_px, width_px, cv2.BORDER_CONSTANT, value=255)
    window = np.ones((2 * width_px + 1,) * 2, np.uint8)
    differs = cv2.dilate(padded, window) != cv2.erode(padded, window)
    return np.asarray(differs[width_px:-width_px, width_px:-width_px])
