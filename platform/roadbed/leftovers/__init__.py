"""What lies in the store and nobody refers to: what killed writers left, and what policies did not delete.

Whatever a manifest or pointer names stays, as does everything of a run that lives, and everything that came within the
margin (`older_than_s`), for it may be somebody's work under way. S3 refuses requests of a computer whose clock is wrong
by more than a quarter of an hour, so a margin of an hour is safe from clocks. Each leftover is looked at once more in
the moment before it is deleted; a writer that wakes up after the margin finds itself fenced off, or its work gone, and
says so. What cannot be read is left alone, and told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from roadbed.leftovers.datasets import leftovers_of_datasets
from roadbed.leftovers.leftover import Leftover
from roadbed.leftovers.models import leftovers_of_models
from roadbed.leftovers.runs import leftovers_of_runs
from roadbed.leftovers.uploads import leftovers_of_uploads
from roadbed.storage import Store

__all__ = ["Leftover", "find_leftovers"]


def find_leftovers(
    root: Store,
    *,
    older_than_s: float,
    spare: Callable[[str], None],
    clock: Callable[[], float] = time.time,
) -> Iterator[Leftover]:
    """All leftovers under `root`, found while they are asked for: delete each before the next for the best margin.

    `spare` is told what was left alone because it cannot be read. Raises StoreError when the store fails.
    """
    cutoff = clock() - older_than_s
    yield from leftovers_of_runs(root, cutoff, clock=clock, spare=spare)
    yield from leftovers_of_models(root, cutoff, clock=clock, spare=spare)
    yield from leftovers_of_datasets(root, cutoff, spare=spare)
    yield from leftovers_of_uploads(root, cutoff)
