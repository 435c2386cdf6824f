"""Augmentation of a frame and its mask together, by albumentations.

The random numbers of a sample are seeded by (dataset, seed, epoch, sample), so that the same sample of the same epoch
looks the same whichever worker draws it.
"""

from __future__ import annotations

import copy
import os
import threading
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from roadbed.spec import DataSpec

if TYPE_CHECKING:
    import albumentations

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def training_transforms(spec: DataSpec) -> albumentations.Compose:
    """The pipeline of the `data` section: crop of a random part, mirror, brightness and colours.

    Frames are resized bilinearly, masks by the nearest pixel.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for a newer version
    import albumentations

    height, width = spec.crop_px
    aspect = width / height
    return albumentations.Compose(
        [
            albumentations.RandomResizedCrop(
                size=(height, width),
                scale=spec.crop_area,
                ratio=(aspect / 1.25, aspect * 1.25),
                interpolation=cv2.INTER_LINEAR,
                mask_interpolation=cv2.INTER_NEAREST,
            ),
            albumentations.HorizontalFlip(p=spec.flip_probability),
            albumentations.ColorJitter(
                brightness=(0.7, 1.3),
                contrast=(0.7, 1.3),
                saturation=(0.7, 1.3),
                hue=(-0.03, 0.03),
                p=spec.color_probability,
            ),
        ]
    )


class Augmenter:
    """Applies an albumentations pipeline from many threads; every thread works on a copy of its own."""

    def __init__(self, transforms: albumentations.Compose) -> None:
        self._transforms = transforms
        self._own = threading.local()

    def __call__(self, image_HW3: Pixels, mask_HW: Pixels, *, seed: int) -> tuple[Pixels, Pixels]:
        """The augmented (image_HW3, mask_HW), the same for the same seed."""
        transforms = getattr(self._own, "transforms", None)
        if transforms is None:
            transforms = self._own.transforms = copy.deepcopy(self._transforms)
        transforms.set_random_seed(seed)
        changed = transforms(image=image_HW3, mask=mask_HW)
        return changed["image"], changed["mask"]
