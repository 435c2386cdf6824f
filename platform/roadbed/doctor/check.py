"""What a check is and what it finds; each is bounded in time, and one that fails leaves the others alone."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from roadbed.errors import RoadbedError

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's. A problem has a fix, and a note may have one."""

    state: State
    what: str
    fix: str = ""
    check: str = ""

    def to_json(self) -> dict[str, str]:
        """As a document: check, state, what, fix."""
        return {name: asdict(self)[name] for name in ("check", "state", "what", "fix")}


@dataclass(frozen=True)
class Check:
    """`look` is called with the uri of the store's root and gives what it finds, each as soon as it is known."""

    name: str
    look: Callable[[str], Iterator[Finding]]
    within_s: float = 5.0


def examine(checks: Sequence[Check], store: str) -> Iterator[Finding]:
    """What the checks find, in their order. One that raises, or does not end in its time, is a problem of its own."""
    for check in checks:
        for found in _bounded(check, store):
            yield Finding(found.state, found.what, found.fix, check.name)


def _bounded(check: Check, store: str) -> list[Finding]:
    found: list[Finding] = []

    def look() -> None:
        try:
            for one in check.look(store):
                found.append(one)
        except RoadbedError as error:
            found.append(of_error(error))
        except Exception as error:
            told = f"this check failed: {type(error).__name__}: {error}"
            found.append(Finding("problem", told, "it is a defect of roadbed: tell its makers, with this line"))

    # A daemon: it may hang in a system call for good, and must not keep the process from its end.
    thread = threading.Thread(target=look, name=f"doctor-{check.name}", daemon=True)
    thread.start()
    thread.join(check.within_s)
    told = list(found)
    if thread.is_alive():
        fix = "look at what it asks: the network, a disk of the network, a proxy"
        told.append(Finding("problem", f"no answer within {check.within_s:g} s", fix))
    return told


def import_trouble(*packages: str) -> str | None:
    """Why one of the packages does not load, None if all do. Libraries that do not load raise what they like."""
    for package in packages:
        try:
            importlib.import_module(package)
        except Exception as error:
            return f"{package} cannot be imported: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return None


def of_error(error: RoadbedError) -> Finding:
    """An error's text, which says what is wrong, a semicolon, and what to do, as a problem with its fix."""
    what, _, fix = str(error).partition("; ")
    return Finding("problem", what, fix or "change what it names, and look again")
