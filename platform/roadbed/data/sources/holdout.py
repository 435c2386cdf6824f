"""A part of the training split that is held out to choose by: the last frames of every sequence.

Neighbouring frames are near-duplicates, so frames that are dealt out one by one would tell nothing; a contiguous part
of every sequence is another piece of road under the same light.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from roadbed.data.sources import SampleRef, natural_order
from roadbed.data.sources.folder_splits import Splitting
from roadbed.errors import UsageError

HOLDOUT = "holdout"

Ref = TypeVar("Ref", bound=SampleRef)


def held_out(splits: Mapping[str, Sequence[Ref]], *, share: float) -> dict[str, Sequence[Ref]]:
    """The splits with the last `share` (0..1) of every sequence of `train` in a split of its own, `holdout`.

    A sequence is what names have in common before their last number. The order within splits stays. Raises UsageError
    for a share that leaves nothing to train on, or takes nothing.
    """
    if share == 0:
        return dict(splits)
    sequences: dict[str, list[str]] = {}
    for ref in splits.get("train", ()):
        sequences.setdefault(Splitting().sequence(ref.key), []).append(ref.key)
    taken: set[str] = set()
    for keys in sequences.values():
        num_taken = round(share * len(keys)) if 0 < share < 1 else 0
        taken |= set(sorted(keys, key=natural_order)[len(keys) - num_taken :])
    kept = [ref for ref in splits.get("train", ()) if ref.key not in taken]
    if not taken or not kept:
        raise UsageError(
            f"--holdout {share:g}: of the {len(kept) + len(taken)} frames of train in {len(sequences)} sequences it "
            f"would hold out {len(taken)} and leave {len(kept)}; give a share between 0 and 1 that leaves frames on "
            "both sides"
        )
    parted = {**splits, "train": kept, HOLDOUT: [ref for ref in splits["train"] if ref.key in taken]}
    return {name: refs for name, refs in parted.items() if refs}
