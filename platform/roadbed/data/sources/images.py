"""Raw frames and masks of a store as arrays; what cannot be used is a DataError that names the file and the fix."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from roadbed.data.sources.listing import link_fault, place
from roadbed.data.sources.tables import UNKNOWN_ID, ColorTable, MaskTable
from roadbed.errors import DataError, NotFoundError
from roadbed.storage import Store

# A store, and a key in it.
File = tuple[Store, str]
# What Pillow raises for files that are cut short, damaged, or something else.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
ORIENTATION = 0x0112
UPRIGHT = (0, 1)
# What a mask may be stored in: formats that never lose a value. Others can, even if not every file of theirs did.
MASK_FORMATS = ("PNG", "BMP")
# `-depth 8` of ImageMagick scales values, which is right for colours and ruins ids.
FRAME_TO_8_BITS = "`magick IN -depth 8 OUT`"
MASK_TO_8_BITS = "`Image.fromarray(np.asarray(Image.open(IN)).astype(np.uint8)).save(OUT)`"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_DEPTH, PNG_COLOR_TYPE, PNG_GREY = 24, 25, 0


def read_pair(image: File, mask: File, table: MaskTable | ColorTable) -> tuple[np.ndarray, np.ndarray]:
    """image_HW3 (uint8 RGB) and mask_HW (uint8, through `table`). Raises DataError that names the file."""
    image_HW3, mask_HW = read_frame(image), read_mask(mask, table)
    if image_HW3.shape[:2] != mask_HW.shape:
        raise DataError(_size_mismatch(image, mask, (image_HW3.shape, mask_HW.shape)))
    return image_HW3, mask_HW


def check_pair(image: File, mask: File, table: MaskTable | ColorTable) -> list[str]:
    """What is wrong with a pair, a line each: what `read_pair` would raise, for frame and mask both."""
    readers: tuple[Callable[[], np.ndarray], ...] = (
        lambda: read_frame(image),
        lambda: read_mask(mask, table),
    )
    problems, shapes = [], []
    for read in readers:
        try:
            shapes.append(read().shape)
        except DataError as error:
            problems.append(str(error))
    if len(shapes) == 2 and shapes[0][:2] != shapes[1]:
        problems.append(_size_mismatch(image, mask, shapes))
    return problems


def digest_files(*files: File, also: str = "") -> str:
    """sha256 (hex) over the bytes of files, and `also`."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(_get(file)).digest())
    digest.update(also.encode())
    return digest.hexdigest()


def read_frame(file: File) -> np.ndarray:
    """A frame as uint8 RGB (H, W, 3). Raises DataError that names the file."""
    image, _ = _open(file, to_8_bits=f"convert it to 8, as with {FRAME_TO_8_BITS}")
    if image.mode != "RGB":
        if image.mode in ("RGBA", "LA", "PA"):
            fix = "drop the alpha channel, as with `magick IN -alpha off OUT`"
        else:
            fix = "convert it, as with `magick IN -type TrueColor PNG24:OUT`"
        raise DataError(f"{place(*file)}: a frame must be 8-bit RGB, this one has mode {image.mode}; {fix}")
    return np.asarray(image)


def read_mask(file: File, table: MaskTable | ColorTable) -> np.ndarray:
    """A mask as uint8 (H, W), through `table`. Raises DataError that names the file and what `table` does not know."""
    image, data = _open(file, to_8_bits=f"store its ids, if none is above 255, in 8, in Python: {MASK_TO_8_BITS}")
    if image.format not in MASK_FORMATS:
        raise DataError(f"{place(*file)}: a mask in {image.format} may have lost its exact values; export masks as PNG")
    if isinstance(table, ColorTable):
        if image.mode not in ("RGB", "P"):
            raise DataError(_wrong_mask(file, image, "RGB colours", table.hint))
        raw = np.asarray(image.convert("RGB"))
    else:
        if image.mode not in ("1", "L", "P"):
            raise DataError(_wrong_mask(file, image, "class ids (grey or palette)", table.hint))
        raw = np.asarray(image).astype(np.uint8) // grey_step(data)
    mask_HW = table.map(raw)
    if (mask_HW == UNKNOWN_ID).any():
        raise DataError(f"{place(*file)}: {table.describe_unknown(raw, mask_HW)}")
    return mask_HW


def _open(file: File, *, to_8_bits: str) -> tuple[Image.Image, bytes]:
    """A decoded image and its file. Raises DataError if the file is not one, or its pixels are not as they seem.

    `to_8_bits` is the remedy for a picture of 16.
    """
    data = _get(file)
    where = place(*file)
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            orientation = image.getexif().get(ORIENTATION, 1)
    except UnidentifiedImageError:
        raise DataError(f"{where}: not an image ({len(data)} bytes); fetch it again") from None
    except UNREADABLE as error:
        raise DataError(f"{where}: cannot be read as an image ({len(data)} bytes; {error}); fetch it again") from None
    if orientation not in UPRIGHT:
        raise DataError(
            f"{where}: EXIF says that it is stored turned (orientation {orientation}), so mask and pixels may not fit; "
            "turn the pixels, as with `magick IN -auto-orient OUT`, or remove the tag if they are upright already"
        )
    # Pillow would quietly halve 16-bit colours to 8 bits.
    if image.mode.startswith("I") or (is_png(data) and data[PNG_DEPTH] == 16):
        raise DataError(f"{where}: it has 16 bits per channel; {to_8_bits}")
    return image, data


def _get(file: File) -> bytes:
    try:
        store, key = file
        return store.get(key)
    except NotFoundError:
        fault = link_fault(*file) or "the file has vanished; run the preparation again"
        raise DataError(f"{place(*file)}: {fault}") from None


def is_png(data: bytes) -> bool:
    """Whether a file is a PNG, whole enough to say of which kind."""
    return data[:8] == PNG_SIGNATURE and len(data) > PNG_COLOR_TYPE


def grey_step(data: bytes) -> int:
    """Pillow stretches grey PNGs of 2 and 4 bits to 0..255; dividing by this gives the ids back."""
    if is_png(data) and data[PNG_COLOR_TYPE] == PNG_GREY:
        return {2: 85, 4: 17}.get(data[PNG_DEPTH], 1)
    return 1


def _wrong_mask(file: File, image: Image.Image, expected: str, hint: str) -> str:
    fix = "drop the alpha channel, as with `magick IN -alpha off OUT`" if image.mode in ("RGBA", "LA") else hint
    text = f"{place(*file)}: expected a mask of {expected}, this one has mode {image.mode}"
    return f"{text}; {fix}" if fix else text


def _size_mismatch(image: File, mask: File, shapes: Sequence[tuple[int, ...]]) -> str:
    (image_height, image_width, *_), (mask_height, mask_width) = shapes
    return (
        f"{place(*mask)}: the mask is {mask_width}x{mask_height}, "
        f"its frame {image[1].rpartition('/')[2]} is {image_width}x{image_height}"
    )
