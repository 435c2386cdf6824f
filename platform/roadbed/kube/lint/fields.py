"""A way through objects that may be anything: steps that never fail, and know their path.

What a YAML file holds is not yet known to be an object of Kubernetes, so that rules walk by `Field` alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from roadbed.kube.schemas import child_path

_QUANTITY = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]{1,2})?")
_SCALES = {"": 1.0, "m": 1e-3} | {
    letter + suffix: float(base ** (power + 1))
    for suffix, base in (("", 1000), ("i", 1024))
    for power, letter in enumerate("KMGTPE")
}


@dataclass(frozen=True)
class Field:
    """A place in an object: what is there (None: nothing), its path, and the object's number among those looked at."""

    value: Any
    path: str = ""
    number: int = 0

    def __getitem__(self, name: str) -> Field:
        """The field of this name, which may hold nothing."""
        value = self.value.get(name) if isinstance(self.value, dict) else None
        return Field(value, child_path(self.path, name), self.number)

    def items(self) -> list[Field]:
        """The items of a list; none if it is no list."""
        values = self.value if isinstance(self.value, list) else []
        return [Field(value, f"{self.path}[{index}]", self.number) for index, value in enumerate(values)]

    def fields(self) -> dict[str, Field]:
        """The fields of a mapping by their names; none if it is no mapping."""
        return {str(name): self[name] for name in self.value} if isinstance(self.value, dict) else {}

    def __bool__(self) -> bool:
        """Whether something is here that is neither nothing, false, zero, nor empty."""
        return bool(self.value)

    @property
    def is_set(self) -> bool:
        """Whether anything is here, be it false or 0."""
        return self.value is not None

    @property
    def text(self) -> str:
        """The text; empty if it is none."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def whole(self) -> int | None:
        """The whole number; None if it is none."""
        return self.value if isinstance(self.value, int) and not isinstance(self.value, bool) else None

    @property
    def quantity(self) -> float | None:
        """The amount that a quantity of Kubernetes stands for ("500m", "8Gi", 2); None if it is none."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float | str):
            return None
        found = _QUANTITY.fullmatch(str(self.value))
        if not found:
            return None
        number, scale = float(found[1]), found[2] or ""
        if scale[:1] in ("e", "E") and scale[1:] and scale != "Ei":
            return number * 10.0 ** int(scale[1:])
        return number * _SCALES["K" if scale == "k" else scale]

    @property
    def labels(self) -> dict[str, str]:
        """The mapping of texts to texts that is here, without what is none."""
        return {name: field.text for name, field in self.fields().items() if isinstance(field.value, str)}


def parsed(text: str) -> Any:
    """What a YAML text holds; None if it is none."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
