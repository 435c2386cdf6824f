"""Pictures of what the doctor found: a frame beside its mask, or beside the other frame that it is about.

Files that cannot be used are shown as far as they can be decoded.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from roadbed.data.doctor.findings import Fault
from roadbed.data.doctor.fit import borders
from roadbed.data.doctor.opening import Picture, RawFile, open_picture
from roadbed.data.doctor.subject import Subject, Table
from roadbed.data.sources.tables import UNKNOWN_ID, ColorTable

PANEL_PX = 360
JPEG_QUALITY = 80
BORDER_COLOR = (255, 0, 200)
UNKNOWN_COLOR = (255, 0, 0)
# Where single pixels matter, a square of so many of them is shown.
DETAIL_PX = 48
ZOOMED = ("mask-blended", "mask-speckle", "mask-lossy")
# What is seen in the frame alone.
FRAME_ALONE = ("frame-", "exif-", "size-mixed")


class _Shown(NamedTuple):
    """Pixels (H, W, 3) and what they show. Photographs may lose a little on the page, masks may not."""

    caption: str
    pixels_HW3: np.ndarray
    is_photo: bool


@dataclass(frozen=True)
class Panel:
    """A picture for a page, and what it shows."""

    caption: str
    data_uri: str

    @property
    def num_bytes(self) -> int:
        """What it adds to the page."""
        return len(self.data_uri)


def panels(subject: Subject, fault: Fault) -> list[Panel]:
    """The pictures of a fault; none if it is about no pair, or nothing can be decoded."""
    if fault.position is None:
        return []
    return [Panel(shown.caption, _data_uri(shown)) for shown in _pictures(subject, fault)]


def _pictures(subject: Subject, fault: Fault) -> Iterator[_Shown]:
    assert fault.position is not None
    image, mask, table = subject.read(subject.pairs[fault.position])
    frame, labels = _opened(image, is_mask=False), _opened(mask, is_mask=True)
    if frame is not None:
        yield _Shown("frame", frame.rgb(), True)
    if fault.other is not None:
        yield from _other(subject, fault.other)
        return
    if labels is None or fault.check.startswith(FRAME_ALONE):
        return
    mask_HW3, is_unknown_HW = _coloured(subject, labels, table)
    if fault.check in ZOOMED:
        yield _Shown("a detail of the mask", _detail(mask_HW3, is_unknown_HW), False)
    elif fault.check.startswith(("mask-shifted", "mask-misfit", "mask-mirrored")) and frame is not None:
        yield _Shown("borders of the mask upon the frame", _with_borders(frame.rgb(), mask_HW3), True)
    else:
        yield _Shown("mask", mask_HW3, False)


def _other(subject: Subject, position: int) -> Iterator[_Shown]:
    pair = subject.pairs[position]
    other = _opened(subject.read(pair)[0], is_mask=False)
    if other is not None:
        yield _Shown(f"{pair.split}/{pair.key}", other.rgb(), True)


def _opened(file: RawFile, *, is_mask: bool) -> Picture | None:
    found = open_picture(file, is_mask=is_mask)
    return found if isinstance(found, Picture) else None


def _coloured(subject: Subject, labels: Picture, table: Table) -> tuple[np.ndarray, np.ndarray]:
    """A mask in colours, unknown values in red where they can be told, and which pixels those are."""
    raw = labels.pixels
    is_ids = raw.ndim == 2 and not labels.is_16_bit and not isinstance(table, ColorTable)
    if not is_ids:
        rgb_HW3 = labels.rgb()
        is_known = isinstance(table, ColorTable) and labels.mode in ("RGB", "P")
        is_unknown_HW = table.map(rgb_HW3) == UNKNOWN_ID if is_known else np.zeros(rgb_HW3.shape[:2], np.bool_)
        return rgb_HW3, is_unknown_HW
    mask_HW = table.map(raw)
    is_unknown_HW = mask_HW == UNKNOWN_ID
    coloured_HW3 = subject.label_space.colorize(mask_HW).copy()
    coloured_HW3[is_unknown_HW] = UNKNOWN_COLOR
    return coloured_HW3, is_unknown_HW


def _detail(mask_HW3: np.ndarray, is_unknown_HW: np.ndarray) -> np.ndarray:
    """The square with the most that is odd: unknown values, else changes of value."""
    odd_HW = is_unknown_HW.astype(np.float32)
    if not odd_HW.any():
        odd_HW = _changes(mask_HW3).astype(np.float32)
    side = min(DETAIL_PX, *odd_HW.shape)
    sums_HW = cv2.boxFilter(odd_HW, -1, (side, side), normalize=False, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    inner_HW = sums_HW[: odd_HW.shape[0] - side + 1, : odd_HW.shape[1] - side + 1]
    top, left = (int(place) for place in np.unravel_index(int(inner_HW.argmax()), inner_HW.shape))
    return mask_HW3[top : top + side, left : left + side]


def _with_borders(image_HW3: np.ndarray, mask_HW3: np.ndarray) -> np.ndarray:
    if image_HW3.shape != mask_HW3.shape:
        return image_HW3
    shown_HW3 = image_HW3.copy()
    shown_HW3[_changes(mask_HW3) > 0] = BORDER_COLOR
    return shown_HW3


def _changes(mask_HW3: np.ndarray) -> np.ndarray:
    packed_HW = np.ascontiguousarray(mask_HW3).astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    return borders(packed_HW)


def _data_uri(shown: _Shown) -> str:
    """A picture of PANEL_PX width: photographs as JPEG, masks as PNG of the nearest pixels."""
    image = Image.fromarray(np.ascontiguousarray(shown.pixels_HW3))
    scale = PANEL_PX / image.width
    is_smooth = shown.is_photo and scale <= 1
    resampling = Image.Resampling.BILINEAR if is_smooth else Image.Resampling.NEAREST
    image = image.resize((PANEL_PX, max(round(image.height * scale), 1)), resampling)
    stream = io.BytesIO()
    if shown.is_photo:
        image.save(stream, "JPEG", quality=JPEG_QUALITY)
    else:
        image.quantize(256, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    kind = "jpeg" if shown.is_photo else "png"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
