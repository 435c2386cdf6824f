"""What is wrong with a frame by itself, and the few figures of it that the whole dataset is judged by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from roadbed.data.doctor.opening import Picture
from roadbed.data.sources.images import UPRIGHT

TINY_PX = 96
FEW_COLOURS = 40
FLAT_CONTRAST = 3.0
# Channels that differ by no more than this are the rounding of a grey picture in JPEG.
GREY_STEPS = 3
# So many pixels of a side are looked at where a sample of the frame will do.
SAMPLE_PX = 64
ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")

Remark = tuple[str, str]
"""A check's id, and what there is, in a few words."""


@dataclass(frozen=True)
class Tone:
    """Mean and standard deviation of a frame's grey, 0..255, and whether it has no colours."""

    brightness: float
    contrast: float
    is_grey: bool

    @property
    def is_flat(self) -> bool:
        """Whether there is nothing to see."""
        return self.contrast < FLAT_CONTRAST


def frame_remarks(picture: Picture) -> Iterator[Remark]:
    """What keeps a file from being a frame."""
    if picture.orientation not in UPRIGHT:
        yield "exif-rotation", f"orientation {picture.orientation}"
    if picture.is_16_bit:
        yield "frame-16-bit", f"values up to {int(picture.pixels.max(initial=0))}"
    elif picture.mode in ALPHA_MODES:
        alpha_HW = picture.pixels[..., -1]
        share = float((alpha_HW < 255).mean())
        yield "frame-alpha", f"mode {picture.mode}, {100 * share:.0f} % of it not opaque"
    elif picture.mode != "RGB":
        yield "frame-mode", f"mode {picture.mode}"


def tone(image_HW3: np.ndarray) -> Tone:
    """How bright a frame is, how much it varies, and whether it has colours."""
    small_HW3 = sampled(image_HW3)
    grey_HW = cv2.cvtColor(small_HW3, cv2.COLOR_RGB2GRAY)
    spread_HW = small_HW3.max(axis=2).astype(np.int16) - small_HW3.min(axis=2)
    return Tone(float(grey_HW.mean()), float(grey_HW.std()), bool(spread_HW.max(initial=0) <= GREY_STEPS))


def tone_remarks(image_HW3: np.ndarray, found: Tone) -> Iterator[Remark]:
    """What is odd about the pixels of a frame, whatever the others are like."""
    height_px, width_px = image_HW3.shape[:2]
    if min(height_px, width_px) < TINY_PX:
        yield "frame-tiny", f"{width_px}x{height_px}"
    if found.is_flat:
        yield "frame-flat", f"brightness {found.brightness:.0f} of 255, contrast {found.contrast:.1f}"
    elif (num_colours := _num_colours(image_HW3)) <= FEW_COLOURS:
        yield "frame-few-colours", f"{num_colours} colours"


def sampled(pixels: np.ndarray) -> np.ndarray:
    """Evenly spread pixels, some SAMPLE_PX to a side."""
    rows, columns = (max(side // SAMPLE_PX, 1) for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _num_colours(image_HW3: np.ndarray) -> int:
    """How many different colours, of pixels as they are: a resized mask would have more."""
    small_N3 = sampled(image_HW3).reshape(-1, 3).astype(np.uint32)
    return len(np.unique(small_N3[:, 0] << 16 | small_N3[:, 1] << 8 | small_N3[:, 2]))
