"""Reading a job spec from YAML, overriding it from the command line, writing it back, and explaining its fields."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from roadbed.errors import UsageError
from roadbed.spec.base import Section, known_keys, nearest_key
from roadbed.spec.job import KINDS, Job, ServeJob, TrainJob, TuneJob

Kind = TypeVar("Kind", TrainJob, TuneJob, ServeJob)
AnyKind = TypeVar("AnyKind", bound=Section)


def load_job(path: Path, overrides: tuple[str, ...] = ()) -> TrainJob:
    """The validated training job of a YAML file, with `KEY=VALUE` overrides (dotted keys, YAML values) applied.

    Raises UsageError with the file, the key, the value and a remedy.
    """
    return load_kind(TrainJob, path, overrides)


def load_kind(kind: type[Kind], path: Path, overrides: tuple[str, ...] = ()) -> Kind:
    """As `load_job`, of a job of another kind."""
    return parse_kind(kind, _read(path), origin=str(path), overrides=overrides)


def load_any(path: Path, overrides: tuple[str, ...] = ()) -> Job:
    """As `load_job`, of a job of whatever kind the file says."""
    return parse_any(_read(path), origin=str(path), overrides=overrides)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such job spec; the examples lie in jobs/") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None


def parse_job(text: str, *, origin: str, overrides: tuple[str, ...] = ()) -> TrainJob:
    """As `load_job`, of a YAML text; `origin` names it in errors."""
    return parse_kind(TrainJob, text, origin=origin, overrides=overrides)


def parse_kind(kind: type[Kind], text: str, *, origin: str, overrides: tuple[str, ...] = ()) -> Kind:
    """As `parse_job`, of a job of another kind."""
    values = _values(text, origin=origin)
    model = job_class(values.get("kind"), origin=origin)
    if model is not kind:
        wanted = kind.model_fields["kind"].default
        raise UsageError(
            f"{origin}: is a job of kind {values['kind']}, expected {wanted}; `roadbed {values['kind']}` runs it"
        )
    return _parse(kind, values, origin=origin, overrides=overrides)


def parse_any(text: str, *, origin: str, overrides: tuple[str, ...] = ()) -> Job:
    """As `parse_job`, of a job of whatever kind the text says."""
    values = _values(text, origin=origin)
    return _parse(job_class(values.get("kind"), origin=origin), values, origin=origin, overrides=overrides)


def _values(text: str, *, origin: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: what looks like a date and is none
        raise UsageError(f"{origin}: not YAML: {error}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{origin}: a job spec is keys and values, with `kind: train` at the top")
    return values


def _parse(kind: type[AnyKind], values: dict[str, Any], *, origin: str, overrides: tuple[str, ...]) -> AnyKind:
    for override in overrides:
        _override(values, override, kind)
    return kind.parse(values, origin=origin)


def job_class(kind: Any, *, origin: str) -> type[Job]:
    """The spec class of a kind. Raises UsageError that lists the kinds there are."""
    if isinstance(kind, str) and kind in KINDS:
        return KINDS[kind]
    near = difflib.get_close_matches(str(kind), KINDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"this version runs: {', '.join(KINDS)}"
    what = "kind is missing" if kind is None else f"kind: unknown kind {kind!r}"
    raise UsageError(f"{origin}: {what}; {hint}")


def dump_job(job: Job) -> str:
    """The resolved spec as YAML: every field with its value. `parse_job` reads it back to an equal spec."""
    return yaml.safe_dump(job.model_dump(mode="json"), sort_keys=False)


def explain(kind: str) -> list[tuple[str, str, str]]:
    """Every field of a kind as (dotted key, default, meaning); a required field's default is `required`."""
    return _explain(job_class(kind, origin="explain"), "")


def explain_field(kind: str, field: str) -> list[tuple[str, str, str]]:
    """The rows of `explain` that `field` names: one key ("train.epochs"), its end ("epochs"), or a section ("data").

    Raises UsageError that names the nearest field.
    """
    rows = explain(kind)
    found = [row for row in rows if row[0] == field or row[0].startswith(f"{field}.")]
    found = found or [row for row in rows if row[0].endswith(f".{field}")]
    if not found:
        near = nearest_key(field, [key for key, _, _ in rows])
        hint = f"did you mean {near}?" if near else f"`roadbed explain {kind}` prints all"
        raise UsageError(f"explain: a job of kind {kind} has no field {field}; {hint}")
    return found


def differing_keys(ours: Job, theirs: Job, *, ignore: tuple[str, ...]) -> list[str]:
    """Dotted keys whose values differ, but for the keys `ignore` and those under the sections `ignore`."""
    left, right = _flatten(ours.model_dump(mode="json")), _flatten(theirs.model_dump(mode="json"))
    keys = [key for key in left | right if left.get(key) != right.get(key)]
    return [key for key in keys if key not in ignore and key.partition(".")[0] not in ignore]


def differing_values(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Dotted keys in which written specs differ, but for the name, each with its value in every one of them.

    The texts are taken as they stand, so that runs of an older version can be compared; None where a key is missing.
    """
    specs = [_flatten(yaml.safe_load(text) or {}) for text in texts]
    values = {key: [spec.get(key) for spec in specs] for key in dict.fromkeys(key for spec in specs for key in spec)}
    return {key: found for key, found in values.items() if key != "name" and any(value != found[0] for value in found)}


def _override(values: dict[str, Any], override: str, model: type[BaseModel]) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise UsageError(f"--set {override}: expected KEY=VALUE, such as --set train.epochs=3")
    known = known_keys(model)
    if key not in known:
        near = nearest_key(key, known)
        raise UsageError(f"--set {override}: unknown key {key}" + (f"; did you mean {near}?" if near else ""))
    section = values
    *parents, leaf = key.split(".")
    for parent in parents:
        if section.get(parent) is None:
            section[parent] = {}
        section = section[parent]
        if not isinstance(section, dict):
            raise UsageError(f"--set {override}: the spec's {parent} is no section of keys and values")
    try:
        section[leaf] = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        raise UsageError(f"--set {override}: the value is not YAML") from None


def _explain(model: type[BaseModel], prefix: str, default_of: BaseModel | None = None) -> list[tuple[str, str, str]]:
    """`default_of` is the section as it is where a spec leaves it out, None where it may not."""
    rows = []
    for name, field in model.model_fields.items():
        value = field.default if default_of is None else getattr(default_of, name)
        default = "required" if value is PydanticUndefined else _as_yaml(value)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            if field.description:  # A section that may also be written as one value.
                rows.append((prefix + name, default, field.description))
            rows += _explain(field.annotation, f"{prefix}{name}.", value if isinstance(value, BaseModel) else None)
            continue
        rows.append((prefix + name, default, field.description or ""))
    return rows


def _as_yaml(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    plain = list(value) if isinstance(value, tuple) else value
    return str(yaml.safe_dump(plain, default_flow_style=True)).removesuffix("\n").removesuffix("\n...")


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
