"""Rare classes of another frame, pasted upon a crop: signs, poles and riders come more often, before other backgrounds.

The other frame is the sample's partner of the same epoch (order.py), cropped and coloured as it is when its own turn
comes. Source: Olsson et al., ClassMix (arXiv:2007.07936), here with true labels, and rare classes instead of half.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from roadbed.spec import DataSpec

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Pair = tuple[Pixels, Pixels]


@dataclass(frozen=True)
class Paste:
    """What is pasted, and how often. `is_rare` has 255 for rare classes and 0 for all other ids, (256,) uint8."""

    probability: float
    is_rare: Pixels

    @classmethod
    def of(cls, spec: DataSpec, class_pixels: np.ndarray[Any, np.dtype[np.int64]]) -> Paste | None:
        """As the `data` section asks for, None if it does not; `class_pixels` (K,) are those of the split."""
        if not spec.paste_probability:
            return None
        is_rare = np.zeros(256, np.uint8)
        is_rare[: len(class_pixels)][class_pixels < spec.paste_share * class_pixels.sum()] = 255
        return cls(spec.paste_probability, is_rare)

    def happens(self, seed: int) -> bool:
        """Whether the sample whose augmentation has this seed gets anything."""
        return random.Random(f"paste {seed}").random() < self.probability

    def onto(self, out: Pair, part: Pair) -> None:
        """Replace the pixels of a crop, image (H, W, 3) and mask (H, W), by those of rare classes of another crop."""
        chosen_HW = cv2.LUT(part[1], self.is_rare)
        cv2.copyTo(part[0], chosen_HW, out[0])
        cv2.copyTo(part[1], chosen_HW, out[1])
