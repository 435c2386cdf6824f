"""A large image seen through overlapping windows, whose shares are blended so that no seam shows.

Shapes: H and W pixels of the image, h and w of a window, K classes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from roadbed.errors import UsageError
from roadbed.inference.images import ImageArray
from roadbed.spec.serve import MIN_TILE_PX

ShareArray = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Tiles:
    """Windows of a size, of which each shares at least `overlap` of its side with the next."""

    height_px: int
    width_px: int
    overlap: float = 0.25

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of WIDTHxHEIGHT, as in 1024x512. Raises UsageError."""
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
        if not found or min(int(side) for side in found.groups()) < MIN_TILE_PX:
            raise UsageError(
                f"{text!r} is no size of a window; write WIDTHxHEIGHT in pixels from 64 on, as in 1024x512"
            )
        return cls(height_px=int(found[2]), width_px=int(found[1]))

    def is_needed(self, height_px: int, width_px: int) -> bool:
        """Whether an image of this size is larger than one window."""
        return height_px > self.height_px or width_px > self.width_px

    def mask(self, shares: Callable[[ImageArray], ShareArray], image_HW3: ImageArray) -> ImageArray:
        """The class (H, W) that has the largest blended share; `shares` gives (K, h, w) of a window (h, w, 3).

        A window counts less towards those of its edges that lie inside the image.
        """
        return self.mask_and_confidence(shares, image_HW3)[0]

    def mask_and_confidence(
        self, shares: Callable[[ImageArray], ShareArray], image_HW3: ImageArray
    ) -> tuple[ImageArray, ShareArray]:
        """As `mask`, and the blended share (H, W), 0..1, of each pixel's class."""
        height, width = image_HW3.shape[:2]
        total_KHW: ShareArray | None = None
        weight_HW = np.zeros((height, width), np.float32)
        rows, columns = self._starts(height, self.height_px), self._starts(width, self.width_px)
        for top, left in itertools.product(rows, columns):
            window = image_HW3[top : top + self.height_px, left : left + self.width_px]
            shares_Khw = shares(np.ascontiguousarray(window))
            weight_h1 = self._weight(window.shape[0], at_start=top == rows[0], at_end=top == rows[-1])[:, None]
            weight_w = self._weight(window.shape[1], at_start=left == columns[0], at_end=left == columns[-1])
            if total_KHW is None:
                total_KHW = np.zeros((len(shares_Khw), height, width), np.float32)
            place = (slice(top, top + window.shape[0]), slice(left, left + window.shape[1]))
            total_KHW[:, *place] += shares_Khw * weight_h1 * weight_w
            weight_HW[place] += weight_h1 * weight_w
        assert total_KHW is not None
        return np.asarray(total_KHW.argmax(0), np.uint8), np.asarray(total_KHW.max(0) / weight_HW)

    def _starts(self, side: int, window: int) -> list[int]:
        """Where windows begin along a side: evenly, the last one at the end."""
        if side <= window:
            return [0]
        step = max(1, round(window * (1 - self.overlap)))
        number = -(-(side - window) // step) + 1
        return [round(position * (side - window) / (number - 1)) for position in range(number)]

    def _weight(self, side: int, *, at_start: bool, at_end: bool) -> np.ndarray[Any, np.dtype[np.float32]]:
        ramp = max(1, round(side * self.overlap))
        rising = (np.arange(side, dtype=np.float32) + 0.5) / ramp
        weight = np.ones(side, np.float32)
        if not at_start:
            weight = np.minimum(weight, rising)
        if not at_end:
            weight = np.minimum(weight, rising[::-1])
        return weight
