"""A part of a JPEG frame, decoded without most of the rest: the same pixels, for a share of the time.

A baseline JPEG is one stream of 8x8 blocks (4:4:4), and of its decoding most is undoing the Huffman code, which nobody
can begin in the middle; but after a restart marker everything begins anew. With such a marker after every few blocks of
a row, the pieces that a crop touches, put behind the frame's own header with the height and width of that part, are a
whole smaller JPEG. The markers cost 2 % of a frame's bytes, and any decoder knows them.

Source: ITU-T T.81, annexes B (markers) and E (restart intervals).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are outside."""

_BLOCK_PX = 8
_FEWEST_BLOCKS, _MOST_BLOCKS = 5, 12
_SOF0, _SOS, _DRI, _EOI = 0xC0, 0xDA, 0xDD, 0xD9
_RESTARTS = np.arange(0xD0, 0xD8, dtype=np.uint8)
_EVERY_PIXEL = b"\x11\x11\x11"
"""The sampling factors of three components that each have as many values as the frame has pixels (4:4:4)."""


def restart_interval(width_px: int) -> int:
    """Blocks between two restart markers, so that every row of blocks begins with one: 40 pixels or little more.

    The whole row where its blocks cannot be divided so. Shorter pieces fit a crop more closely, but each costs a marker
    and a first value that is not told as a difference.
    """
    num_blocks = -(-width_px // _BLOCK_PX)
    return next((n for n in range(_FEWEST_BLOCKS, _MOST_BLOCKS + 1) if num_blocks % n == 0), num_blocks)


def cut_jpeg(data: bytes | memoryview, box: Box) -> tuple[bytearray, Box] | None:
    """A JPEG of the pieces that `box` touches, and where in it that box is; None if the frame is not made for it."""
    header = _header(data)
    pieces = None if header is None else _pieces(data, header)
    if header is None or pieces is None:
        return None
    left, top, right, bottom = box
    piece_px = header.interval * _BLOCK_PX
    rows = slice(top // _BLOCK_PX, -(-bottom // _BLOCK_PX))
    columns = slice(left // piece_px, -(-right // piece_px))
    firsts_RC, lasts_RC = (places_RC[rows, columns] for places_RC in pieces)
    view = memoryview(data)
    runs = [view[first:last] for first, last in zip(firsts_RC[:, 0].tolist(), lasts_RC[:, -1].tolist(), strict=True)]
    cut = bytearray().join([view[: header.num_bytes], *runs])
    _number_restarts(np.frombuffer(cut, np.uint8), header.num_bytes + (lasts_RC - firsts_RC).cumsum())
    x, y = columns.start * piece_px, rows.start * _BLOCK_PX
    height = min(rows.stop * _BLOCK_PX, header.height) - y
    width = min(columns.stop * piece_px, header.width) - x
    struct.pack_into(">HH", cut, header.size_at, height, width)
    return cut, (left - x, top - y, right - x, bottom - y)


@dataclass(frozen=True, slots=True)
class _Header:
    """What stands before the pixels, `num_bytes` long; `size_at` is where height and width stand in it."""

    num_bytes: int
    size_at: int
    height: int
    width: int
    interval: int


def _header(data: bytes | memoryview) -> _Header | None:
    """None for anything but a baseline frame of three whole components in one scan, with restart markers."""
    place, size_at, interval = 2, 0, 0
    while place + 18 < len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        following = place + 2 + struct.unpack_from(">H", data, place + 2)[0]
        if marker == _SOF0 and data[place + 9] == 3 and bytes(data[place + 11 : place + 18 : 3]) == _EVERY_PIXEL:
            size_at = place + 5
        elif marker == _DRI:
            (interval,) = struct.unpack_from(">H", data, place + 4)
        elif marker == _SOS:
            if not size_at or not interval or data[place + 4] != 3:
                return None
            height, width = struct.unpack_from(">HH", data, size_at)
            return _Header(following, size_at, height, width, interval)
        place = following
    return None


def _pieces(data: bytes | memoryview, header: _Header) -> tuple[np.ndarray, np.ndarray] | None:
    """Where the pieces between restart markers begin and end, each with its marker: (rows of blocks, pieces of a row).

    None if rows do not begin with a marker each.
    """
    num_blocks = -(-header.width // _BLOCK_PX)
    num_rows, num_columns = -(-header.height // _BLOCK_PX), num_blocks // header.interval
    bytes_N = np.frombuffer(data, np.uint8)
    marks = (bytes_N[header.num_bytes : -2] == 0xFF).nonzero()[0] + (header.num_bytes + 1)
    marks = marks[bytes_N[marks] >= _RESTARTS[0]]  # in pixels 0xFF is followed by 0, or is a marker
    if num_blocks % header.interval or marks.size + 1 != num_rows * num_columns:
        return None
    places = np.empty(marks.size + 2, np.int64)
    places[0], places[-1] = header.num_bytes, len(data)
    np.add(marks, 1, out=places[1:-1])
    return places[:-1].reshape(num_rows, num_columns), places[1:].reshape(num_rows, num_columns)


def _number_restarts(cut_N: np.ndarray, ends: np.ndarray) -> None:
    """Markers count from 0 to 7 and again from 0, and after the last piece the picture ends."""
    cut_N[ends - 1] = _RESTARTS[np.arange(ends.size) % _RESTARTS.size]
    cut_N[ends[-1] - 1] = _EOI
