"""Mending a damaged dataset: the very bytes that dataset.json names, from a copy or, for an index, from whole shards.

Nothing is ever replaced by bytes of another sha256 than the one that dataset.json, or the copy's, names.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roadbed.data.dataset import Dataset
from roadbed.data.manifest import MANIFEST_KEY, IndexInfo, ShardInfo, SplitInfo
from roadbed.data.shard_check import bytes_fault, shard_records
from roadbed.data.shards import encode_index, join_indexes
from roadbed.data.verify import Report, named_objects, refuse_replaced
from roadbed.errors import DamagedError, DataError, NotFoundError
from roadbed.storage import ObjectInfo, Store

# What preparations write, into a folder named by 12 hex digits: shards, the parts of shards, indexes.
_OURS = re.compile(r"[0-9a-f]{12}/([^/]+-\d{6,}\.tar|parts/[^/]+-\d{6,}|[^/]+\.index)")
# A preparation or copy that is at work has not yet published what it writes.
STRAY_AGE_S = 3600.0
_NO_COPY = "only a copy has its bytes: name one by --from, or prepare the dataset again with --replace"
_NO_CURE = "its bytes are those that dataset.json names: prepare the dataset again with --replace"


@dataclass(frozen=True)
class Restored:
    """Keys whose bytes are right again, and why others are not, by key."""

    keys: tuple[str, ...]
    failures: Mapping[str, str]


def restore_manifest(store: Store, copy: Store) -> bool:
    """Put the dataset.json of `copy` where there is none, or one that cannot be read; whether that was needed.

    Raises DataError if `copy` holds another dataset than `store` does: of another digest, or, where there is no digest
    to compare, one that no object in `store` belongs to; or if `store` holds another format. Raises what Dataset.load
    does if the copy's cannot be read.
    """
    theirs = Dataset.load(copy)
    try:
        data, etag = store.get_with_etag(MANIFEST_KEY)
    except NotFoundError:
        data, etag = b"", None
    if data:
        try:
            ours = Dataset.load(store)
        except DamagedError:
            pass  # DataError is no damage: a newer roadbed wrote it.
        else:
            _refuse_another(ours, theirs)
            return False
    sizes = {item.key: item.num_bytes for item in store.list()}
    if not any(sizes.get(key) == info.num_bytes for key, info in named_objects(theirs.manifest).items()):
        raise DataError(
            f"{store.uri}: nothing of the dataset at {theirs.uri} lies here, so that is no copy of what was here; "
            f"name another by --from, or copy it whole with `roadbed data copy {theirs.uri} {store.uri}`"
        )
    store.put_if(MANIFEST_KEY, copy.get(MANIFEST_KEY, sha256=theirs.digest), etag=etag)
    return True


def restore(store: Store, report: Report, *, copy: Store | None = None) -> Restored:
    """Mend the objects that `report` (of `verify`) says are gone or hold other bytes, as far as possible.

    Raises DataError if `copy` is a dataset of another digest, ConflictError if the dataset was replaced since it was
    looked at, StoreError when a store fails.
    """
    if not report.digest:
        return Restored((), {MANIFEST_KEY: _NO_COPY})
    refuse_replaced(store, report)
    dataset = Dataset.load(store)
    if copy is not None:
        _refuse_another(dataset, Dataset.load(copy))
    infos = named_objects(dataset.manifest)
    indexes = {split.index.key: split for split in dataset.manifest.splits.values()}
    failures = {damage.key: _NO_CURE for damage in report.damages if not damage.is_of_bytes}
    restored = []
    # Shards first: an index can be made from them.
    for key in sorted({d.key for d in report.damages if d.is_of_bytes}, key=lambda key: (key in indexes, key)):
        try:
            _restore_object(store, infos[key], copy, indexes.get(key))
        except (DamagedError, DataError, NotFoundError) as error:
            failures[key] = str(error)
        else:
            restored.append(key)
    return Restored(tuple(restored), failures)


def strays_kept(store: Store, strays: Sequence[ObjectInfo], *, now: float) -> dict[str, str]:
    """Which of `strays` must be left alone and why, by key; the others may be deleted. `now` in unix seconds.

    The store is listed anew. A folder is in use as a whole while its newest object is young: a preparation or copy that
    goes on after a day takes up the shards that it left there.
    """
    newest: dict[str, float] = {}
    for item in store.list():
        newest[_folder(item.key)] = max(item.modified_at, newest.get(_folder(item.key), 0.0))
    kept = {}
    for stray in strays:
        if not _OURS.fullmatch(stray.key):
            kept[stray.key] = "left alone, for preparations write nothing of that name"
        elif now - newest.get(_folder(stray.key), 0.0) < STRAY_AGE_S:
            kept[stray.key] = (
                "left alone, for something in its folder is younger than an hour: a preparation may be at work"
            )
    return kept


def delete_strays(store: Store, report: Report, *, now: float) -> dict[str, str]:
    """Delete the strays of a whole dataset but those that `strays_kept` names, which it returns.

    Raises ConflictError if the dataset was replaced since it was looked at: then strays may be what it consists of.
    """
    kept = strays_kept(store, report.strays, now=now)
    refuse_replaced(store, report)
    for stray in report.strays:
        if stray.key not in kept:
            store.delete(stray.key)
    return kept


def _folder(key: str) -> str:
    return key.partition("/")[0]


def _refuse_another(ours: Dataset, theirs: Dataset) -> None:
    if ours.digest != theirs.digest:
        raise DataError(
            f"{theirs.uri}: is another dataset (digest {theirs.digest[:12]}..., that of {ours.uri} is "
            f"{ours.digest[:12]}...); name a copy of the same one"
        )


def _restore_object(store: Store, info: ShardInfo | IndexInfo, copy: Store | None, split: SplitInfo | None) -> None:
    """Put the right bytes of an object; `split` is that of an index.

    Raises DamagedError or NotFoundError that says why they cannot be had.
    """
    if copy is not None:
        try:
            _restore_from_copy(store, info, copy)
            return
        except (DamagedError, NotFoundError):
            if split is None:
                raise
    if split is None:
        raise NotFoundError(_NO_COPY)
    store.put(info.key, index_from_shards(store, split))


def _restore_from_copy(store: Store, info: ShardInfo | IndexInfo, copy: Store) -> None:
    with tempfile.TemporaryDirectory(prefix="roadbed-") as folder:
        path = Path(folder) / "object"
        copy.download(info.key, path, sha256=info.sha256)
        store.upload(path, info.key, sha256=info.sha256)


def index_from_shards(store: Store, split: SplitInfo) -> bytes:
    """The index of a split whose shards are whole. Raises DamagedError if they are not, or give another index."""
    parts = [encode_index(shard_records(store.get(shard.key, sha256=shard.sha256))) for shard in split.shards]
    index = join_indexes(parts)
    fault = bytes_fault(index, split.index)
    if fault is not None:
        raise DamagedError(
            f"the index made from the shards differs ({fault}); prepare the dataset again with --replace"
        )
    return index
