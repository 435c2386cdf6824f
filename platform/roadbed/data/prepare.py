"""From a source to a dataset in a store: plan, fingerprint, pack, publish.

Shards lie in a folder of the destination that is named by source, options and encoders, so a new dataset is made beside
the one that it replaces, and nothing is written over what a dataset.json names but the very bytes that it names.
dataset.json comes last: killed before it, a preparation leaves shards and their parts, which the next one takes up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import replace as changed
from functools import partial

import cv2
import numpy as np
import zstandard

from roadbed.data.dataset import Dataset
from roadbed.data.manifest import MANIFEST_KEY, IndexInfo, Manifest, PrepareOptions, SourceInfo, SplitInfo
from roadbed.data.packing import Packer, channel_moments, shard_key
from roadbed.data.parallel import Mapper, Progress, ProgressCounter, Threads, in_threads
from roadbed.data.parts import PackedShard, parts_prefix
from roadbed.data.planning import (
    TRAIN_SPLIT,
    ShardPlan,
    arrangement_problems,
    digested,
    fingerprint,
    for_workers,
    plan_shards,
)
from roadbed.data.repair import index_from_shards
from roadbed.data.shards import join_indexes
from roadbed.data.sources import RefT, Source
from roadbed.data.verify import missing_objects, named_objects
from roadbed.errors import ConflictError, DamagedError, DataError, NotFoundError
from roadbed.storage import Store, json_bytes

__all__ = ["PrepareOptions", "prepare"]

MAX_PROBLEMS_SHOWN = 20
FOLDER_DIGITS = 12
DELETING_THREADS = 8
# Another version of what encodes may make other bytes of the same samples.
ENCODERS = f"cv2 {cv2.__version__}, zstandard {zstandard.__version__}"


def prepare(
    source: Source[RefT],
    store: Store,
    *,
    options: PrepareOptions | None = None,
    mapper: Mapper | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Make the dataset of `source` at the root of `store`, or return the one that is there already.

    One of the same source and options whose objects are there in their sizes is used as it is, and nothing more is
    looked at. Of one with missing objects these are made again, with `replace` also those that hold other bytes.
    Another dataset is an error unless `replace`: then it stays whole and readable until the new one takes its place,
    after which its objects are deleted. Shards that an interrupted preparation of the same source and options left are
    used.

    `mapper` says where samples are read and packed, by default in two threads; the bytes do not depend on it.
    `progress(done, total)` counts samples, one call at a time, from any thread: a digested one is half done, a packed
    one wholly. It ends at half of the total if the dataset that is there is used.

    Raises DataError for what is wrong with the source (the first 20 problems, and how many there are) or for another
    dataset in the way; ConflictError if somebody else publishes another one meanwhile; StoreError when the store fails.
    """
    options, mapper = options or PrepareOptions(), mapper or Threads(2)
    old_etag = _manifest_etag(store)
    existing = Dataset.load(store) if old_etag is not None and not replace else None
    if existing is not None:
        _refuse_another(existing, source, options)
    plans = plan_shards(source, options.samples_per_shard)
    counter = ProgressCounter(sum(len(plan.refs) for plan in plans), progress, rounds=2)
    if problems := arrangement_problems(source):
        packer = Packer(for_workers(source), store, "", options, is_check_only=True)
        _, more = _pack(packer, plans, mapper, counter)
        raise _refusal(source.kind, problems + more)
    plans = digested(source, plans, mapper, count=partial(_count, counter))
    source_info = SourceInfo(source.kind, fingerprint(source, plans))
    if existing is not None:
        _refuse_another(existing, source, options, source_info)
        if not missing_objects(existing.manifest, store):
            return existing
    packer = Packer(for_workers(source), store, _folder(source_info, options), options)
    old = existing or _readable(store)
    if old is not None and _folder_of(old.manifest) == packer.folder:
        if _mend(old.manifest, packer, plans, mapper, counter):
            _publish(old.manifest, store, old_etag)
            return Dataset.load(store)
        # Roadbed itself has changed, and makes other samples or bytes now.
        packer = changed(packer, folder=_folder(source_info, options, beside=old.digest))
        counter = ProgressCounter(0, None)
    _publish(_make(packer, source_info, plans, mapper, counter), store, old_etag)
    return Dataset.load(store)


