"""Masks that do not lie upon their frame: whether they are mirrored, or another frame's. A second look at the few."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from roadbed.data.doctor.findings import Fault
from roadbed.data.doctor.fit import Outline, correlations, fit, frame_outline, mask_outline
from roadbed.data.doctor.look import LEAST_SURENESS, PEAK
from roadbed.data.doctor.masks import look_at_mask
from roadbed.data.doctor.opening import Picture, open_picture
from roadbed.data.doctor.subject import Subject

# So many suspects are compared with each other; besides, each with the masks of so many pairs before and after it.
MOST_SUSPECTS = 60
NEIGHBOURS = 2
# A mask fits better if it stands out by so many standard deviations more.
BETTER = 2.0
MIRRORED: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored left to right": lambda edges_HW: edges_HW[:, ::-1],
    "upside down": lambda edges_HW: edges_HW[::-1],
    "turned by half": lambda edges_HW: edges_HW[::-1, ::-1],
}


@dataclass(frozen=True)
class _Outlines:
    frame: Outline
    mask: Outline
    mask_place: str


def second_look(subject: Subject, suspects: Sequence[int]) -> list[Fault]:
    """What is wrong with suspects (positions, in order), of which the first MOST_SUSPECTS are looked at."""
    suspects = suspects[:MOST_SUSPECTS]
    wanted = {near for position in suspects for near in _neighbours(subject, position)} | set(suspects)
    outlines = {position: found for position in sorted(wanted) if (found := _outlines(subject, position))}
    suspects = [position for position in suspects if position in outlines]
    return [_fault(subject, outlines, suspects, position) for position in suspects]


def _neighbours(subject: Subject, position: int) -> list[int]:
    """Positions just before and after one, of its split."""
    near = range(max(position - NEIGHBOURS, 0), min(position + NEIGHBOURS + 1, len(subject.pairs)))
    return [other for other in near if subject.pairs[other].split == subject.pairs[position].split]


def _outlines(subject: Subject, position: int) -> _Outlines | None:
    image, mask, table = subject.read(subject.pairs[position])
    frame, labels = open_picture(image, is_mask=False), open_picture(mask, is_mask=True)
    if not (isinstance(frame, Picture) and isinstance(labels, Picture)):
        return None
    mask_HW = look_at_mask(labels, table).mask_HW
    edges = frame_outline(np.ascontiguousarray(frame.rgb()))
    borders = None if mask_HW is None else mask_outline(mask_HW)
    return None if edges is None or borders is None else _Outlines(edges, borders, mask.place)


def _fault(subject: Subject, outlines: dict[int, _Outlines], suspects: Sequence[int], position: int) -> Fault:
    ours = outlines[position]
    here = _sureness(ours.frame, ours.mask)
    for how, turn in MIRRORED.items():
        mirrored = Outline(np.ascontiguousarray(turn(ours.mask.edges_HW)), ours.mask.scale)
        if _is_better(_sureness(ours.frame, mirrored), here):
            return Fault("mask-mirrored", ours.mask_place, f"fits {how}", position)
    others = sorted({*suspects, *_neighbours(subject, position)} & outlines.keys() - {position})
    scores = {other: _sureness(outlines[other].frame, ours.mask) for other in others}
    best = max(scores, key=lambda other: scores[other], default=None)
    if best is not None and _is_better(scores[best], here):
        detail = f"fits the frame of {subject.pairs[best].split}/{subject.pairs[best].key}"
        return Fault("mask-swapped", ours.mask_place, detail, position, best)
    detail = f"they stand out by {here:.1f} standard deviations where they lie, and at least {LEAST_SURENESS} are usual"
    return Fault("mask-misfit", ours.mask_place, detail, position)


def _is_better(sureness: float, here: float) -> bool:
    return sureness > PEAK and sureness > here + BETTER


def _sureness(frame: Outline, mask: Outline) -> float:
    found_MM = correlations(frame, mask)
    return 0.0 if found_MM is None else fit(found_MM, frame.scale).sureness
