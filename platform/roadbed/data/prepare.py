"""From a source to a dataset in a store: plan, check, pack, publish.

Shards are planned before anything is encoded, so that any number of threads writes the same bytes. Every sample is
checked before anything is written. dataset.json comes last: killed before it, a preparation leaves no dataset, and
simply runs again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from roadbed.data.dataset import Dataset
from roadbed.data.manifest import MANIFEST_KEY, IndexInfo, Manifest, PrepareOptions, SourceInfo, SplitInfo
from roadbed.data.packing import PackedShard, ShardPlan, channel_moments, pack_shard
from roadbed.data.parallel import Progress, ProgressCounter, in_threads
from roadbed.data.shards import encode_index, escape_key
from roadbed.data.sources import RefT, Source, natural_order
from roadbed.errors import ConflictError, DataError, RoadbedError
from roadbed.storage import Store

__all__ = ["PrepareOptions", "prepare"]

TRAIN_SPLIT = "train"
MAX_PROBLEMS_SHOWN = 20


def prepare(
    source: Source[RefT],
    store: Store,
    *,
    options: PrepareOptions | None = None,
    num_threads: int = 2,
    replace: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Make the dataset of `source` at the root of `store`, or return the one that is there already.

    A whole dataset of the same source and options is reused; one with missing objects is made again. Another dataset
    is an error unless `replace`, which deletes its dataset.json before anything is written.

    `progress(done, total)` counts samples; a checked one is half done, a packed one wholly. It is called from any
    thread, one call at a time.

    Raises DataError for what is wrong with the source (the first 20 problems, and how many there are) or for another
    dataset in the way; StoreError when the store fails.
    """
    options = options or PrepareOptions()
    source_info = SourceInfo(source.kind, source.fingerprint())
    is_there = any(item.key == MANIFEST_KEY for item in store.list(MANIFEST_KEY))
    if is_there and not replace:
        existing = Dataset.load(store)
        _refuse_another(existing, source, source_info, options)
        if _is_whole(existing, store):
            return existing

    plans = _plan(source, options.samples_per_shard)
    counter = ProgressCounter(sum(len(plan.refs) for plan in plans), progress, rounds=2)
    _check(source, plans, num_threads, counter)

    old_keys = _retract(store) if is_there else set()
    packed = in_threads(
        lambda plan: pack_shard(plan, source, store, options=options, count=counter.count), plans, num_threads
    )
    manifest = _describe(source, source_info, options, packed, store)
    _publish(manifest, store)
    for key in old_keys - _sizes(manifest).keys():
        store.delete(key)
    return Dataset.load(store)


def _refuse_another(existing: Dataset, source: Source[RefT], source_info: SourceInfo, options: PrepareOptions) -> None:
    found = existing.manifest
    differences = []
    if found.label_space != source.label_space:
        differences.append(f"classes are {found.label_space.name}, asked for {source.label_space.name}")
    elif found.source != source_info:
        was, now = (f"{info.kind} {info.fingerprint[:12]}..." for info in (found.source, source_info))
        differences.append(f"it was made from {was}, asked for {now}")
    for name in PrepareOptions.__dataclass_fields__:
        was, now = getattr(found.options, name), getattr(options, name)
        if was != now:
            differences.append(f"{name} is {was}, asked for {now}")
    if differences:
        raise DataError(
            f"{existing.uri}: another dataset is here ({'; '.join(differences)}); "
            "choose another destination, or pass --replace to delete this one"
        )


def _is_whole(dataset: Dataset, store: Store) -> bool:
    found = {item.key: item.num_bytes for item in store.list()}
    return all(found.get(key) == num_bytes for key, num_bytes in _sizes(dataset.manifest).items())


def _plan(source: Source[RefT], samples_per_shard: int) -> list[ShardPlan[RefT]]:
    plans = []
    for split, refs in source.splits.items():
        ordered = sorted(refs, key=lambda ref: natural_order(ref.key))
        for number, first in enumerate(range(0, len(ordered), samples_per_shard)):
            batch = tuple(ordered[first : first + samples_per_shard])
            plans.append(ShardPlan(split, f"{split}-{number:06d}.tar", batch))
    return plans


