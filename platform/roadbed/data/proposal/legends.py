"""What exports say of their masks beside them: files with the names of classes, and their colours or numbers.

labelmap.txt          name:R,G,B:parts:actions          CVAT ("Segmentation mask 1.1")
label_colors.txt      R G B<TAB>name                    CamVid, and others after it
class_dict.csv        name,r,g,b                        Kaggle's copies
labels.txt, ...       a name a line, or `7: name`       numbers in the order of lines (labelme: __ignore__ is none)
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from roadbed.data.labels import IGNORE_ID, Color
from roadbed.errors import DataError

NAME_FILES = ("labels.txt", "class_names.txt", "codes.txt", "classes.txt", "names.txt")
COLOR_LINE = re.compile(r"\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\S.*?)\s*")
NUMBER_LINE = re.compile(r"\s*(\d{1,3})\s*[:,;\t]\s*(\S.*?)\s*")
LABELME_IGNORE = "__ignore__"


@dataclass(frozen=True)
class Legend:
    """Names by what stands in masks: by number, by colour, or both; `origin` says where they are from."""

    origin: str
    by_id: Mapping[int, str]
    by_color: Mapping[Color, str]


def read_legend(top: Path) -> Legend | None:
    """The first of the files that is there. Raises DataError that names the line that cannot be read."""
    readers: dict[str, Callable[[Path], Legend]] = {
        "labelmap.txt": _labelmap,
        "label_colors.txt": _label_colors,
        "class_dict.csv": _class_dict,
        "class_dict_seg.csv": _class_dict,
        **dict.fromkeys(NAME_FILES, _names),
    }
    name = next((name for name in readers if (top / name).is_file()), None)
    return readers[name](top / name) if name else None


def _labelmap(path: Path) -> Legend:
    colors: dict[Color, str] = {}
    for number, line in _lines(path):
        if line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        values = rest.partition(":")[0].split(",")
        colors[_color(values, path, number, line)] = name.strip()
    return Legend(path.name, {}, colors)


def _label_colors(path: Path) -> Legend:
    colors: dict[Color, str] = {}
    for number, line in _lines(path):
        match = COLOR_LINE.fullmatch(line)
        colors[_color(match.groups()[:3] if match else (), path, number, line)] = match[4] if match else ""
    return Legend(path.name, {}, colors)


def _class_dict(path: Path) -> Legend:
    colors: dict[Color, str] = {}
    for number, line in _lines(path):
        name, *values = next(csv.reader([line]))
        if number > 1 or any(value.strip().isdigit() for value in values):
            colors[_color(values, path, number, line)] = name.strip()
    return Legend(path.name, {}, colors)


def _names(path: Path) -> Legend:
    lines = [line for _, line in _lines(path) if not line.startswith("#")]
    numbered = [match for line in lines if (match := NUMBER_LINE.fullmatch(line))]
    if len(numbered) == len(lines):
        return Legend(path.name, {int(match[1]): match[2] for match in numbered}, {})
    first = -1 if lines and lines[0] == LABELME_IGNORE else 0
    ids = {number: name.strip("_") for number, name in enumerate(lines, first)}
    return Legend(path.name, {IGNORE_ID if number < 0 else number: name for number, name in ids.items()}, {})


def _lines(path: Path) -> list[tuple[int, str]]:
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _color(values: object, path: Path, number: int, line: str) -> Color:
    found = [str(value).strip() for value in values] if isinstance(values, list | tuple) else []
    if len(found) != 3 or not all(value.isdigit() and int(value) < 256 for value in found):
        raise DataError(f"{path}: line {number} is {line!r}: expected a colour of three numbers within 0..255; mend it")
    return int(found[0]), int(found[1]), int(found[2])