def _make(
    packer: Packer[RefT],
    source_info: SourceInfo,
    plans: Sequence[ShardPlan[RefT]],
    mapper: Mapper,
    counter: ProgressCounter,
) -> Manifest:
    """Make shards and indexes in the packer's folder. Raises DataError for what is wrong with the samples."""
    packer = changed(packer, finished=_finished(packer.store, packer.folder))
    packed, problems = _pack(packer, plans, mapper, counter)
    if problems:
        _take_back(packer.store, packer.folder)
        raise _refusal(source_info.kind, problems)
    return _describe(packer, source_info, packed)


def _mend(
    manifest: Manifest, packer: Packer[RefT], plans: Sequence[ShardPlan[RefT]], mapper: Mapper, counter: ProgressCounter
) -> bool:
    """Make what is missing or damaged of the dataset that is there; whether all has the bytes that it names now.

    Where other bytes come out nothing is written. Raises DataError for what is wrong with the samples.
    """
    wanted = {shard.key: shard for split in manifest.splits.values() for shard in split.shards}
    if wanted.keys() != {shard_key(packer.folder, plan.name) for plan in plans}:
        return False
    results = mapper.map(changed(packer, wanted=wanted).mend, plans, count=partial(_count, counter))
    if problems := [problem for result in results if isinstance(result, list) for problem in result]:
        raise _refusal(packer.source.kind, problems)
    return all(results) and all(_mend_index(split, packer.store) for split in manifest.splits.values())


def _mend_index(split: SplitInfo, store: Store) -> bool:
    try:
        store.get(split.index.key, sha256=split.index.sha256)
    except (DamagedError, NotFoundError):
        try:
            store.put(split.index.key, index_from_shards(store, split))
        except (DamagedError, DataError):
            return False
    return True


def _manifest_etag(store: Store) -> str | None:
    """The etag of dataset.json, None if there is none. The listing tells a bucket that is not there from that."""
    is_there = any(item.key == MANIFEST_KEY for item in store.list(MANIFEST_KEY))
    return store.get_with_etag(MANIFEST_KEY)[1] if is_there else None


def _refuse_another(
    existing: Dataset, source: Source[RefT], options: PrepareOptions, source_info: SourceInfo | None = None
) -> None:
    """Raises DataError that says how the dataset that is there differs; `source_info` None: not known yet."""
    found = existing.manifest
    differences = []
    if found.label_space != source.label_space:
        differences.append(f"classes are {found.label_space.name}, asked for {source.label_space.name}")
    elif source_info is not None and found.source != source_info:
        was, now = (f"{info.kind} {info.fingerprint[:12]}..." for info in (found.source, source_info))
        differences.append(f"it was made from {was}, asked for {now}")
    for name in PrepareOptions.__dataclass_fields__:
        was, now = getattr(found.options, name), getattr(options, name)
        if was != now:
            differences.append(f"{name} is {was}, asked for {now}")
    if differences:
        raise DataError(
            f"{existing.uri}: another dataset is here ({'; '.join(differences)}); "
            "choose another destination, or pass --replace to put the new one in its place"
        )


def _folder(source_info: SourceInfo, options: PrepareOptions, *, beside: str = "") -> str:
    """The folder of a dataset's objects: the same for the same source, options and encoders, another for any other.

    `beside` is the digest of a dataset that has this folder already and cannot be made again.
    """
    named = {"source": asdict(source_info), "options": asdict(options), "encoders": ENCODERS, "beside": beside}
    return hashlib.sha256(json_bytes(named)).hexdigest()[:FOLDER_DIGITS]


def _folder_of(manifest: Manifest) -> str:
    return next(iter(named_objects(manifest))).partition("/")[0]


def _finished(store: Store, folder: str) -> frozenset[str]:
    """The names of the shards that an interrupted preparation left in `folder`."""
    prefix = parts_prefix(folder)
    return frozenset(item.key.removeprefix(prefix) for item in store.list(prefix))


def _pack(
    packer: Packer[RefT], plans: Sequence[ShardPlan[RefT]], mapper: Mapper, counter: ProgressCounter
) -> tuple[list[PackedShard], list[str]]:
    """The shards in order, and the problems of those that could not be made."""
    results = mapper.map(packer, plans, count=partial(_count, counter))
    packed = [result for result in results if isinstance(result, PackedShard)]
    return packed, [problem for result in results if isinstance(result, list) for problem in result]