def _check(source: Source[RefT], plans: Sequence[ShardPlan[RefT]], num_threads: int, counter: ProgressCounter) -> None:
    def check_plan(plan: ShardPlan[RefT]) -> list[str]:
        problems = []
        for ref in plan.refs:
            problems += _key_problems(ref.key) + source.check(ref)
            counter.count()
        return problems

    problems = [*source.problems, *_split_problems(source)]
    for found in in_threads(check_plan, plans, num_threads):
        problems += found
    if problems:
        shown = "\n".join(problems[:MAX_PROBLEMS_SHOWN])
        more = len(problems) - MAX_PROBLEMS_SHOWN
        rest = f"\n... and {more} more" if more > 0 else ""
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise DataError(f"{source.kind}: {count}, nothing was written\n{shown}{rest}")


def _key_problems(key: str) -> list[str]:
    try:
        escape_key(key)
    except DataError as error:
        return [str(error)]
    return []


def _split_problems(source: Source[RefT]) -> Iterable[str]:
    for split, refs in source.splits.items():
        counts = Counter(ref.key for ref in refs)
        if len(counts) < len(refs):
            doubles = [key for key, count in counts.items() if count > 1]
            yield f"split {split}: keys that occur more than once: {len(doubles)}, the first {doubles[0]}; rename files"
    if not source.splits.get(TRAIN_SPLIT):
        found = ", ".join(f"{split} ({len(refs)})" for split, refs in source.splits.items()) or "none"
        yield f"split {TRAIN_SPLIT} has no samples, but channel means come from it; splits found: {found}"


def _retract(store: Store) -> set[str]:
    """Delete dataset.json, after which there is no dataset; the keys that it named, none if it could not be read."""
    try:
        old_keys = set(_sizes(Dataset.load(store).manifest))
    except RoadbedError:
        old_keys = set()
    store.delete(MANIFEST_KEY)
    return old_keys


def _describe(
    source: Source[RefT],
    source_info: SourceInfo,
    options: PrepareOptions,
    packed: Sequence[PackedShard],
    store: Store,
) -> Manifest:
    splits = {
        split: _finish_split(split, [shard for shard in packed if shard.split == split], source, store)
        for split in source.splits
    }
    train_counts_3x256 = np.sum([s.channel_counts_3x256 for s in packed if s.split == TRAIN_SPLIT], axis=0)
    mean, std = channel_moments(train_counts_3x256)
    return Manifest(source_info, options, source.label_space, mean, std, splits)


def _finish_split(split: str, packed: Sequence[PackedShard], source: Source[RefT], store: Store) -> SplitInfo:
    index = encode_index([record for shard in packed for record in shard.records])
    index_info = IndexInfo(f"{split}.index", len(index), hashlib.sha256(index).hexdigest())
    store.put(index_info.key, index)
    mask_counts_256 = np.sum([shard.mask_counts_256 for shard in packed], axis=0, initial=0) + np.zeros(256, np.int64)
    return SplitInfo(
        num_samples=sum(shard.info.num_samples for shard in packed),
        class_pixels=tuple(mask_counts_256[: source.label_space.num_classes].tolist()),
        ignored_pixels=int(mask_counts_256[source.label_space.ignore_id]),
        shards=tuple(shard.info for shard in packed),
        index=index_info,
    )


def _publish(manifest: Manifest, store: Store) -> None:
    try:
        store.put_if(MANIFEST_KEY, manifest.to_bytes(), etag=None)
    except ConflictError:
        raise ConflictError(
            f"{store.uri}: somebody else published another dataset here in the meantime, and shards of both may be "
            "mixed; choose different destinations, or run one of the two again with --replace"
        ) from None


def _sizes(manifest: Manifest) -> dict[str, int]:
    """Bytes by key of everything that dataset.json names."""
    sizes = {shard.key: shard.num_bytes for split in manifest.splits.values() for shard in split.shards}
    return sizes | {split.index.key: split.index.num_bytes for split in manifest.splits.values()}
