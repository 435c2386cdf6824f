"""What sources say about how files lie, sorted by the doctor's checks; and what alone files may have been meant for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from roadbed.data.doctor.findings import Fault
from roadbed.data.sources.folder_pairs import MASK_ENDINGS

# What the problems of sources say (sources/*.py), by the check that they belong to.
KINDS = (
    ("frame-alone", re.compile(r": no mask for it")),
    ("mask-alone", re.compile(r": no frame for it")),
    ("name-twice", re.compile(r"has the same name; keep one|is a mask of the same frame; keep one")),
    ("file-format", re.compile(r" files are not read; ")),
    ("link-broken", re.compile(r": a link to ")),
    (
        "split-missing",
        re.compile(r"in no folder of a split|stand in none of|no list names|which is in split|no pair of"),
    ),
)
PLACE = re.compile(r"(?P<place>.*?\.\w+|/\S+): (?P<detail>.*)", re.DOTALL)
LEAST_LIKE = 0.8


def arrangement_faults(problems: Sequence[str]) -> tuple[Fault, ...]:
    """The problems of a source, with what files without a partner may have been meant for."""
    faults = [_fault(problem) for problem in problems]
    return tuple(_with_partners(faults))


def _fault(problem: str) -> Fault:
    check = next((check for check, pattern in KINDS if pattern.search(problem)), "arrangement")
    found = PLACE.fullmatch(problem)
    return Fault(check, found["place"], found["detail"]) if found else Fault(check, "names", problem)


def _with_partners(faults: Sequence[Fault]) -> Iterator[Fault]:
    """Frames and masks alone whose names are nearly one another's say so; those that differ in case are of that."""
    alone = {kind: [fault for fault in faults if fault.check == kind] for kind in ("frame-alone", "mask-alone")}
    masks = {_name(fault.place): fault for fault in alone["mask-alone"]}
    by_lower = {name.lower(): name for name in masks}
    paired: set[str] = set()
    for fault in faults:
        if fault.check == "frame-alone":
            name = _name(fault.place)
            partner = by_lower.get(name.lower())
            if partner is not None:
                paired.add(masks[partner].place)
                other = PurePosixPath(masks[partner].place).name
                yield Fault("name-case", fault.place, f"its mask is {other}, in another case", severity="error")
                continue
            near = difflib.get_close_matches(name, masks, n=1, cutoff=LEAST_LIKE)
            hint = f"; the nearest name is {PurePosixPath(masks[near[0]].place).name}" if near else ""
            yield Fault("frame-alone", fault.place, fault.detail + hint)
        elif fault.place not in paired:
            yield fault


def _name(place: str) -> str:
    """The name of a file without suffix, and without what masks have at their ends."""
    stem = PurePosixPath(place).stem
    return next((stem.removesuffix(ending) for ending in MASK_ENDINGS if stem.endswith(ending)), stem)
