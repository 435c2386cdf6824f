"""What a preparation knows before anything is encoded: which sample goes in which shard, and the source's fingerprint.

The plan does not depend on who works on it, so any number of workers writes the same bytes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Generic

from roadbed.data.parallel import Mapper
from roadbed.data.sources import RefT, Source, natural_order
from roadbed.storage import json_bytes

TRAIN_SPLIT = "train"
DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class ShardPlan(Generic[RefT]):
    """Which samples a shard will hold; `name` is its key without folder and suffix.

    `digests` are those of its samples, `DIGEST_BYTES` each, one after the other; "" until `digested` found them.
    """

    split: str
    name: str
    refs: tuple[RefT, ...]
    digests: bytes = b""

    def digest(self, place: int) -> bytes:
        """That of the sample at a place, b"" if it is not known."""
        return self.digests[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES]


def plan_shards(source: Source[RefT], samples_per_shard: int) -> list[ShardPlan[RefT]]:
    """All shards of all splits: samples in natural order of their keys, `samples_per_shard` to a shard."""
    return [
        ShardPlan(split, f"{split}-{number:06d}", tuple(ordered[first : first + samples_per_shard]))
        for split in sorted(source.splits)
        for ordered in (_in_order(source.splits[split]),)
        for number, first in enumerate(range(0, len(ordered), samples_per_shard))
    ]


def for_workers(source: Source[RefT]) -> Source[RefT]:
    """A copy whose splits are empty, for the way to workers: they get the refs of their shard with its plan.

    The refs of a million samples are 100 MB, which every worker would unpack.
    """
    light = copy(source)
    vars(light)["splits"] = dict.fromkeys(source.splits, ())
    return light


def arrangement_problems(source: Source[RefT]) -> list[str]:
    """What is wrong with the source before any sample is looked at, a line each."""
    return [*source.problems, *_split_problems(source)]


def digested(
    source: Source[RefT], plans: Sequence[ShardPlan[RefT]], mapper: Mapper, *, count: Callable[[ShardPlan[RefT]], Any]
) -> list[ShardPlan[RefT]]:
    """The plans with the digests of their samples, found by `mapper`, a shard's at a time.

    Raises DataError for a sample that cannot be read.
    """
    found = mapper.map(_Digests(for_workers(source)), plans, count=count)
    return [replace(plan, digests=digests) for plan, digests in zip(plans, found, strict=True)]


def fingerprint(source: Source[RefT], plans: Sequence[ShardPlan[RefT]]) -> str:
    """sha256 (hex) over kind, settings, classes and (split, key, digest) of all samples of digested plans, in order."""
    settings = {"kind": source.kind, "settings": source.settings, "label_space": source.label_space.to_json()}
    found = hashlib.sha256(json_bytes({**settings, "splits": sorted(source.splits)}))
    for plan in plans:
        for place, ref in enumerate(plan.refs):
            key = ref.key.encode()
            found.update(f"{plan.split} {len(key)} ".encode() + key + plan.digest(place))
    return found.hexdigest()


@dataclass(frozen=True)
class _Digests(Generic[RefT]):
    """The digests of a shard's samples, 32 bytes each, one after the other."""

    source: Source[RefT]

    def __call__(self, plan: ShardPlan[RefT]) -> bytes:
        return b"".join(bytes.fromhex(self.source.digest(ref)) for ref in plan.refs)


def _in_order(refs: Sequence[RefT]) -> Sequence[RefT]:
    """Naturally sorted. Most sources give that order already: then the sorting keys need not all be in memory."""
    if all(first <= second for first, second in pairwise(natural_order(ref.key) for ref in refs)):
        return refs
    return sorted(refs, key=lambda ref: natural_order(ref.key))


def _split_problems(source: Source[RefT]) -> Iterator[str]:
    for split, refs in source.splits.items():
        if len({ref.key for ref in refs}) < len(refs):
            doubles = [key for key, count in Counter(ref.key for ref in refs).items() if count > 1]
            yield f"split {split}: keys that occur more than once: {len(doubles)}, the first {doubles[0]}; rename files"
    if not source.splits.get(TRAIN_SPLIT):
        found = ", ".join(f"{split} ({len(refs)})" for split, refs in source.splits.items()) or "none"
        yield f"split {TRAIN_SPLIT} has no samples, but channel means come from it; splits found: {found}"
