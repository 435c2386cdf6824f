"""How frames and masks become bytes and back. No files, no store.

Frames are JPEG, PNG, or `zstd`: raw pixels compressed, ours alone. Masks are PNG or `zstd`. Measured on 31 CamVid
frames of 480x360, one thread (`roadbed bench encodings` measures them on your frames, store and link):

    frames            bytes     PSNR      decoding                 masks             bytes   decoding
    JPEG q95 4:2:0     67,900   40.4 dB   0.67 ms (cv2 1.3)        PNG, by cv2       4,970   0.22 ms
    JPEG q95 4:4:4     81,100   42.7 dB   0.90 ms (cv2 1.0)        PNG, by us        4,970   0.04 ms
    PNG               264,000   exact     3.9 ms                   zstd level 3      4,840   0.05 ms
    zstd level 3      331,000   exact     0.5 ms

Thin coloured things (signs, poles, riders) are what these datasets are scored on, and 4:2:0 smears them: JPEG is 4:4:4
with optimised Huffman tables, and with restart markers, by which a crop is decoded without the rest (jpeg_parts.py).
Masks compress best unfiltered, and an unfiltered PNG is one deflate stream with a zero before every row: libdeflate
inflates it as fast as zstd would be, so masks stay PNG, which every tool reads.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import cv2
import deflate
import numpy as np
import simplejpeg
import zstandard

from roadbed.data.jpeg_parts import Box, cut_jpeg, restart_interval
from roadbed.errors import DataError

Cut = Callable[[Box], np.ndarray]
"""The part of a frame in a box, uint8 RGB."""
ImageEncoding = Literal["jpeg", "png", "zstd"]
MaskEncoding = Literal["png", "zstd"]
IMAGE_SUFFIXES: Mapping[ImageEncoding, str] = {"jpeg": ".jpg", "png": ".png", "zstd": ".rgb.zst"}
MASK_SUFFIXES: Mapping[MaskEncoding, str] = {"png": ".mask.png", "zstd": ".mask.zst"}

_JPEG_FLAGS = (
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    *(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
)
_PNG_FLAGS = (cv2.IMWRITE_PNG_COMPRESSION, 3)
_MASK_FLAGS = (cv2.IMWRITE_PNG_COMPRESSION, 6, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE)
_ZSTD_LEVEL = 3
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_ZSTD_SIGNATURE = b"\x28\xb5\x2f\xfd"
# Before raw pixels: height, width, channels.
_RAW_HEADER = struct.Struct("<HHH")


def encode_image(
    image_HW3: np.ndarray, *, encoding: ImageEncoding, jpeg_quality: int = 95, jpeg_restarts: bool = True
) -> bytes:
    """A uint8 RGB frame in one of the encodings. The same frame gives the same bytes.

    `jpeg_restarts` are what lets `decode_image` leave out what is not in its box.
    """
    if encoding == "zstd":
        return _compress(image_HW3)
    bgr_HW3 = cv2.cvtColor(image_HW3, cv2.COLOR_RGB2BGR)
    if encoding == "png":
        return _encode(".png", bgr_HW3, _PNG_FLAGS)
    restarts = (cv2.IMWRITE_JPEG_RST_INTERVAL, restart_interval(image_HW3.shape[1])) if jpeg_restarts else ()
    return _encode(".jpg", bgr_HW3, (cv2.IMWRITE_JPEG_QUALITY, jpeg_quality, *_JPEG_FLAGS, *restarts))


def encode_mask(mask_HW: np.ndarray, *, encoding: MaskEncoding = "png") -> bytes:
    """A uint8 mask, without loss: a grey PNG, or zstd."""
    return _compress(mask_HW[..., None]) if encoding == "zstd" else _encode(".png", mask_HW, _MASK_FLAGS)


def decode_image(data: bytes | memoryview, box: Box | None = None) -> np.ndarray:
    """An encoded frame as uint8 RGB (H, W, 3), or the part of it in `box`. Raises DataError if it is not an image."""
    if box is not None and data[:3] == _JPEG_SIGNATURE and (cut := cut_jpeg(data, box)):
        return cut_out(_decode_jpeg(cut[0]), cut[1])
    image_HW3 = _decode_whole(data)
    return image_HW3 if box is None else cut_out(image_HW3, box)


def _decode_whole(data: bytes | memoryview) -> np.ndarray:
    if data[:3] == _JPEG_SIGNATURE:
        return _decode_jpeg(data)
    if data[:4] == _ZSTD_SIGNATURE:
        return _decompress(data, num_channels=3)
    return _decode(data, cv2.IMREAD_COLOR_RGB)


def _decode_jpeg(data: bytes | bytearray | memoryview) -> np.ndarray:
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, colorspace="RGB"))
    except ValueError as error:
        raise DataError(f"{len(data)} bytes that are not a whole JPEG image: {error}") from None


def cut_out(pixels: np.ndarray, box: Box) -> np.ndarray:
    """The part of a decoded frame or mask in a box, a view."""
    left, top, right, bottom = box
    return pixels[top:bottom, left:right]


def decode_mask(data: bytes | memoryview) -> np.ndarray:
    """An encoded mask as uint8 (H, W), ids unchanged. Raises DataError if it is not a grey 8-bit image."""
    if data[:4] == _ZSTD_SIGNATURE:
        return _decompress(data, num_channels=1)[..., 0]
    mask_HW = _inflate_unfiltered_png(data)
    if mask_HW is None:
        mask_HW = _decode(data, cv2.IMREAD_UNCHANGED)
    if mask_HW.ndim != 2 or mask_HW.dtype != np.uint8:
        raise DataError(f"expected a grey 8-bit mask, found {mask_HW.dtype} of shape {mask_HW.shape}")
    return mask_HW


def _encode(suffix: str, array: np.ndarray, flags: Sequence[int]) -> bytes:
    is_done, data = cv2.imencode(suffix, array, flags)
    if not is_done:
        raise DataError(f"cannot encode {array.dtype} of shape {array.shape} as {suffix}")
    return bytes(data)


def _decode(data: bytes | memoryview, flags: int) -> np.ndarray:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if len(data) else None
    if decoded is None:
        raise DataError(f"{len(data)} bytes that are not a PNG or JPEG image")
    return np.asarray(decoded)


def _compress(array_HWC: np.ndarray) -> bytes:
    raw = _RAW_HEADER.pack(*array_HWC.shape) + array_HWC.tobytes()
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(raw)


def _decompress(data: bytes | memoryview, *, num_channels: int) -> np.ndarray:
    try:
        raw = zstandard.ZstdDecompressor().decompress(data)
        shape = _RAW_HEADER.unpack_from(raw)
        array_HWC = np.frombuffer(raw, np.uint8, offset=_RAW_HEADER.size).reshape(shape)
    except (zstandard.ZstdError, struct.error, ValueError) as error:
        raise DataError(f"{len(data)} bytes that are not whole raw pixels: {error}") from None
    if shape[2] != num_channels:
        raise DataError(f"expected {num_channels} channels, found {shape[2]}")
    return array_HWC


def _inflate_unfiltered_png(data: bytes | memoryview) -> np.ndarray | None:
    """The pixels of a PNG as `encode_mask` writes them: grey, 8 bits, one IDAT, no filters; None for any other.

    Source: the PNG specification (W3C), sections 5 (chunks) and 9 (filters).
    """
    if data[:8] != _PNG_SIGNATURE or data[24:29] != b"\x08\x00\x00\x00\x00":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    (num_bytes,) = struct.unpack_from(">I", data, 33)
    if data[37:41] != b"IDAT" or data[45 + num_bytes + 4 : 45 + num_bytes + 8] != b"IEND":
        return None
    try:
        rows = deflate.zlib_decompress(bytes(data[41 : 41 + num_bytes]), height * (width + 1))
    except deflate.DeflateError as error:
        raise DataError(f"{len(data)} bytes that are not a whole PNG image: {error}") from None
    rows_H = np.frombuffer(rows, np.uint8)
    if rows_H.size != height * (width + 1):
        return None
    rows_HW = rows_H.reshape(height, width + 1)
    return None if rows_HW[:, 0].any() else rows_HW[:, 1:]
