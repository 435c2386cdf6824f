"""A classes.yaml for what a survey found: names from a legend, from label spaces that are known, or to be filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from roadbed.data.label_lists import COCO_LAST_THING, COCO_STUFF_NAMES, VOC_NAMES, voc_color
from roadbed.data.labels import CAMVID_COLORS, CITYSCAPES_30, IGNORE_ID, Color
from roadbed.data.proposal.legends import Legend
from roadbed.data.proposal.polygons import IGNORED_LABELS
from roadbed.data.proposal.survey import Survey
from roadbed.data.sources.tables import UNKNOWN_ID
from roadbed.errors import DataError

# Of a colour that a class has, and that is no blend of others.
LEAST_SHARE = 0.0005
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9 _-]*")
BLACK: Color = (0, 0, 0)
LEAST_COCO = 5
VOID_NAMES = IGNORED_LABELS | {"other", "none"}


@dataclass(frozen=True)
class ClassesProposal:
    """The text of a classes.yaml, the names in it, and what somebody should know, a line each."""

    text: str
    names: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    """A class: what stands for it in masks, its colour if it is known, and how often it was found."""

    name: str
    color: Color | None
    raw_id: int | None
    value: int


def propose_classes(survey: Survey, legend: Legend | None, *, name: str) -> ClassesProposal:
    """The proposal. Raises DataError if there are more values than classes can be."""
    notes: list[str] = []
    if survey.kind == "ids":
        known, ignored = _known_ids(survey, legend, notes)
        rows = [_Row(known[value], _shown(value, survey, legend, known), value, value) for value in sorted(known)]
        lost = [value for value in survey.pixels if value not in known and value not in ignored]
        rows += [_Row(f"class_{value}", survey.palette.get(value), value, value) for value in sorted(lost)]
        ignore = f"ignore: {{ids: {sorted(ignored)}}}"
    else:
        names, ignored = _known_colors(survey, legend, notes)
        rows = [_Row(name, _unpacked(value), None, value) for value, name in names.items()]
        ignore = f"ignore: {{colors: {[list(_unpacked(value)) for value in sorted(ignored)]}}}"
    if not 1 <= len(rows) <= UNKNOWN_ID:
        raise DataError(
            f"the masks hold {len(rows)} values that could be classes, at most {UNKNOWN_ID} can be; are they masks of "
            "instances, or photographs? Export masks of classes"
        )
    if any(row.name.startswith(("class_", "color_")) for row in rows):
        notes.append("classes.yaml: give the classes named class_... or color_... their names; nothing says them")
    head = f"# What the masks hold, as `roadbed data init` found it in {survey.num_files} of them. Mend what is wrong."
    lines = [
        head,
        f"name: {_word(name)}",
        f"masks: {survey.kind}",
        "classes:",
        *(_line(r, survey) for r in rows),
        ignore,
    ]
    return ClassesProposal("\n".join(lines) + "\n", tuple(row.name for row in rows), tuple(notes))


def _known_ids(survey: Survey, legend: Legend | None, notes: list[str]) -> tuple[dict[int, str], set[int]]:
    """Names by number, and the numbers that are ignored."""
    found = set(survey.pixels)
    ignored = {IGNORE_ID}
    if legend is not None and (by_id := _ids_of(legend, survey)):
        notes.append(f"classes.yaml: names are those of {legend.origin}")
        ignored |= {number for number, name in by_id.items() if name.lower() in VOID_NAMES}
        return {number: name for number, name in by_id.items() if number not in ignored}, ignored
    is_voc = bool(survey.palette) and all(color == voc_color(number) for number, color in survey.palette.items())
    if is_voc and found <= {*range(len(VOC_NAMES)), IGNORE_ID}:
        notes.append("classes.yaml: the palette is Pascal VOC's, and so are the names; mend them if yours are others")
        return dict(enumerate(VOC_NAMES)), ignored
    is_coco = survey.is_grey and found <= {*COCO_STUFF_NAMES, IGNORE_ID} and len(found) >= LEAST_COCO
    if is_coco and max(found - ignored) > COCO_LAST_THING:
        notes.append("classes.yaml: the numbers are such as COCO-Stuff's, and so are the names; mend them if not")
        return {number: COCO_STUFF_NAMES[number] for number in sorted(found - ignored)}, ignored
    if found == {0, IGNORE_ID}:
        notes.append("classes.yaml: masks hold 0 and 255 alone, so 255 is taken for a class, and nothing is ignored")
        return {0: "background", IGNORE_ID: "class_255"}, set()
    return {}, ignored


def _ids_of(legend: Legend, survey: Survey) -> dict[int, str]:
    """A legend's names by number; one of colours through the palette of the masks."""
    if legend.by_id:
        return dict(legend.by_id)
    return {number: legend.by_color[color] for number, color in survey.palette.items() if color in legend.by_color}