def _count(counter: ProgressCounter, plan: ShardPlan[RefT]) -> None:
    counter.count(len(plan.refs))


def _refusal(kind: str, all_problems: Sequence[str]) -> DataError:
    problems = list(dict.fromkeys(all_problems))  # Tiles of one bad file all tell of it.
    shown = "\n".join(problems[:MAX_PROBLEMS_SHOWN])
    more = len(problems) - MAX_PROBLEMS_SHOWN
    rest = f"\n... and {more} more" if more > 0 else ""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return DataError(f"{kind}: {count}, nothing was published\n{shown}{rest}")


def _take_back(store: Store, folder: str) -> None:
    """Delete what was packed into `folder`, unless it belongs to a dataset that is there, or may do so."""
    keys = _keys_there(store)
    if keys is not None:
        _delete(store, {item.key for item in store.list(f"{folder}/")} - keys)


def _describe(packer: Packer[RefT], source_info: SourceInfo, packed: Sequence[PackedShard]) -> Manifest:
    """dataset.json of the packed shards; the indexes are put into the store."""
    splits = {
        split: _finish_split(split, [shard for shard in packed if shard.split == split], packer)
        for split in packer.source.splits
    }
    mean, std = channel_moments(np.sum([s.channel_sums_33 for s in packed if s.split == TRAIN_SPLIT], axis=0))
    return Manifest(source_info, packer.options, packer.source.label_space, mean, std, splits)


def _finish_split(split: str, packed: Sequence[PackedShard], packer: Packer[RefT]) -> SplitInfo:
    key, index = f"{packer.folder}/{split}.index", join_indexes([shard.index for shard in packed])
    packer.store.put(key, index)
    none_K = np.zeros(packer.source.label_space.num_classes, np.int64)
    class_pixels_K = sum((shard.class_pixels_K for shard in packed), none_K)
    return SplitInfo(
        num_samples=sum(shard.info.num_samples for shard in packed),
        class_pixels=tuple(class_pixels_K.tolist()),
        ignored_pixels=sum(shard.ignored_pixels for shard in packed),
        shards=tuple(shard.info for shard in packed),
        index=IndexInfo(key, len(index), hashlib.sha256(index).hexdigest()),
    )


def _publish(manifest: Manifest, store: Store, old_etag: str | None) -> None:
    """Put dataset.json in place of what was there at the start, then delete what nobody needs any more."""
    data = manifest.to_bytes()
    _refuse_missing(manifest, store)
    old_keys = _keys_there(store) or set()
    try:
        store.put_if(MANIFEST_KEY, data, etag=old_etag)
    except ConflictError:
        if _manifest_etag(store) is None or store.get(MANIFEST_KEY) != data:
            raise ConflictError(
                f"{store.uri}: somebody else published or deleted a dataset here in the meantime, and that was left as "
                "it is; choose another destination, or run again with --replace, which takes up what is packed already"
            ) from None
    named = named_objects(manifest).keys()
    _delete(store, (old_keys - named) | {item.key for item in store.list(parts_prefix(_folder_of(manifest)))})


def _refuse_missing(manifest: Manifest, store: Store) -> None:
    """Raises ConflictError if somebody deleted what was packed, for no dataset.json may name what is not there."""
    if missing := missing_objects(manifest, store):
        raise ConflictError(
            f"{store.uri}: somebody else deleted {len(missing)} of the packed objects in the meantime, the first is "
            f"{missing[0]}; nothing was published, run it again: it makes what is missing"
        )


def _keys_there(store: Store) -> set[str] | None:
    """What the dataset.json that is there names; nothing if there is none, None if it cannot be read."""
    try:
        return set(named_objects(Dataset.load(store).manifest))
    except NotFoundError:
        return set()
    except (DamagedError, DataError):
        return None


def _readable(store: Store) -> Dataset | None:
    try:
        return Dataset.load(store)
    except (NotFoundError, DamagedError, DataError):
        return None


def _delete(store: Store, keys: set[str]) -> None:
    in_threads(store.delete, sorted(keys), DELETING_THREADS)
