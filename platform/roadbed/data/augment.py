"""Augmentation of a frame and its mask together, by albumentations.

The random numbers of a sample are seeded by (dataset, seed, epoch, sample), so that the same sample of the same epoch
looks the same whichever worker draws it. All transforms of a pipeline draw from one generator, one after the other:
seeded each for itself (albumentations' set_random_seed) they would draw the same number, and mirror exactly the frames
whose colours they change.

Pipelines of the common kind run by `fused.py`: the same pixels in a third of the time.
"""

from __future__ import annotations

import copy
import os
import random
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from roadbed.data.encoding import Cut, cut_out
from roadbed.data.fused import FusedTransforms
from roadbed.errors import UsageError
from roadbed.spec import DataSpec

if TYPE_CHECKING:
    import albumentations

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def training_transforms(spec: DataSpec) -> albumentations.Compose:
    """The pipeline of the `data` section: crop of a random part, mirror, brightness and colours, weather, camera.

    Frames are resized bilinearly, masks by the nearest pixel. With weather or camera the pipeline is not fused, and
    costs some milliseconds a frame. There is no fog: albumentations' costs 100 ms for 320x240 pixels.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for a newer version
    import albumentations

    from roadbed.data.crops import BalancedCrop

    height, width = spec.crop_px
    aspect = width / height
    factors = (1 - spec.color_strength, 1 + spec.color_strength)
    cropping: dict[str, Any] = {
        "size": (height, width),
        "scale": spec.crop_area,
        "ratio": (aspect / 1.25, aspect * 1.25),
        "interpolation": cv2.INTER_LINEAR,
        "mask_interpolation": cv2.INTER_NEAREST,
    }
    steps: list[Any] = [
        BalancedCrop(**cropping, max_share=spec.crop_max_share)
        if spec.crop_max_share < 1.0
        else albumentations.RandomResizedCrop(**cropping),
        albumentations.HorizontalFlip(p=spec.flip_probability),
        albumentations.ColorJitter(
            brightness=factors,
            contrast=factors,
            saturation=factors,
            hue=(-spec.color_strength / 10, spec.color_strength / 10),
            p=spec.color_probability,
        ),
    ]
    if spec.weather_probability:
        weather = [
            albumentations.RandomRain(p=1),
            albumentations.RandomShadow(shadow_roi=(0, 0.4, 1, 1), p=1),
            albumentations.RandomSunFlare(flare_roi=(0, 0, 1, 0.5), src_radius=width // 4, p=1),
        ]
        steps.append(albumentations.OneOf(weather, p=spec.weather_probability))
    if spec.camera_probability:
        camera = [
            albumentations.GaussianBlur(blur_limit=(3, 5), p=1),
            albumentations.MotionBlur(blur_limit=(3, 7), p=1),
            albumentations.GaussNoise(std_range=(0.02, 0.08), p=1),
            albumentations.ImageCompression(quality_range=(40, 90), p=1),
        ]
        steps.append(albumentations.OneOf(camera, p=spec.camera_probability))
    return albumentations.Compose(steps)


class Augmenter:
    """Applies an albumentations pipeline from many threads; every thread works on a copy of its own."""

    def __init__(self, transforms: albumentations.Compose, *, may_fuse: bool = True) -> None:
        self._transforms = transforms
        self._fused = FusedTransforms.of(transforms) if may_fuse else None
        self._own = threading.local()

    @property
    def is_fused(self) -> bool:
        """Whether the pipeline is of the kind that runs without albumentations' own machinery."""
        return self._fused is not None

    def __call__(self, image_HW3: Pixels, mask_HW: Pixels, *, seed: int) -> tuple[Pixels, Pixels]:
        """The augmented (image_HW3, mask_HW), the same for the same seed."""
        if self._fused is not None:
            height, width = self._fused.size_px
            out = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.uint8)
            self._fused(partial(cut_out, image_HW3), mask_HW, seed=seed, out=out)
            return out
        transforms = getattr(self._own, "transforms", None)
        if transforms is None:
            transforms = self._own.transforms = copy.deepcopy(self._transforms)
        transforms.set_random_state(np.random.default_rng(seed), random.Random(seed))
        changed = transforms(image=image_HW3, mask=mask_HW)
        return changed["image"], changed["mask"]

    def into(self, cut: Cut, mask_HW: Pixels, *, seed: int, out: tuple[Pixels, Pixels]) -> None:
        """As a call, but the frame is what `cut` gives of it, and the pixels go to `out`, contiguous.

        Raises UsageError if the pipeline gives another size.
        """
        if self._fused is not None and self._fused.size_px == out[1].shape:
            self._fused(cut, mask_HW, seed=seed, out=out)
            return
        height, width = mask_HW.shape
        image_HW3, mask_HW = self(cut((0, 0, width, height)), mask_HW, seed=seed)
        if image_HW3.shape != out[0].shape or mask_HW.shape != out[1].shape:
            raise UsageError(
                f"the augmentation gives frames {image_HW3.shape} and masks {mask_HW.shape}, but those of a batch are "
                f"{out[0].shape} and {out[1].shape}: let its last crop or resize be of data.crop_px"
            )
        out[0][...], out[1][...] = image_HW3, mask_HW
