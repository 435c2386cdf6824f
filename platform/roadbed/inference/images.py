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


def read_image(source: Path | bytes, *, name: str | None = None) -> ImageArray:
    """An image file, or the bytes of one, as uint8 RGB (H, W, 3), turned as its EXIF orientation says.

    Greyscale, palettes, CMYK and 16 bits per channel are converted; what is transparent becomes white; of several
    frames the first is taken. `name` stands in errors for bytes.

    Raises DataError that names the file if it is not there, no image, cut short, or too large to be a photograph.
    """
    origin = name or (str(source) if isinstance(source, Path) else "image")
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return np.asarray(_to_rgb(ImageOps.exif_transpose(image), origin))
    except FileNotFoundError:
        raise DataError(f"{origin}: no such file") from None
    except UnidentifiedImageError:
        raise DataError(f"{origin}: is not an image that can be read (PNG, JPEG, WebP, TIFF, BMP, ...)") from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{origin}: is too large: {error}; scale it down") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise DataError(f"{origin}: is damaged or cut short: {error}") from None


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
