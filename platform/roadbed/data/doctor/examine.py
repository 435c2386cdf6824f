"""The whole examination: every pair looked at in threads, then all of them together."""

from __future__ import annotations

import numpy as np

from roadbed.data.doctor.across import faults_across
from roadbed.data.doctor.findings import Diagnosis, Gathered
from roadbed.data.doctor.look import Looks, look_at
from roadbed.data.doctor.pairing import second_look
from roadbed.data.doctor.subject import Subject
from roadbed.data.doctor.whole import Whole, class_shares
from roadbed.data.parallel import Progress, ProgressCounter, in_threads
from roadbed.errors import DataError

# Pairs are looked at so many at a time, or more where there would be too many parts: each leaves a few kilobytes.
PAIRS_AT_A_TIME, MOST_PARTS = 8, 2000


def examine(
    subject: Subject,
    *,
    num_threads: int = 2,
    left_out: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> Diagnosis:
    """Look at all pairs of `subject`; the findings of checks that are `left_out` are not told.

    A pair is in memory while it is looked at, and leaves some hundred bytes. `progress(done, total)` counts pairs.
    Raises DataError if there is no pair, StoreError when the store fails; what is wrong with files is found, not
    raised.
    """
    num_pairs = len(subject.pairs)
    if not num_pairs:
        raise DataError(f"{subject.place}: no pair of frame and mask to look at; name a split that has some")
    counter = ProgressCounter(num_pairs, progress)

    def look(positions: range) -> Looks:
        looks = look_at(subject, positions)
        counter.count(len(positions))
        return looks

    step = max(PAIRS_AT_A_TIME, -(-num_pairs // MOST_PARTS))
    parts = [range(first, min(first + step, num_pairs)) for first in range(0, num_pairs, step)]
    looks = _joined(in_threads(look, parts, num_threads))
    whole = Whole(subject, looks)
    gathered = Gathered()
    gathered.add(subject.faults)
    gathered.add(looks.faults)
    gathered.add(second_look(subject, np.flatnonzero(looks.rows_N["is_suspect"]).tolist()))
    gathered.add(faults_across(whole))
    return Diagnosis(
        subject=subject.place,
        kind=subject.kind,
        num_pairs=subject.splits,
        class_shares=class_shares(whole),
        findings=gathered.findings(left_out=left_out),
    )


def _joined(parts: list[Looks]) -> Looks:
    """The looks at parts of a subject as one."""
    whole = Looks(np.concatenate([part.rows_N for part in parts]))
    for part in parts:
        whole.faults += part.faults
        whole.palettes |= part.palettes
        for split, found in part.fit_sums.items():
            whole.fit_sum(split).add(found.correlations_MM, found.scale_sum, found.count)
    return whole
