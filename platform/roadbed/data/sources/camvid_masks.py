"""What stands in CamVid's raw masks, as ids of a label space: colours, or ids in one of two orders."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from roadbed.data.labels import CAMVID_11, CAMVID_COLORS, Color, LabelSpace, camvid_ids
from roadbed.errors import DataError

UNKNOWN_ID = 254
COLOR_LINE = re.compile(r"\s*(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+(\S+)\s*")
MAX_VALUES_SHOWN = 5


class MaskTable:
    """Leads from raw ids to ids of a label space; `known` says in words which raw ids there are."""

    def __init__(self, ids: Mapping[int, int], *, known: str) -> None:
        self._table_256 = np.full(256, UNKNOWN_ID, np.uint8)
        self._table_256[list(ids)] = list(ids.values())
        self._known = known

    def digest(self) -> bytes:
        """Changes when the table does."""
        return hashlib.sha256(self._table_256.tobytes()).digest()

    def map(self, raw_HW: np.ndarray) -> np.ndarray:
        """uint8 ids; UNKNOWN_ID where the raw id is none of the known."""
        return np.asarray(self._table_256[raw_HW])

    def describe_unknown(self, raw_HW: np.ndarray, mask_HW: np.ndarray) -> str:
        """The raw ids that were not known and how many pixels have each."""
        values, counts = np.unique(raw_HW[mask_HW == UNKNOWN_ID], return_counts=True)
        return f"unknown id {_list_counts(values.tolist(), counts)}; {self._known}"


class ColorTable:
    """Leads from RGB colours to ids of a label space."""

    def __init__(self, ids: Mapping[Color, int], *, origin: str) -> None:
        self._table = np.full(1 << 24, UNKNOWN_ID, np.uint8)
        for (red, green, blue), class_id in ids.items():
            self._table[red << 16 | green << 8 | blue] = class_id
        self._origin = origin
        self._ids = dict(ids)

    def digest(self) -> bytes:
        """Changes when the table does."""
        return hashlib.sha256(repr(sorted(self._ids.items())).encode()).digest()

    def map(self, raw_HW3: np.ndarray) -> np.ndarray:
        """uint8 ids; UNKNOWN_ID where the colour is none of the known."""
        return np.asarray(self._table[_pack(raw_HW3)])

    def describe_unknown(self, raw_HW3: np.ndarray, mask_HW: np.ndarray) -> str:
        """The colours that were not known and how many pixels have each."""
        packed, counts = np.unique(_pack(raw_HW3)[mask_HW == UNKNOWN_ID], return_counts=True)
        colors = [f"({value >> 16}, {value >> 8 & 255}, {value & 255})" for value in packed.tolist()]
        return f"unknown colour {_list_counts(colors, counts)}; known are those of {self._origin}"


def segnet_table(label_space: LabelSpace, *, origin: Path) -> MaskTable:
    """For SegNet's masks: ids 0..10, and 11 for unlabelled. Raises DataError if more classes are asked for."""
    if label_space != CAMVID_11:
        raise DataError(
            f"{origin}: its masks hold the 11 classes of SegNet's arrangement, but {label_space.name} was asked for; "
            "use --classes 11, or give CamVid with its original colour masks"
        )
    ids = {index: index for index in range(label_space.num_classes)} | {label_space.num_classes: label_space.ignore_id}
    return MaskTable(ids, known="ids are 0..10, and 11 for unlabelled")


def codes_table(path: Path, label_space: LabelSpace) -> MaskTable:
    """For masks of ids in the order of codes.txt, a CamVid class name a line. Raises DataError for other names."""
    ids = camvid_ids(label_space)
    names = path.read_text(encoding="utf-8", errors="replace").split()
    for number, name in enumerate(names, 1):
        _check_name(path, number, name)
    if not 1 <= len(names) <= UNKNOWN_ID:
        raise DataError(f"{path}: {len(names)} class names; expected CamVid's 32, one a line")
    return MaskTable({index: ids[name] for index, name in enumerate(names)}, known=f"{path} names 0..{len(names) - 1}")


def color_table(folder: Path, label_space: LabelSpace) -> ColorTable:
    """For colour masks: the colours of label_colors.txt under `folder` if it is there, else CamVid's own."""
    path = next((p for p in (folder / "label_colors.txt", *folder.glob("*/label_colors.txt")) if p.is_file()), None)
    colors = _read_colors(path) if path else CAMVID_COLORS
    ids = camvid_ids(label_space)
    by_color = {color: ids[name] for name, color in colors.items()}
    return ColorTable(by_color, origin=str(path) if path else "CamVid's 32 classes")


def _read_colors(path: Path) -> dict[str, Color]:
    colors: dict[str, Color] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        match = COLOR_LINE.fullmatch(line)
        color = (int(match[1]), int(match[2]), int(match[3])) if match else (256, 256, 256)
        if match is None or max(color) > 255:
            raise DataError(
                f"{path}: line {number} is {line.strip()!r}; expected `R G B<TAB>Name`, as in `128 0 0 Building`"
            )
        _check_name(path, number, match[4])
        if color in colors.values():
            raise DataError(
                f"{path}: line {number} gives {match[4]} the colour {color}, which another class has already"
            )
        colors[match[4]] = color
    return colors


def _check_name(path: Path, number: int, name: str) -> None:
    if name not in CAMVID_COLORS:
        near = difflib.get_close_matches(name, CAMVID_COLORS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; the classes are {', '.join(CAMVID_COLORS)}"
        raise DataError(f"{path}: line {number} names {name!r}, which is no CamVid class{hint}")


def _pack(raw_HW3: np.ndarray) -> np.ndarray:
    red_HW, green_HW, blue_HW = (raw_HW3[..., channel].astype(np.uint32) for channel in range(3))
    return np.asarray(red_HW << 16 | green_HW << 8 | blue_HW)


def _list_counts(values: list[int] | list[str], counts: np.ndarray) -> str:
    by_count = sorted(zip(counts.tolist(), values, strict=True), key=lambda pair: -pair[0])
    shown = ", ".join(f"{value} ({count} pixels)" for count, value in by_count[:MAX_VALUES_SHOWN])
    more = len(by_count) - MAX_VALUES_SHOWN
    return shown + (f" and {more} more" if more > 0 else "")
