"""How one path of a train spec is searched: a range, equal steps, or choices; perhaps under a condition.

Written as `{loguniform: [0.001, 0.1]}` or `{choice: [8, 16], when: {model.architecture: deeplabv3}}`, and dumped so.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field, SerializationInfo, model_serializer, model_validator

from roadbed.spec.base import Section

Form = Literal["uniform", "loguniform", "quniform", "int", "logint", "choice"]
ARGUMENTS: dict[str, str] = {
    "uniform": "[low, high]",
    "loguniform": "[low, high]",
    "quniform": "[low, high, step]",
    "int": "[low, high]",
    "logint": "[low, high]",
    "choice": "[value, value, ...]",
}
_EXAMPLES = "{loguniform: [0.001, 0.1]}, {int: [2, 8]} or {choice: [8, 16]}"
_PROBED_VALUES = 64
_MOST_STEPS = 10_000
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


class Dimension(Section):
    """The values that a path may take. `arguments` stand as they are written; `when` has other paths' values."""

    form: Form
    arguments: tuple[Any, ...]
    when: dict[str, tuple[Any, ...]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _of_what_is_written(cls, written: Any) -> Any:
        if isinstance(written, Dimension):
            return written
        if not isinstance(written, dict) or not written:
            raise ValueError(f"expected how to search it, such as {_EXAMPLES}")
        forms = [key for key in written if key != "when"]
        for form in forms:
            if form not in ARGUMENTS:
                near = difflib.get_close_matches(str(form), [*ARGUMENTS, "when"], n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ValueError(f"{form} is no way to search; there are {', '.join(ARGUMENTS)}{hint}")
        if len(forms) != 1:
            raise ValueError(f"expected one way to search it, such as {_EXAMPLES}")
        when = _conditions(written["when"]) if "when" in written else {}
        return {"form": forms[0], "arguments": _arguments(forms[0], written[forms[0]]), "when": when}

    @model_serializer
    def _as_written(self, _: SerializationInfo) -> dict[str, Any]:
        written: dict[str, Any] = {self.form: list(self.arguments)}
        if self.when:
            written["when"] = {path: _one_or_list(values) for path, values in self.when.items()}
        return written

    @property
    def low(self) -> float:
        """The lower bound, of every form but choice."""
        return float(self.arguments[0])

    @property
    def high(self) -> float:
        """The upper bound, of every form but choice."""
        return float(self.arguments[1])

    @property
    def is_log(self) -> bool:
        """Whether values are drawn evenly by their logarithm."""
        return self.form in ("loguniform", "logint")

    @property
    def is_continuous(self) -> bool:
        """Whether there are more values than a grid could hold."""
        return self.form in ("uniform", "loguniform")

    def values(self) -> Sequence[Any]:
        """Every value, in order. Steps are added as decimals, so 0.1 + 2 * 0.1 is 0.3. Not of continuous forms."""
        assert not self.is_continuous
        if self.form == "choice":
            return self.arguments
        if self.form != "quniform":
            return range(self.arguments[0], self.arguments[1] + 1)
        low, high, step = (Decimal(str(argument)) for argument in self.arguments)
        convert = int if all(isinstance(argument, int) for argument in self.arguments) else float
        return [convert(low + number * step) for number in range(int((high - low) / step) + 1)]

    def inner(self) -> Any:
        """A value of a range that is neither of its ends nor, of a continuous one, likely to be whole."""
        if self.is_continuous:
            return self.low + 0.381966 * (self.high - self.low)
        values = self.values()
        return values[len(values) // 2]

    def probes(self) -> Sequence[Any]:
        """Values that tell whether all can be taken: the ends and some between, or all if they are few."""
        if self.is_continuous:
            return (self.low, self.high, self.inner())
        values = self.values()
        if self.form == "choice" or len(values) <= _PROBED_VALUES:
            return values
        return (values[0], values[-1], values[1], self.inner())

    def is_drawn(self, drawn: Mapping[str, Any]) -> bool:
        """Whether the conditions hold where the paths that they name were drawn already."""
        return all(path in drawn and drawn[path] in values for path, values in self.when.items())


def _arguments(form: str, written: Any) -> tuple[Any, ...]:
    if not isinstance(written, (list, tuple)):
        raise ValueError(f"{form} takes {ARGUMENTS[form]}")
    arguments = tuple(_number_or_as_is(value) for value in written)
    if form == "choice":
        _check_choices(arguments)
        return arguments
    if len(arguments) != len(ARGUMENTS[form].split(",")) or not all(_is_number(value) for value in arguments):
        raise ValueError(f"{form} takes {ARGUMENTS[form]}, all of them numbers")
    _check_range(form, arguments)
    return arguments


def _check_choices(choices: tuple[Any, ...]) -> None:
    if not choices:
        raise ValueError("choice has no value to choose from; give it some, or leave the path out of tune.space")
    for number, choice in enumerate(choices):
        if isinstance(choice, dict):
            raise ValueError(f"choice takes values of one key, not keys and values such as {choice}")
        if choice in choices[:number]:
            raise ValueError(f"choice has {choice!r} twice; leave one out")


def _check_range(form: str, arguments: tuple[Any, ...]) -> None:
    low, high = arguments[:2]
    if low >= high:
        remedy = "exchange them" if low > high else "for one value set it in the spec itself, outside tune.space"
        raise ValueError(f"{form}: the low bound {low} is not below the high bound {high}; {remedy}")
    if form in ("int", "logint") and not all(isinstance(bound, int) for bound in arguments):
        raise ValueError(f"{form} takes whole numbers; for others there are uniform, loguniform and quniform")
    if form in ("loguniform", "logint") and low <= 0:
        plain = form.removeprefix("log")
        raise ValueError(f"{form}: the low bound {low} has no logarithm; take one above 0, or {plain}")
    if form == "quniform":
        step, way = arguments[2], Decimal(str(high)) - Decimal(str(low))
        if step <= 0 or way % Decimal(str(step)):
            raise ValueError(f"quniform: no whole number of steps of {step} leads from {low} to {high}; change one")
        if way / Decimal(str(step)) > _MOST_STEPS:
            raise ValueError(f"quniform: {step} makes more than {_MOST_STEPS:,} steps; take larger ones, or uniform")


def _conditions(written: Any) -> dict[str, tuple[Any, ...]]:
    if not isinstance(written, dict) or not written:
        raise ValueError("when takes other paths and their values, such as {model.architecture: deeplabv3plus}")
    conditions = {}
    for path, values in written.items():
        listed = values if isinstance(values, (list, tuple)) else [values]
        if not listed:
            raise ValueError(f"when names {path} without a value; give it one or several")
        conditions[str(path)] = tuple(_number_or_as_is(value) for value in listed)
    return conditions


def _one_or_list(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 and not isinstance(values[0], (list, tuple)) else list(values)


def _number_or_as_is(value: Any) -> Any:
    """YAML 1.1 reads 1e-4, which has no point, as text."""
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
