"""classes.yaml: the classes of a folder of frames and masks, and what stands for them in the masks.

name: my-roads                  # optional: the label space's name
masks: ids                      # ids (grey or palette files) or colors; see ClassesFile for the default
classes:
  - name: road
    color: [128, 64, 128]       # or "#804080", in quotes
    ids: [7, 8]                 # raw ids; default: the class's place in the list, from 0
  - {name: car, color: "#00008e"}
  - tree                        # a name alone: default id, and a colour by its place
ignore: {ids: [255], colors: [[0, 0, 0]]}
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from roadbed.data.label_lists import voc_color
from roadbed.data.labels import IGNORE_ID, Color, LabelClass, LabelSpace
from roadbed.data.sources.tables import UNKNOWN_ID, ColorTable, MaskTable
from roadbed.errors import UsageError

# Of these YAML makes something else than a name, a number, a list or a mapping, and a set has no order.
STRANGE_TYPES = ("timestamp", "binary", "set", "omap", "pairs")
HEX_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


def _parse_color(value: Any) -> Any:
    if isinstance(value, str):
        if not HEX_COLOR.fullmatch(value):
            raise ValueError('expected a colour, [R, G, B] or "#rrggbb"')
        return tuple(bytes.fromhex(value[1:]))
    return value


Byte = Annotated[int, Field(ge=0, le=255, strict=True)]
ParsedColor = Annotated[tuple[Byte, Byte, Byte], BeforeValidator(_parse_color)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassEntry(_Part):
    """One class."""

    name: str = Field(min_length=1)
    color: ParsedColor | None = None
    ids: tuple[Byte, ...] | None = Field(None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _is_name_or_entry(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, dict):
            raise ValueError("expected a name (in quotes if YAML takes it for something else) or {name: ..., ...}")
        return value

    @field_validator("color", mode="before")
    @classmethod
    def _is_given(cls, value: Any) -> Any:
        if value is None:
            raise ValueError('expected a colour, [R, G, B] or "#rrggbb" (in quotes: # begins a comment)')
        return value


class IgnoreEntry(_Part):
    """What stands for pixels that nobody labelled."""

    ids: tuple[Byte, ...] | None = None
    colors: tuple[ParsedColor, ...] = ()


class ClassesFile(_Part):
    """The whole file.

    Masks hold colours if every class has one and no raw ids are named, else ids; `masks` says otherwise. The raw id
    255 is ignored unless it is a class's, or ignored ids are named.
    """

    name: str = Field("custom", min_length=1)
    masks: Literal["ids", "colors"] | None = None
    classes: tuple[ClassEntry, ...] = Field(min_length=1, max_length=UNKNOWN_ID)
    ignore: IgnoreEntry = IgnoreEntry()

    @property
    def kind(self) -> Literal["ids", "colors"]:
        """What the masks hold."""
        if self.masks:
            return self.masks
        names_ids = self.ignore.ids is not None or any(entry.ids is not None for entry in self.classes)
        return "ids" if names_ids or any(entry.color is None for entry in self.classes) else "colors"

    @property
    def label_space(self) -> LabelSpace:
        """The classes in the order of the file; those without a colour get one by their place."""
        classes = (LabelClass(e.name, e.color or voc_color(place + 1)) for place, e in enumerate(self.classes))
        return LabelSpace(self.name, tuple(classes))

    def table(self, *, origin: str) -> MaskTable | ColorTable:
        """What leads from raw masks to the classes; `origin` names the file in error texts."""
        if self.kind == "colors":
            pairs = self._colors()
            return ColorTable(
                {color: class_id for color, class_id, _ in pairs},
                names={color: name for color, _, name in pairs},
                known=f"known are those of {origin}",
                hint=f"if masks hold ids, write `masks: ids` in {origin}",
            )
        ids = self._ids()
        return MaskTable(
            {raw_id: class_id for raw_id, class_id, _ in ids},
            names={raw_id: name for raw_id, _, name in ids},
            known=f"known are those of {origin}",
            hint=f"if masks hold colours, write `masks: colors` in {origin} and give every class its color",
        )

    def _ids(self) -> list[tuple[int, int, str]]:
        """(raw id, class id, name) of all that is known, ignored ids last."""
        known = [
            (raw_id, place, entry.name)
            for place, entry in enumerate(self.classes)
            for raw_id in (entry.ids if entry.ids is not None else (place,))
        ]
        ignored = self.ignore.ids
        if ignored is None:
            ignored = (IGNORE_ID,) if all(raw_id != IGNORE_ID for raw_id, _, _ in known) else ()
        return [*known, *((raw_id, IGNORE_ID, "ignored") for raw_id in ignored)]

    def _colors(self) -> list[tuple[Color, int, str]]:
        """(colour, class id, name) of all that is known, ignored colours last."""
        known = [(e.color, place, e.name) for place, e in enumerate(self.classes) if e.color is not None]
        return [*known, *((color, IGNORE_ID, "ignored") for color in self.ignore.colors)]

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Self:
        names = Counter(entry.name for entry in self.classes)
        if (doubled := _first_doubled(names)) is not None:
            raise ValueError(f"two classes have the name {doubled!r}")
        if self.kind == "ids":
            _check_single((raw_id, name) for raw_id, _, name in self._ids())
            return self
        missing = next((entry.name for entry in self.classes if entry.color is None), None)
        if missing is not None:
            raise ValueError(f"masks hold colors, but class {missing!r} has no color")
        _check_single((color, name) for color, _, name in self._colors())
        return self


def parse_classes(text: str, *, origin: str) -> ClassesFile:
    """The validated classes.yaml. Raises UsageError that lists every fault, a line each, with key, value and remedy."""
    try:
        values = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise UsageError(f"{origin}: not YAML: {error}") from None
    except (ValueError, KeyError, RecursionError) as error:
        raise UsageError(
            f"{origin}: a value cannot be read: {error}; write names, in quotes if YAML takes them for something else, "
            "numbers, lists and mappings"
        ) from None
    if isinstance(values, list):
        values = {"classes": values}
    if not isinstance(values, dict):
        raise UsageError(f"{origin}: expected `classes:` with a list of names, found {type(values).__name__}")
    try:
        return ClassesFile.model_validate(values)
    except ValidationError as error:
        # Where an entry is faulty, its list counts as too short.
        faults = (fault for fault in error.errors() if fault["type"] != "too_short" or not fault["input"])
        raise UsageError("\n".join(f"{origin}: {_describe(fault)}" for fault in faults)) from None


def _refuse_type(_loader: yaml.SafeLoader, node: yaml.Node) -> None:
    kind = node.tag.rpartition(":")[2]
    found = f"{node.value} is a date to YAML" if kind == "timestamp" else f"!!{kind}"
    raise ValueError(f"line {node.start_mark.line + 1}: {found}")


class _Loader(yaml.SafeLoader):
    """Refuses what no classes.yaml has use for. Raises ValueError or KeyError, too, for what is not of its type."""

    yaml_constructors = {  # noqa: RUF012
        **yaml.SafeLoader.yaml_constructors,
        **dict.fromkeys((f"tag:yaml.org,2002:{name}" for name in STRANGE_TYPES), _refuse_type),
    }


def _describe(fault: ErrorDetails) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        parents = [part for part in fault["loc"][:-1] if isinstance(part, str)]
        parts: dict[str, type[_Part]] = {"classes": ClassEntry, "ignore": IgnoreEntry}
        known = list(parts.get(parents[0] if parents else "", ClassesFile).model_fields)
        near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        return f"unknown key {key}; {hint}"
    if fault["type"] == "missing":
        return f"{key} is missing"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]}, found {fault['input']!r}" if key else message


def _check_single(values: Any) -> None:
    seen: dict[Any, str] = {}
    for value, name in values:
        if value in seen:
            raise ValueError(f"{value} stands for both {seen[value]!r} and {name!r}; every value has one meaning")
        seen[value] = name


def _first_doubled(counts: Counter[str]) -> str | None:
    return next((value for value, count in counts.items() if count > 1), None)
