"""Pictures as people have them, read into what models take: uint8 RGB, upright."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from roadbed.errors import DataError

ImageArray = np.ndarray[Any, np.dtype[np.uint8]]

# What WebP holds.
MAX_SIDE_PX = 16_383


class UnknownImageError(DataError):
    """Bytes that are no image of a known format."""


class ImageTooLargeError(DataError):
    """More pixels than are taken, told from the header: they were not decoded."""


def read_image(
    source: Path | bytes,
    *,
    name: str | None = None,
    formats: tuple[str, ...] | None = None,
    max_pixels: int | None = None,
) -> ImageArray:
    """An image file, or the bytes of one, as uint8 RGB (H, W, 3), turned as its EXIF orientation says.

    Greyscale, palettes, CMYK and 16 bits per channel are converted; what is transparent becomes white; of several
    frames the first is taken. `name` stands in errors for bytes. `formats` are those that are tried, by Pillow's names.

    Raises DataError that names the file if it is not there or cut short, UnknownImageError if it is no image,
    ImageTooLargeError if it has more than `max_pixels`, if these are limited a side of more than `MAX_SIDE_PX`, or if
    it is too large to be a photograph.
    """
    origin = name or (str(source) if isinstance(source, Path) else "image")
    known = ", ".join(formats) if formats else "PNG, JPEG, WebP, TIFF, BMP, ..."
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats) as image:
            if max_pixels is not None:
                _check_size(image.width, image.height, max_pixels, origin)
            return np.asarray(_to_rgb(ImageOps.exif_transpose(image), origin))
    except FileNotFoundError:
        raise DataError(f"{origin}: no such file") from None
    except UnidentifiedImageError:
        raise UnknownImageError(f"{origin}: is not an image that can be read ({known})") from None
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(f"{origin}: is too large: {error}; scale it down") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise DataError(f"{origin}: is damaged or cut short: {error}") from None


def _check_size(width: int, height: int, max_pixels: int, origin: str) -> None:
    if width * height > max_pixels or max(width, height) > MAX_SIDE_PX:
        raise ImageTooLargeError(
            f"{origin}: is {width}x{height}, {width * height / 1e6:.1f} million pixels; up to {max_pixels / 1e6:.1f} "
            f"million are taken, and sides up to {MAX_SIDE_PX} pixels, scale it down"
        )


def _to_rgb(image: Image.Image, origin: str) -> Image.Image:
    if image.mode == "F":
        raise DataError(f"{origin}: has floating-point pixels, whose range nobody knows; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values_HW = np.asarray(image, dtype=np.int64)
        return Image.fromarray((values_HW.clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")
