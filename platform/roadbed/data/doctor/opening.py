"""Files as the doctor sees them: whatever can be decoded is, and what is unusual about it is told, not refused."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from roadbed.data.encoding import decode_image, decode_mask
from roadbed.data.sources.images import ORIENTATION, PNG_DEPTH, UNREADABLE, grey_step, is_png
from roadbed.errors import DataError

ZSTD_SIGNATURE = b"\x28\xb5\x2f\xfd"
MASK_OF_RAW, FRAME_OF_RAW = "L", "RGB"


@dataclass(frozen=True)
class RawFile:
    """The bytes of a file, and where they are from, as a person writes it. `fault`: why there are none."""

    place: str
    data: bytes
    fault: str | None = None


@dataclass(frozen=True)
class Picture:
    """A decoded file. `pixels` are of its own mode (H, W or H, W, C), ids of small depths as they are stored."""

    place: str
    mode: str
    format: str
    orientation: int
    is_16_bit: bool
    pixels: np.ndarray
    palette_N3: np.ndarray | None
    image: Image.Image

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])

    def rgb(self) -> np.ndarray:
        """The picture as uint8 RGB, whatever it is stored as."""
        if self.mode == "RGB":
            return self.pixels
        if self.is_16_bit:
            high = self.pixels >> 8 if int(self.pixels.max(initial=0)) > 255 else self.pixels
            grey = high.astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2) if grey.ndim == 2 else grey[..., :3]
        if "transparency" in self.image.info:
            return np.asarray(self.image.convert("RGBA").convert("RGB"))
        return np.asarray(self.image.convert("RGB"))


def open_picture(file: RawFile, *, is_mask: bool) -> Picture | str:
    """The decoded file, or what is wrong with it in a few words."""
    if file.fault is not None:
        return file.fault
    if not file.data:
        return "an empty file"
    if file.data[:4] == ZSTD_SIGNATURE:
        return _open_raw(file, is_mask=is_mask)
    try:
        with Image.open(io.BytesIO(file.data)) as image:
            image.load()
            orientation = image.getexif().get(ORIENTATION, 1)
    except UnidentifiedImageError:
        return f"not an image ({len(file.data)} bytes)"
    except UNREADABLE as error:
        return f"{error} ({len(file.data)} bytes)"
    is_16_bit = image.mode.startswith("I") or (is_png(file.data) and file.data[PNG_DEPTH] == 16)
    pixels = np.asarray(image)
    if image.mode in ("1", "L", "P"):
        pixels = pixels.astype(np.uint8) // grey_step(file.data)
    return Picture(
        place=file.place,
        mode=image.mode,
        format=str(image.format),
        orientation=orientation,
        is_16_bit=is_16_bit,
        pixels=pixels,
        palette_N3=_palette(image),
        image=image,
    )


def _open_raw(file: RawFile, *, is_mask: bool) -> Picture | str:
    """Pixels that roadbed itself has compressed."""
    try:
        pixels = decode_mask(file.data) if is_mask else decode_image(file.data)
    except DataError as error:
        return str(error)
    mode = MASK_OF_RAW if is_mask else FRAME_OF_RAW
    return Picture(file.place, mode, "zstd", 1, False, pixels, None, Image.fromarray(pixels))


def _palette(image: Image.Image) -> np.ndarray | None:
    if image.mode != "P":
        return None
    colors: Sequence[int] = image.getpalette() or []
    palette_N3 = np.zeros((256, 3), np.uint8)
    palette_N3[: len(colors) // 3] = np.array(colors, np.uint8).reshape(-1, 3)
    return palette_N3
