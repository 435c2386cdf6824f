"""What stands in the masks of a folder: which numbers or colours, on how many pixels, in how many files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from roadbed.data.doctor.masks import GREY_MODES, packed, used_palette
from roadbed.data.doctor.opening import Picture, RawFile, open_picture
from roadbed.data.labels import Color
from roadbed.data.parallel import Progress, ProgressCounter, in_threads
from roadbed.data.sources.images import File
from roadbed.data.sources.listing import place
from roadbed.errors import DataError

MASKS_AT_A_TIME = 16
# Of one file, the values with the most pixels; no mask holds more.
MOST_VALUES = 256


@dataclass(frozen=True)
class Survey:
    """`pixels` and `files` by value: numbers, or colours as one number each, red first.

    `palette` has the colours of numbers, where files have one and all the same; `sizes` counts (height, width).
    `unread` are places of files that hold something else than most, or nothing.
    """

    kind: Literal["ids", "colors"]
    pixels: Counter[int]
    files: Counter[int]
    palette: dict[int, Color]
    num_files: int
    sizes: Counter[tuple[int, int]]
    unread: tuple[str, ...]
    is_grey: bool
    """Whether files are grey, and have no palette."""


@dataclass
class _Seen:
    """The values of one file."""

    place: str
    kind: Literal["ids", "colors", "none"]
    values: Counter[int]
    palette: dict[int, Color]
    size_px: tuple[int, int]


def survey_masks(masks: Sequence[File], *, num_threads: int = 2, progress: Progress | None = None) -> Survey:
    """Look into all masks. Raises DataError if none can be read."""
    counter = ProgressCounter(len(masks), progress)

    def look(part: Sequence[File]) -> list[_Seen]:
        seen = [_look(file) for file in part]
        counter.count(len(part))
        return seen

    parts = [masks[first : first + MASKS_AT_A_TIME] for first in range(0, len(masks), MASKS_AT_A_TIME)]
    seen = [one for part in in_threads(look, parts, num_threads) for one in part]
    usual = Counter(one.kind for one in seen if one.kind != "none").most_common(1)
    if not usual:
        raise DataError(f"{seen[0].place}: neither this nor another mask can be read; export masks as PNG")
    kind = usual[0][0]
    used = [one for one in seen if one.kind == kind]
    palette = _palette(used)
    if kind == "ids" and palette is None:
        return _joined("colors", [_in_colors(one) for one in used], seen, {})
    return _joined("ids" if kind == "ids" else "colors", used, seen, palette or {})


def _joined(kind: Literal["ids", "colors"], used: list[_Seen], seen: list[_Seen], palette: dict[int, Color]) -> Survey:
    pixels: Counter[int] = Counter()
    files: Counter[int] = Counter()
    for one in used:
        pixels.update(one.values)
        files.update(one.values.keys())
    places = {one.place for one in used}
    return Survey(
        kind=kind,
        pixels=pixels,
        files=files,
        palette=palette,
        num_files=len(used),
        sizes=Counter(one.size_px for one in used),
        unread=tuple(one.place for one in seen if one.place not in places),
        is_grey=not any(one.palette for one in used),
    )


def _look(file: File) -> _Seen:
    store, key = file
    where = place(store, key)
    picture = open_picture(RawFile(where, store.get(key)), is_mask=True)
    if not isinstance(picture, Picture) or picture.is_16_bit or picture.format == "JPEG":
        return _Seen(where, "none", Counter(), {}, (0, 0))
    if picture.mode in GREY_MODES:
        return _Seen(where, "ids", _counted(picture.pixels), used_palette(picture), picture.size_px)
    return _Seen(where, "colors", _counted(packed(picture.rgb())), {}, picture.size_px)


def _counted(values_HW: np.ndarray) -> Counter[int]:
    values, counts = np.unique(values_HW, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:MOST_VALUES]
    return Counter({int(values[place]): int(counts[place]) for place in most})


def _palette(used: Sequence[_Seen]) -> dict[int, Color] | None:
    """The colours of the numbers; None if files contradict each other."""
    palette: dict[int, Color] = {}
    for one in used:
        for number, color in one.palette.items():
            if palette.setdefault(number, color) != color:
                return None
    return palette


def _in_colors(one: _Seen) -> _Seen:
    """A palette file by its colours."""
    values: Counter[int] = Counter()
    for number, count in one.values.items():
        red, green, blue = one.palette.get(number, (number, number, number))
        values[red << 16 | green << 8 | blue] += count
    return _Seen(one.place, "colors", values, {}, one.size_px)
