"""The common augmentation without detours: crop and resize, mirror, colours, written straight into a batch.

Takes a Compose of RandomResizedCrop (or our BalancedCrop), then perhaps HorizontalFlip, then perhaps ColorJitter
(albumentations 2.0.8), draws the very random numbers that it would draw, and calls OpenCV as it would: the pixels are
the same, bit by bit, which a test compares. What is saved is albumentations' checks and copies, passes over pixels that
another pass can do (neighbouring look-up tables become one, the last operation writes into the batch), and what waits
for Python's lock.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import stringzilla

from roadbed.data.encoding import Cut, cut_out
from roadbed.data.jpeg_parts import Box

if TYPE_CHECKING:
    import albumentations

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Range = tuple[float, float]
Table = np.ndarray[Any, np.dtype[np.uint8]]

CROP_DRAWS = 10
_CROP_TRIES = 10
_LEVELS = np.arange(256, dtype=np.float32)
_HUES = np.arange(256, dtype=np.int16)
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(4)


@dataclass(frozen=True)
class Colors:
    """What ColorJitter may do, and how often."""

    probability: float
    ranges: tuple[Range, Range, Range, Range]


@dataclass(frozen=True)
class FusedTransforms:
    """A pipeline of the common kind. Safe to use from several threads.

    `size_px` is height and width of what comes out, `area` the share of a frame that a crop takes, `aspect` its width
    by its height.
    """

    size_px: tuple[int, int]
    area: Range
    aspect: Range
    interpolation: int
    mask_interpolation: int
    flip_probability: float
    colors: Colors | None
    max_share: float
    ignore_id: int

    @classmethod
    def of(cls, compose: albumentations.Compose) -> FusedTransforms | None:
        """The same pipeline fused, or None if it has anything that is not of the common kind."""
        import albumentations

        from roadbed.data.crops import BalancedCrop

        steps: list[Any] = list(compose.transforms)
        if type(compose) is not albumentations.Compose or compose.p != 1.0 or compose.processors or not steps:
            return None
        crop = steps.pop(0)
        is_crop = type(crop) in (albumentations.RandomResizedCrop, BalancedCrop)
        if not is_crop or crop.p != 1.0 or crop.area_for_downscale is not None:
            return None
        flip = steps.pop(0) if steps and type(steps[0]) is albumentations.HorizontalFlip else None
        jitter = steps.pop(0) if steps and type(steps[0]) is albumentations.ColorJitter else None
        if steps:
            return None
        return cls(
            size_px=(crop.size[0], crop.size[1]),
            area=(crop.scale[0], crop.scale[1]),
            aspect=(crop.ratio[0], crop.ratio[1]),
            interpolation=crop.interpolation,
            mask_interpolation=crop.mask_interpolation,
            flip_probability=flip.p if flip else 0.0,
            colors=Colors(jitter.p, (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue))
            if jitter
            else None,
            max_share=getattr(crop, "max_share", 1.0),
            ignore_id=getattr(crop, "ignore_id", 255),
        )

    def __call__(self, cut: Cut, mask_HW: Pixels, *, seed: int, out: tuple[Pixels, Pixels]) -> None:
        """Augment into `out`: image (H, W, 3) and mask (H, W) of `size_px`, contiguous; the same for the same seed.

        Of the frame only the part that `cut` gives is looked at: what is not in the crop need not be decoded.
        """
        dice = random.Random(seed)
        dice.random()  # Compose asks whether to run at all
        box = self._draw_balanced_crop(dice, mask_HW)
        is_flipped = _happens(dice, self.flip_probability)
        image_out, mask_out = out
        part_HW3 = _resized(cut(box), self.size_px, self.interpolation)
        part_HW = _resized(cut_out(mask_HW, box), self.size_px, self.mask_interpolation)
        if self.colors is not None and _happens(dice, self.colors.probability):
            factors = [dice.uniform(*allowed) for allowed in self.colors.ranges]
            order = [_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE]
            np.random.default_rng(seed).shuffle(order)
            part_HW3 = _recolored(part_HW3, order, factors)
        if is_flipped:
            cv2.flip(part_HW3, 1, dst=image_out)
            cv2.flip(part_HW, 1, dst=mask_out)
        else:
            image_out[...], mask_out[...] = part_HW3, part_HW

    def _draw_balanced_crop(self, dice: random.Random, mask_HW: Pixels) -> Box:
        """As BalancedCrop draws it; as RandomResizedCrop where any share is fine."""
        for _ in range(CROP_DRAWS):
            box = self._draw_crop(dice, *mask_HW.shape)
            if not is_prevailed(mask_HW, box, max_share=self.max_share, ignore_id=self.ignore_id):
                break
        return box

    def _draw_crop(self, dice: random.Random, height: int, width: int) -> Box:
        """As RandomResizedCrop draws it."""
        log_aspects = math.log(self.aspect[0]), math.log(self.aspect[1])
        for _ in range(_CROP_TRIES):
            area = dice.uniform(self.area[0] * height * width, self.area[1] * height * width)
            aspect = math.exp(dice.uniform(*log_aspects))
            crop_width, crop_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < crop_width <= width and 0 < crop_height <= height:
                top = int((height - crop_height + 1) * dice.random())
                left = int((width - crop_width + 1) * dice.random())
                return left, top, left + crop_width, top + crop_height
        if width / height < self.aspect[0]:
            crop_width, crop_height = width, round(width / self.aspect[0])
        elif width / height > self.aspect[1]:
            crop_width, crop_height = round(height * self.aspect[1]), height
        else:
            crop_width, crop_height = width, height
        top, left = (height - crop_height) // 2, (width - crop_width) // 2
        return left, top, left + crop_width, top + crop_height


def is_prevailed(mask_HW: Pixels, box: Box, *, max_share: float, ignore_id: int) -> bool:
    """Whether one class has more than `max_share` of the labelled pixels in a box of a mask."""
    if max_share >= 1.0:
        return False
    counts_N = cv2.calcHist([cut_out(mask_HW, box)], [0], None, [256], [0, 256]).ravel()
    counts_N[ignore_id] = 0
    return bool(counts_N.max() > max_share * counts_N.sum())


def _happens(dice: random.Random, probability: float) -> bool:
    """As albumentations draws: certain and impossible things cost no random number."""
    return probability >= 1 or (probability > 0 and dice.random() < probability)


def _resized(part: Pixels, size_px: tuple[int, int], interpolation: int) -> Pixels:
    if part.shape[:2] == size_px:
        return part
    return np.asarray(cv2.resize(part, (size_px[1], size_px[0]), interpolation=interpolation))


def _recolored(image_HW3: Pixels, order: list[int], factors: list[float]) -> Pixels:
    """ColorJitter's four operations in their order; look-up tables wait until something needs the pixels."""
    table: Table | None = None
    for operation in order:
        factor = factors[operation]
        if factor == (0 if operation == _HUE else 1):
            continue
        if operation == _BRIGHTNESS:
            table = _after(table, _clipped(_LEVELS * np.float32(factor)))
            continue
        image_HW3, table = _looked_up(image_HW3, table), None
        if operation == _CONTRAST:
            mean = cv2.mean(cv2.cvtColor(image_HW3, cv2.COLOR_RGB2GRAY))[0]
            table = _clipped(_LEVELS * factor + (mean * (1 - factor) if factor else int(mean + 0.5)))
        elif operation == _SATURATION:
            gray_HW3 = cv2.cvtColor(cv2.cvtColor(image_HW3, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
            image_HW3 = np.asarray(cv2.addWeighted(image_HW3, factor, gray_HW3, 1 - factor, 0))
        else:
            image_HW3 = _hue_turned(image_HW3, factor)
    return _looked_up(image_HW3, table)


def _hue_turned(image_HW3: Pixels, factor: float) -> Pixels:
    hsv_HW3 = cv2.cvtColor(image_HW3, cv2.COLOR_RGB2HSV)
    turned = np.mod(_HUES + 180 * factor, 180).astype(np.uint8)
    hue_HW = cv2.extractChannel(hsv_HW3, 0)
    cv2.insertChannel(_translated(hue_HW, turned), hsv_HW3, 0)
    return np.asarray(cv2.cvtColor(hsv_HW3, cv2.COLOR_HSV2RGB))


def _after(first: Table | None, second: Table) -> Table:
    return second if first is None else second[first]


def _clipped(levels: np.ndarray) -> Table:
    return np.asarray(np.clip(levels, 0, 255).astype(np.uint8))


def _looked_up(image_HW3: Pixels, table: Table | None) -> Pixels:
    if table is None:
        return image_HW3
    is_our_own = image_HW3.base is None and image_HW3.flags.c_contiguous
    return _translated(image_HW3 if is_our_own else image_HW3.copy(), table)


def _translated(pixels: Pixels, table: Table) -> Pixels:
    """Every value replaced by the table's, in place."""
    stringzilla.translate(pixels.data, table.data, inplace=True)
    return pixels
