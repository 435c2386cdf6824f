"""What is wrong with a mask by itself, and the ids that it holds where nothing is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from roadbed.data.doctor.frames import ALPHA_MODES, Remark, sampled
from roadbed.data.doctor.opening import Picture
from roadbed.data.labels import IGNORE_ID
from roadbed.data.sources.images import MASK_FORMATS, UPRIGHT
from roadbed.data.sources.tables import UNKNOWN_ID, ColorTable, MaskTable

EXACT_FORMATS = (*MASK_FORMATS, "zstd")
GREY_MODES = ("1", "L", "P")
# A palette holds no more; a picture with more colours is no mask.
MOST_COLOURS = 256
# Of unknown values: so many different ones are no forgotten classes.
MANY_VALUES = 12
THIN_SHARE = 0.8
# A photograph has many values, half of them further than this from any that there should be.
PHOTO_VALUES, PHOTO_STEPS = 60, 14
# Of all borders between two values, the share at which there is a third in between for one pixel.
BLENDED_SHARE = 0.2
# CamVid, labelled by hand, has up to 0.006.
SPECKLE_SHARE = 0.01
LEAST_BORDERS = 50
# So many ids must be there before what they have in common says something.
LEAST_VALUES = 4


@dataclass(frozen=True)
class MaskLook:
    """Ids of the label space, or None where they cannot be known, and what is wrong."""

    mask_HW: np.ndarray | None
    remarks: tuple[Remark, ...]


def look_at_mask(picture: Picture, table: MaskTable | ColorTable) -> MaskLook:
    """The ids of a mask through `table`. With any remark there are none: it would be the cause of many others."""
    remarks = list(_file_remarks(picture))
    if remarks:
        return MaskLook(None, tuple(remarks))
    raw, remark = _raw_colours(picture) if isinstance(table, ColorTable) else _raw_ids(picture)
    if raw is None or remark is not None:
        return MaskLook(None, (remark,) if remark else ())
    mask_HW = table.map(raw)
    remark = _value_remark(raw, mask_HW, table)
    if remark is not None:
        return MaskLook(None, (remark,))
    return MaskLook(mask_HW, tuple(_speckle_remarks(mask_HW)))


def used_palette(picture: Picture) -> dict[int, tuple[int, int, int]]:
    """The colours of the numbers that a palette file holds; empty for other files."""
    if picture.palette_N3 is None:
        return {}
    numbers = np.flatnonzero(np.bincount(picture.pixels.ravel(), minlength=256))
    return {int(number): _triple(picture.palette_N3[number]) for number in numbers}


def packed(raw_HW3: np.ndarray) -> np.ndarray:
    """RGB colours as one number each."""
    red_HW, green_HW, blue_HW = (raw_HW3[..., channel].astype(np.uint32) for channel in range(3))
    return np.asarray(red_HW << 16 | green_HW << 8 | blue_HW)


def _file_remarks(picture: Picture) -> Iterator[Remark]:
    if picture.format not in EXACT_FORMATS:
        yield "mask-lossy", f"a {picture.format} file"
    if picture.orientation not in UPRIGHT:
        yield "exif-rotation", f"orientation {picture.orientation}"
    if picture.is_16_bit:
        yield "mask-16-bit", f"values up to {int(picture.pixels.max(initial=0))}"


def _raw_ids(picture: Picture) -> tuple[np.ndarray | None, Remark | None]:
    """Numbers where numbers are expected."""
    if picture.mode in GREY_MODES:
        return picture.pixels, None
    if picture.mode in ("LA", "PA"):
        return None, ("mask-channels", f"mode {picture.mode}")
    raw_HW3 = picture.rgb()
    is_grey = bool((raw_HW3 == raw_HW3[..., :1]).all())
    if is_grey:
        return None, ("mask-channels", f"mode {picture.mode}, all channels alike")
    colours, counts = np.unique(packed(raw_HW3), return_counts=True)
    if len(colours) > MOST_COLOURS:
        return None, ("mask-photo", f"{len(colours):,} colours")
    most = int(colours[counts.argmax()])
    return None, ("mask-kind", f"{len(colours)} colours, most of it {_unpacked(most)}; classes.yaml says ids")


def _raw_colours(picture: Picture) -> tuple[np.ndarray | None, Remark | None]:
    """Colours where colours are expected."""
    if picture.mode in ALPHA_MODES:
        return None, ("mask-channels", f"mode {picture.mode}")
    if picture.mode in ("1", "L"):
        low, high = int(picture.pixels.min(initial=255)), int(picture.pixels.max(initial=0))
        return None, ("mask-kind", f"grey numbers {low}..{high}; classes.yaml says colours")
    return picture.rgb(), None


def _value_remark(raw: np.ndarray, mask_HW: np.ndarray, table: MaskTable | ColorTable) -> Remark | None:
    """Values that are no class's, or that are classes' and stand between others as a blend would."""
    is_unknown_HW = mask_HW == UNKNOWN_ID
    if not is_unknown_HW.any():
        share = 0.0 if isinstance(table, ColorTable) else _blended_share(raw)
        return ("mask-blended", f"a third id at {100 * share:.0f} % of borders") if share > BLENDED_SHARE else None
    values_HW = packed(raw) if raw.ndim == 3 else raw
    num_values = len(np.unique(values_HW[is_unknown_HW]))
    share, what = float(is_unknown_HW.mean()), "colours" if raw.ndim == 3 else "ids"
    if num_values > PHOTO_VALUES and _median_distance(raw, table) > PHOTO_STEPS:
        return "mask-photo", f"{num_values:,} {what} that are no class's, on {100 * share:.0f} % of it"
    is_thin = num_values >= 3 and _thin_share(is_unknown_HW) > THIN_SHARE
    if is_thin or num_values >= MANY_VALUES:
        where = "along borders" if is_thin else "around borders"
        return "mask-blended", f"{num_values} {what} that are no class's, {where}, {100 * share:.1f} % of it"
    return "mask-unknown", table.describe_unknown(raw, mask_HW) + _numbering_hint(raw, table)


def _numbering_hint(raw: np.ndarray, table: MaskTable | ColorTable) -> str:
    """What ids that are numbered otherwise look like."""
    if isinstance(table, ColorTable):
        return ""
    values = np.unique(raw[raw != IGNORE_ID])
    step = int(np.gcd.reduce(values)) if len(values) else 0
    if step > 1 and len(values) >= LEAST_VALUES:
        return f"; all are multiples of {step}, as ids that somebody made visible: write `ids: [{step}]` for class 1"
    if len(values) and values[0] == 1 and int(values[-1]) == int(table.known_N[table.known_N < IGNORE_ID].max()) + 1:
        return "; none is 0, so ids may begin at 1: write `ids: [1]` for the first class, and so on"
    return ""


def _blended_share(raw_HW: np.ndarray) -> float:
    """The share of changes of value that pass another value on their way, along rows."""
    left, middle, right = (raw_HW[:, first : raw_HW.shape[1] - 2 + first].astype(np.int16) for first in range(3))
    num_changes = int((left != middle).sum())
    if num_changes < LEAST_BORDERS:
        return 0.0
    is_between = ((left < middle) & (middle < right)) | ((left > middle) & (middle > right))
    return float(is_between.sum()) / num_changes


def _median_distance(raw: np.ndarray, table: MaskTable | ColorTable) -> float:
    """From the values of a mask to the nearest that there should be, in steps of the channel that differs most."""
    known_NC = table.known_N3 if isinstance(table, ColorTable) else table.known_N[:, None]
    values_MC = sampled(raw).reshape(-1, known_NC.shape[1]).astype(np.int16)
    nearest_M = np.full(len(values_MC), 255, np.int16)
    for known_C in known_NC.astype(np.int16):
        nearest_M = np.minimum(nearest_M, np.abs(values_MC - known_C).max(axis=1))
    return float(np.median(nearest_M))


def _thin_share(is_there_HW: np.ndarray) -> float:
    """The share of pixels that are within one of the edge of what they belong to."""
    there_HW = is_there_HW.astype(np.uint8)
    inner_HW = cv2.erode(there_HW, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return 1 - float(inner_HW.sum()) / max(float(there_HW.sum()), 1.0)


def _speckle_remarks(mask_HW: np.ndarray) -> Iterator[Remark]:
    """Single pixels that are unlike all four beside them."""
    if min(mask_HW.shape) < 3:
        return
    inner_HW = mask_HW[1:-1, 1:-1]
    beside = (mask_HW[:-2, 1:-1], mask_HW[2:, 1:-1], mask_HW[1:-1, :-2], mask_HW[1:-1, 2:])
    is_single_HW = np.logical_and.reduce([inner_HW != other_HW for other_HW in beside])
    num_single, share = int(is_single_HW.sum()), float(is_single_HW.mean())
    if share > SPECKLE_SHARE and num_single >= LEAST_BORDERS:
        yield "mask-speckle", f"{num_single:,} single pixels, {100 * share:.1f} % of it"


def _unpacked(value: int) -> tuple[int, int, int]:
    return value >> 16, value >> 8 & 255, value & 255


def _triple(color_3: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = color_3.tolist()
    return red, green, blue
