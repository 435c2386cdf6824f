"""Frames that are there twice, or nearly so in two splits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from roadbed.data.doctor.findings import Fault
from roadbed.data.doctor.likeness import nearest
from roadbed.data.doctor.whole import Whole


def duplicates(whole: Whole) -> Iterator[Fault]:
    """Frames of the very same pixels."""
    rows_N = whole.looks.rows_N
    first: dict[int, int] = {}
    for place in np.flatnonzero(rows_N["has_frame"] & ~rows_N["is_flat"]).tolist():
        other = first.setdefault(int(rows_N["frame_digest"][place]), place)
        if other == place:
            continue
        is_across = whole.subject.pairs[place].split != whole.subject.pairs[other].split
        detail = f"has the very pixels of {whole.frame(other)}"
        yield Fault("duplicate-split" if is_across else "duplicate", whole.frame(place), detail, place, other)
        masks = rows_N["mask_digest"][[place, other]]
        if rows_N["has_mask"][[place, other]].all() and masks[0] != masks[1]:
            detail = f"has the frame of {whole.frame(other)} and another mask"
            yield Fault("labels-differ", whole.mask(place), detail, place, other)


def near_duplicates(whole: Whole) -> Iterator[Fault]:
    """Frames that are nearly one of another split; of every two splits, those of the later one."""
    rows_N = whole.looks.rows_N
    is_good_N = rows_N["has_frame"] & ~rows_N["is_flat"]
    splits = {split: places[is_good_N[places]] for split, places in whole.splits.items()}
    names = list(splits)
    for number, split in enumerate(names):
        for before in names[:number]:
            ours, others = rows_N[splits[split]], rows_N[splits[before]]
            for row, other, bits in nearest(ours["hash"], ours["thumb"], others["hash"], others["thumb"]):
                position, like = int(splits[split][row]), int(splits[before][other])
                if ours["frame_digest"][row] != others["frame_digest"][other]:
                    detail = f"is nearly {whole.frame(like)} ({bits} of 64 bits differ)"
                    yield Fault("near-duplicate", whole.frame(position), detail, position, like)
