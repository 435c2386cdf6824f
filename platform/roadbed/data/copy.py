"""A verified copy of a dataset in another store or at another prefix: data first, dataset.json last.

Every object at the new place was hashed: on its way through this computer, or read once after the store copied it by
itself (`Store.copy_from`). So is what was there before: an object of the right size is read, and sent again unless its
sha256 is right. `trusts_stores` spares that reading: equal sizes and etags at both ends, and a store's own copy, count.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roadbed.data.dataset import Dataset
from roadbed.data.manifest import MANIFEST_KEY, IndexInfo, ShardInfo
from roadbed.data.parallel import Progress, ProgressCounter, in_threads
from roadbed.data.verify import missing_objects, named_objects
from roadbed.errors import ConflictError, DamagedError, DataError, NotFoundError, UsageError
from roadbed.storage import ObjectInfo, Store

__all__ = ["Copied", "copy_dataset"]


@dataclass(frozen=True)
class Copied:
    """The dataset at its new place; how many objects and bytes were sent there, and how many it had already."""

    dataset: Dataset
    num_sent: int
    num_there: int
    bytes_sent: int
    is_new: bool


def copy_dataset(
    source: Store,
    target: Store,
    *,
    replace: bool = False,
    trusts_stores: bool = False,
    num_threads: int = 4,
    progress: Progress | None = None,
) -> Copied:
    """Copy the dataset at the root of `source` to the root of `target`. Killed, it goes on where it was when run again.

    Another dataset at `target` is an error unless `replace`: then it is replaced when the new one is there in full, and
    its objects are deleted afterwards. `progress(done, total)` counts objects.

    Raises UsageError if both are one place, DataError for another dataset in the way, DamagedError if `source` is not
    whole, ConflictError if somebody else published at `target` in the meantime, StoreError when a store fails.
    """
    if source.uri == target.uri:
        raise UsageError(f"{source.uri}: is the source as well as the destination; name another destination")
    dataset = Dataset.load(source)
    infos = list(named_objects(dataset.manifest).values())
    listed = _listed_whole(dataset, source, infos)
    old = _what_is_there(target, dataset, replace=replace)
    job = _Job(source, target, listed, {item.key: item for item in target.list()}, trusts_stores)
    counter = ProgressCounter(len(infos), progress)

    def copy_one(info: ShardInfo | IndexInfo) -> bool:
        was_sent = job.copy(info)
        counter.count()
        return was_sent

    was_sent = in_threads(copy_one, infos, num_threads)
    is_new = old.digest != dataset.digest
    _refuse_missing(dataset, target)
    if is_new:
        _publish(dataset, source, target, old)
    return Copied(
        Dataset.load(target),
        num_sent=sum(was_sent),
        num_there=len(infos) - sum(was_sent),
        bytes_sent=sum(info.num_bytes for info, sent in zip(infos, was_sent, strict=True) if sent),
        is_new=is_new,
    )


@dataclass(frozen=True)
class _Old:
    """What dataset.json was at the target before: its etag and digest, and the keys that it names. None, "": none."""

    etag: str | None = None
    digest: str = ""
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Job:
    """From where to where, and what either end held at the beginning."""

    source: Store
    target: Store
    source_listed: Mapping[str, ObjectInfo]
    target_listed: Mapping[str, ObjectInfo]
    trusts_stores: bool

    def copy(self, info: ShardInfo | IndexInfo) -> bool:
        """Have an object at the target; whether it had to be sent. Raises DamagedError if the source's is damaged."""
        if self._is_there(info):
            return False
        if self.target.copy_from(self.source, info.key) and (self.trusts_stores or self._is_right(info)):
            return True
        with tempfile.TemporaryDirectory(prefix="roadbed-") as folder:
            path = Path(folder) / "object"
            try:
                self.source.download(info.key, path, sha256=info.sha256)
            except DamagedError as error:
                raise DamagedError(f"{error} ({_mend(self.source)})") from None
            self.target.upload(path, info.key, sha256=info.sha256)
        return True

    def _is_there(self, info: ShardInfo | IndexInfo) -> bool:
        found = self.target_listed.get(info.key)
        if found is None or found.num_bytes != info.num_bytes:
            return False
        if self.trusts_stores and found.etag and found.etag == self.source_listed[info.key].etag:
            return True
        return self._is_right(info)

    def _is_right(self, info: ShardInfo | IndexInfo) -> bool:
        try:
            self.target.get(info.key, sha256=info.sha256)
        except DamagedError:
            return False
        return True


def _listed_whole(dataset: Dataset, source: Store, infos: Sequence[ShardInfo | IndexInfo]) -> dict[str, ObjectInfo]:
    """The objects at the source by key. Raises DamagedError unless all of `infos` are there in their size."""
    listed = {item.key: item for item in source.list()}
    absent = [info.key for info in infos if info.key not in listed or listed[info.key].num_bytes != info.num_bytes]
    if absent:
        raise DamagedError(
            f"{dataset.uri}: {len(absent)} of {len(infos)} objects are missing or have another size, the first is "
            f"{absent[0]}; nothing was copied ({_mend(source)})"
        )
    return listed


def _mend(source: Store) -> str:
    return f"mend it with `roadbed data verify {source.uri} --repair`, then copy again"


def _what_is_there(target: Store, dataset: Dataset, *, replace: bool) -> _Old:
    try:
        data, etag = target.get_with_etag(MANIFEST_KEY)
    except NotFoundError:
        return _Old()
    digest = hashlib.sha256(data).hexdigest()
    if digest == dataset.digest:
        return _Old(etag, digest)
    if not replace:
        raise DataError(
            f"{target.uri}: another dataset is here (digest {digest[:12]}..., that of {dataset.uri} is "
            f"{dataset.digest[:12]}...); choose another destination, or pass --replace to have this one deleted"
        )
    try:
        keys = frozenset(named_objects(Dataset.load(target).manifest))
    except (DamagedError, DataError):
        keys = frozenset()
    return _Old(etag, digest, keys)


def _refuse_missing(dataset: Dataset, target: Store) -> None:
    """Raises ConflictError if somebody deleted what was copied, for no dataset.json may name what is not there."""
    if missing := missing_objects(dataset.manifest, target):
        raise ConflictError(
            f"{target.uri}: somebody else deleted {len(missing)} of the copied objects in the meantime, the first is "
            f"{missing[0]}; nothing was published, run it again: it sends what is missing"
        )


def _publish(dataset: Dataset, source: Store, target: Store, old: _Old) -> None:
    """Put dataset.json in place of what was there at the start; that somebody else put the very same is no conflict."""
    data = source.get(MANIFEST_KEY, sha256=dataset.digest)
    try:
        target.put_if(MANIFEST_KEY, data, etag=old.etag)
    except ConflictError:
        if not target.exists(MANIFEST_KEY) or target.get(MANIFEST_KEY) != data:
            raise ConflictError(
                f"{target.uri}: somebody else published a dataset here in the meantime; see `roadbed data show "
                f"{target.uri}`, then choose another destination or run it again with --replace"
            ) from None
    for key in sorted(old.keys - named_objects(dataset.manifest).keys()):
        target.delete(key)