def _shown(value: int, survey: Survey, legend: Legend | None, known: Mapping[int, str]) -> Color | None:
    """The colour of a number in pictures."""
    if value in survey.palette:
        return survey.palette[value]
    colors = {name: color for color, name in legend.by_color.items()} if legend else {}
    if known == dict(enumerate(VOC_NAMES)):
        return voc_color(value)
    return colors.get(known[value])


def _known_colors(survey: Survey, legend: Legend | None, notes: list[str]) -> tuple[dict[int, str], set[int]]:
    """Names by packed colour, and the colours that are ignored."""
    total = max(survey.pixels.total(), 1)
    found = [value for value, count in survey.pixels.most_common() if count >= LEAST_SHARE * total]
    table, origin = _color_table(found, legend)
    if rest := len(survey.pixels) - len(found):
        share = 1 - sum(survey.pixels[value] for value in found) / total
        if not all(_unpacked(value) in table for value in survey.pixels if value not in found):
            notes.append(
                f"classes.yaml: left out {rest} colours on {100 * share:.2f} % of the pixels, each too rare for a "
                "class; `roadbed data doctor` names the files that hold them"
            )
    if origin:
        notes.append(f"classes.yaml: names are those of {origin}")
    names = {_packed(color): name for color, name in table.items() if name.lower() not in VOID_NAMES}
    ignored = {_packed(color) for color, name in table.items() if name.lower() in VOID_NAMES}
    if _packed(BLACK) not in {*names, *ignored} and (origin or _packed(BLACK) in found):
        ignored.add(_packed(BLACK))
        notes.append("classes.yaml: black is ignored; if it is a class, such as a background, move it to the classes")
    others = [value for value in found if value not in names and value not in ignored]
    return names | {value: f"color_{value:06x}" for value in others}, ignored


def _color_table(found: list[int], legend: Legend | None) -> tuple[dict[Color, str], str]:
    """Names by colour from the legend, or from a label space that has all colours that were found."""
    if legend is not None and legend.by_color:
        return dict(legend.by_color), legend.origin
    cityscapes: dict[Color, str] = {}
    for label in CITYSCAPES_30.classes:
        cityscapes.setdefault(label.color, label.name)
    del cityscapes[BLACK]
    known: dict[str, dict[Color, str]] = {
        "Pascal VOC": {**{voc_color(n): name for n, name in enumerate(VOC_NAMES)}, voc_color(IGNORE_ID): "void"},
        "CamVid": {color: name for name, color in CAMVID_COLORS.items()},
        "Cityscapes": cityscapes,
    }
    colors = {_unpacked(value) for value in found} - {BLACK}
    origin = next((origin for origin, table in known.items() if colors and colors <= table.keys()), "")
    return known.get(origin, {}), origin


def _line(row: _Row, survey: Survey) -> str:
    parts = [f"name: {_word(row.name)}"]
    if row.color is not None:
        parts.append(f"color: {list(row.color)}")
    if row.raw_id is not None:
        parts.append(f"ids: [{row.raw_id}]")
    share = 100 * survey.pixels[row.value] / max(survey.pixels.total(), 1)
    return f"  - {{{', '.join(parts)}}}  # {share:.2f} % of the pixels, in {survey.files[row.value]} masks"


def _word(text: str) -> str:
    """A name as YAML reads it back: in quotes where it needs them."""
    return text if PLAIN.fullmatch(text) and yaml.safe_load(text) == text else json.dumps(text, ensure_ascii=False)


def _packed(color: Color) -> int:
    return color[0] << 16 | color[1] << 8 | color[2]


def _unpacked(value: int) -> Color:
    return value >> 16, value >> 8 & 255, value & 255
