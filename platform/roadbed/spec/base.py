"""The base of every section of a job spec: frozen, strict, with errors that name key, value and remedy."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from roadbed.errors import UsageError


class Section(BaseModel):
    """A validated, immutable part of a job spec. Unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def parse(cls, values: Any, *, origin: str) -> Self:
        """Validate `values` (what a YAML file held); `origin` stands at the head of an error text.

        Raises UsageError that lists every fault, a line each.
        """
        if not isinstance(values, dict):
            raise UsageError(f"{origin}: expected keys and values, found {type(values).__name__}")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            faults = describe_faults(error, cls)
            raise UsageError("\n".join(f"{origin}: {fault}" for fault in faults)) from None


# Keys of a store stand in the environment or in a Secret, never here: a spec is read by many.
_S3_URI = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]*(/[^\x00-\x1f\x7f]*)?")


def _check_store_uri(uri: str) -> str:
    if not uri.startswith(("s3://", "file:///")):
        raise ValueError("expected s3://BUCKET/PREFIX or file:///FOLDER (workers run in folders of their own)")
    if uri.startswith("s3://") and not _S3_URI.fullmatch(uri):
        raise ValueError("expected s3://BUCKET/PREFIX in one line, the bucket of letters, digits, dots and dashes")
    return uri.rstrip("/")


StoreUri = Annotated[str, AfterValidator(_check_store_uri)]


def known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """All dotted keys of a spec class, sections included: `train`, `train.learning_rate`, ..."""
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += known_keys(field.annotation, f"{prefix}{name}.")
    return keys


def nearest_key(key: str, known: list[str]) -> str | None:
    """The known dotted key that `key` most likely meant, or None if none is near.

    A key of the right name in the wrong section counts as near.
    """
    leaf = key.rpartition(".")[2]
    same_leaf = [k for k in known if k.rpartition(".")[2] == leaf]
    if same_leaf:
        return same_leaf[0]
    siblings = [k for k in known if k.rpartition(".")[0] == key.rpartition(".")[0]]
    for candidates in (siblings, known):
        near = difflib.get_close_matches(key, candidates, n=1, cutoff=0.6)
        if near:
            return near[0]
    return None


def describe_faults(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """What is wrong with the values of a spec class, a line each: key, fault, what was found."""
    return [_describe(fault, model) for fault in error.errors()]


def _describe(fault: ErrorDetails, model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        near = nearest_key(key, known_keys(model))
        hint = f"did you mean {near}?" if near else "see `roadbed explain` for the keys there are"
        return f"unknown key {key}; {hint}"
    if fault["type"] == "missing":
        return f"{key} is missing"
    message = fault["msg"].removeprefix("Value error, ")
    if not key or message.startswith((f"{key}.", f"{key}:")):  # A check of several keys says itself which and what.
        return message
    return f"{key}: {message[0].lower()}{message[1:]}, found {fault['input']!r}"
