"""How a version is named: NAME@ALIAS, NAME:NUMBER, or the uri of its prefix. Pure functions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from roadbed.errors import UsageError

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_ALIAS = re.compile(rf"(?P<name>{_NAME})@(?P<alias>{_NAME})")
_NUMBER = re.compile(rf"(?P<name>{_NAME}):(?P<number>[0-9]+)")
_VERSION_URI = re.compile(rf"(?P<root>.*)/models/(?P<name>{_NAME})/versions/(?P<number>[0-9]+)/?")


@dataclass(frozen=True)
class Reference:
    """A parsed reference: `alias` or `number` is set; `root_uri` where a uri named another root than the registry's."""

    name: str
    alias: str | None = None
    number: int | None = None
    root_uri: str | None = None


def parse_reference(text: str) -> Reference:
    """The parts of a reference. Raises UsageError that shows the three forms."""
    if found := _ALIAS.fullmatch(text):
        return Reference(found["name"], alias=found["alias"])
    if found := _NUMBER.fullmatch(text):
        return Reference(found["name"], number=int(found["number"]))
    if found := _VERSION_URI.fullmatch(text):
        return Reference(found["name"], number=int(found["number"]), root_uri=found["root"])
    raise UsageError(
        f"{text!r} does not name a version of a model; write NAME@ALIAS, NAME:NUMBER "
        "or ROOT/models/NAME/versions/NUMBER, as in road@champion or road:3"
    )


def looks_like_reference(text: str) -> bool:
    """Whether `text` has one of the three forms; says nothing about whether the version exists."""
    return any(pattern.fullmatch(text) for pattern in (_ALIAS, _NUMBER, _VERSION_URI))


def check_name(name: str, what: str) -> str:
    """`name` itself. Raises UsageError if it is no name for a `what` ("model", "alias")."""
    if not re.fullmatch(_NAME, name):
        raise UsageError(f"{name!r} is no name for a {what}; use letters, digits, dots and dashes")
    return name
