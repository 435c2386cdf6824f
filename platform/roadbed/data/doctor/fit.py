"""Whether a mask lies upon its frame: edges of the frame against borders of the mask. Pure pixels, no files.

Both are made small, and the borders are moved over the edges. Where frame and mask belong together, the correlation
has its peak where nothing is moved; a peak elsewhere is a shift, and no peak at all is a mask of something else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

# Frames and masks are compared with as many pixels as a square of this side has; so far borders are moved there.
WORK_PX = 160
REACH_PX = 20
# A peak nearer than this to the middle is no shift: borders are drawn a pixel or two beside edges.
NEAR_PX = 2
# Sides that are shorter in the comparison leave too little to be sure of.
LEAST_PX = 2 * REACH_PX + 24


@dataclass(frozen=True)
class Outline:
    """A frame or a mask made small: how much of an edge there is at every pixel, float32, mean 0.

    `scale`: pixels of the original per pixel of the outline.
    """

    edges_HW: np.ndarray
    scale: float


@dataclass(frozen=True)
class Fit:
    """How borders correlate with edges (-1..1): as they lie, and at best, moved by so many pixels of the original.

    `spread` is the standard deviation over all moves, by which correlations are told from chance.
    """

    here: float
    best: float
    spread: float
    right_px: float
    down_px: float

    @property
    def is_off(self) -> bool:
        """Whether the best place is another one than where nothing is moved."""
        return max(abs(self.right_px), abs(self.down_px)) > 0 and self.best - self.here > 0

    @property
    def certainty(self) -> float:
        """How far the best place stands out above where the mask lies, in standard deviations."""
        return (self.best - self.here) / max(self.spread, 1e-6)

    @property
    def sureness(self) -> float:
        """How far the place where the mask lies stands out above chance, in standard deviations."""
        return self.here / max(self.spread, 1e-6)


def frame_outline(image_HW3: np.ndarray) -> Outline | None:
    """The edges of a uint8 RGB frame; None where it is too small or has none."""
    scale = _scale(image_HW3.shape[:2])
    grey_HW = cv2.cvtColor(_shrunk(image_HW3, scale), cv2.COLOR_RGB2GRAY).astype(np.float32)
    slope_HW = cv2.magnitude(cv2.Sobel(grey_HW, cv2.CV_32F, 1, 0), cv2.Sobel(grey_HW, cv2.CV_32F, 0, 1))
    return _outline(np.sqrt(slope_HW), scale)


def mask_outline(mask_HW: np.ndarray) -> Outline | None:
    """The borders between the values of a uint8 mask; None where it is too small or has none."""
    scale = _scale(mask_HW.shape)
    border_HW = borders(mask_HW).astype(np.float32)
    small_HW = _shrunk(border_HW, scale)
    return _outline(cv2.GaussianBlur(small_HW, (0, 0), 1.0), scale)


def borders(mask_HW: np.ndarray) -> np.ndarray:
    """Pixels on either side of a change of value, uint8 0 or 1."""
    found_HW = np.zeros(mask_HW.shape, np.uint8)
    across_HW = mask_HW[:, 1:] != mask_HW[:, :-1]
    down_HW = mask_HW[1:] != mask_HW[:-1]
    found_HW[:, 1:] |= across_HW
    found_HW[:, :-1] |= across_HW
    found_HW[1:] |= down_HW
    found_HW[:-1] |= down_HW
    return found_HW


def correlations(frame: Outline, mask: Outline) -> np.ndarray | None:
    """Correlation by move, float32 of 2 * REACH_PX + 1 squared, the middle where nothing is moved; None if too small.

    Row 0 is the mask moved up by REACH_PX, column 0 to the left.
    """
    if frame.edges_HW.shape != mask.edges_HW.shape or min(mask.edges_HW.shape) < LEAST_PX:
        return None
    inner_HW = mask.edges_HW[REACH_PX:-REACH_PX, REACH_PX:-REACH_PX]
    if not inner_HW.any():
        return None
    found = cv2.matchTemplate(frame.edges_HW, np.ascontiguousarray(inner_HW), cv2.TM_CCOEFF_NORMED)
    return np.asarray(found)


def fit(correlations_MM: np.ndarray, scale: float, *, near_px: int = NEAR_PX) -> Fit:
    """What the correlations of a frame and its mask (or the mean of those of many) say."""
    near = slice(REACH_PX - near_px, REACH_PX + near_px + 1)
    here = float(correlations_MM[near, near].max())
    row, column = np.unravel_index(int(correlations_MM.argmax()), correlations_MM.shape)
    down, right = int(row) - REACH_PX, int(column) - REACH_PX
    is_near = max(abs(down), abs(right)) <= near_px
    return Fit(
        here=here,
        best=float(correlations_MM.max()),
        spread=float(correlations_MM.std()),
        right_px=0.0 if is_near else right * scale,
        down_px=0.0 if is_near else down * scale,
    )


def _outline(edges_HW: np.ndarray, scale: float) -> Outline | None:
    if min(edges_HW.shape) < LEAST_PX or float(edges_HW.max()) - float(edges_HW.min()) < 1e-6:
        return None
    # What is bright over a wide part (a hedge, a crowd) says nothing about a shift.
    detail_HW = edges_HW - cv2.blur(edges_HW, (15, 15))
    return Outline(detail_HW, scale)


def _scale(size_px: tuple[int, ...]) -> float:
    return max(math.sqrt(size_px[0] * size_px[1]) / WORK_PX, 1.0)


def _shrunk(pixels: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1.0:
        return pixels
    height_px, width_px = (max(round(side / scale), 1) for side in pixels.shape[:2])
    return np.asarray(cv2.resize(pixels, (width_px, height_px), interpolation=cv2.INTER_AREA))
