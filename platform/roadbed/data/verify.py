"""Whether a dataset is whole: every object that dataset.json names, byte by byte and sample by sample. Changes nothing.

dataset.json carries its own checksum and names the sha256 of every index and shard, so a flipped byte anywhere is
found by sums alone. What follows finds a dataset that was made wrongly: tars against index, frames and masks decoded,
ids against the label space, pixels against the counts of dataset.json.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from roadbed.data.dataset import Dataset
from roadbed.data.labels import LabelSpace
from roadbed.data.manifest import MANIFEST_KEY, IndexInfo, Manifest, ShardInfo, SplitInfo
from roadbed.data.parallel import Progress, ProgressCounter, in_threads
from roadbed.data.shard_check import ShardFindings, bytes_fault, check_shard, locate_damage
from roadbed.data.shards import SampleRecord, ShardIndex, decode_index
from roadbed.errors import ConflictError, DamagedError, DataError, NotFoundError
from roadbed.storage import ObjectInfo, Store

__all__ = ["ABSENT", "Damage", "Report", "missing_objects", "named_objects", "refuse_replaced", "verify"]

ABSENT = "is not there"


@dataclass(frozen=True)
class Damage:
    """What is wrong with one object.

    `is_of_bytes`: it is gone or holds other bytes than dataset.json names, so those bytes from elsewhere would mend it.
    """

    key: str
    what: str
    is_of_bytes: bool


@dataclass(frozen=True)
class Report:
    """What `verify` found. Nothing but `damages` is known if dataset.json itself is damaged: `digest` is "" then.

    `strays` are the objects below the prefix that dataset.json does not name; `manifest_etag` says which dataset.json.
    """

    uri: str
    damages: tuple[Damage, ...]
    digest: str = ""
    manifest_etag: str | None = None
    strays: tuple[ObjectInfo, ...] = ()
    num_objects: int = 0
    num_samples: int = 0
    num_bytes: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damages


def verify(store: Store, *, is_quick: bool = False, num_threads: int = 2, progress: Progress | None = None) -> Report:
    """Check the dataset at the root of `store`.

    `is_quick` looks at presence and sizes of shards by one listing, and reads the indexes alone. `progress(done,
    total)` counts shards. At most `num_threads` shards are in memory at a time.

    Raises NotFoundError if there is no dataset.json, StoreError when the store fails; damage is reported, not raised.
    But what looks like damage while somebody replaces the dataset is a ConflictError.
    """
    report = _look(store, _manifest_etag(store), is_quick, num_threads, progress)
    if not report.is_whole:
        refuse_replaced(store, report)
    return report


def refuse_replaced(store: Store, report: Report) -> None:
    """Raises ConflictError if dataset.json is not the one any more that `report` is about."""
    if _manifest_etag(store) != report.manifest_etag:
        raise ConflictError(
            f"{store.uri}: was replaced while being checked; run verify again, `roadbed data verify {store.uri}`"
        )


def _manifest_etag(store: Store) -> str | None:
    try:
        return store.get_with_etag(MANIFEST_KEY)[1]
    except NotFoundError:
        return None


def _look(store: Store, etag: str | None, is_quick: bool, num_threads: int, progress: Progress | None) -> Report:
    try:
        dataset = Dataset.load(store)
    except (DamagedError, DataError) as error:
        what = str(error).removeprefix(f"{store.uri}/{MANIFEST_KEY}: ")
        return Report(store.uri, (Damage(MANIFEST_KEY, what, is_of_bytes=True),), manifest_etag=etag)
    listed = {item.key: item for item in store.list()}
    num_shards = sum(len(split.shards) for split in dataset.splits.values())
    check = _Check(store, dataset.label_space, listed, is_quick, ProgressCounter(num_shards, progress).count)
    damages: list[Damage] = []
    for name, split in dataset.manifest.splits.items():
        damages += check.split(name, split, num_threads)
    named = named_objects(dataset.manifest)
    return Report(
        store.uri,
        tuple(damages),
        digest=dataset.digest,
        manifest_etag=etag,
        strays=tuple(item for key, item in listed.items() if key not in named and key != MANIFEST_KEY),
        num_objects=len(named) + 1,
        num_samples=sum(split.num_samples for split in dataset.splits.values()),
        num_bytes=sum(info.num_bytes for info in named.values()),
    )


def named_objects(manifest: Manifest) -> dict[str, ShardInfo | IndexInfo]:
    """Everything that dataset.json names, by key."""
    infos: dict[str, ShardInfo | IndexInfo] = {}
    for split in manifest.splits.values():
        infos |= {shard.key: shard for shard in split.shards}
        infos[split.index.key] = split.index
    return infos


def missing_objects(manifest: Manifest, store: Store) -> list[str]:
    """Keys that dataset.json names and that one listing does not show, or shows in another size."""
    sizes = {item.key: item.num_bytes for item in store.list()}
    return [key for key, info in named_objects(manifest).items() if sizes.get(key) != info.num_bytes]


@dataclass(frozen=True)
class _Check:
    """One verification: where, against which classes, and how thorough. `count` is called after each shard."""

    store: Store
    label_space: LabelSpace
    listed: Mapping[str, ObjectInfo]
    is_quick: bool
    count: Callable[[], None]

    def split(self, name: str, split: SplitInfo, num_threads: int) -> list[Damage]:
        """What is wrong with a split: its index, its shards, and then the counts of its pixels."""
        index, damages = self._index(split)
        checked = in_threads(lambda shard: self._shard(split, shard, index), range(len(split.shards)), num_threads)
        damages += [damage for found, _ in checked for damage in found]
        if not damages and not self.is_quick:
            mask_counts_256 = np.zeros(256, np.int64) + sum(counts_256 for _, counts_256 in checked)
            damages += self._pixel_counts(name, split, mask_counts_256)
        return damages

    def _index(self, split: SplitInfo) -> tuple[ShardIndex | None, list[Damage]]:
        info = split.index
        data, fault = self._read(info)
        if data is None or fault is not None:
            return None, [Damage(info.key, fault or ABSENT, is_of_bytes=True)]
        try:
            sizes = [shard.num_samples for shard in split.shards]
            return decode_index(data, sizes, origin=f"{self.store.uri}/{info.key}"), []
        except DamagedError as error:
            what = str(error).removeprefix(f"{self.store.uri}/{info.key}: ")
            return None, [Damage(info.key, what, is_of_bytes=False)]

    def _shard(self, split: SplitInfo, shard: int, index: ShardIndex | None) -> tuple[list[Damage], np.ndarray]:
        """What is wrong with a shard, and the pixels of its masks by id."""
        info = split.shards[shard]
        records = None if index is None else _records(index, shard)
        data, fault = self._read(info, only_size=self.is_quick)
        findings = ShardFindings()
        if fault is None and data is not None:
            findings = check_shard(data, records, self.label_space, num_samples=info.num_samples)
        elif data is not None and records is not None:
            fault = f"{fault}; {locate_damage(data, records)}"
        self.count()
        damages = [Damage(info.key, fault, is_of_bytes=True)] if fault else []
        damages += [Damage(info.key, what, is_of_bytes=False) for what in findings.faults]
        return damages, findings.mask_counts_256

    def _read(self, info: ShardInfo | IndexInfo, *, only_size: bool = False) -> tuple[bytes | None, str | None]:
        """The bytes of an object, if it is there and they were asked for, and what is wrong with them."""
        listed = self.listed.get(info.key)
        if listed is None:
            return None, ABSENT
        if only_size:
            is_right = listed.num_bytes == info.num_bytes
            return None, None if is_right else f"{listed.num_bytes} bytes, dataset.json says {info.num_bytes}"
        try:
            return self.store.get(info.key, sha256=info.sha256), None
        except NotFoundError:
            return None, ABSENT
        except DamagedError:
            return self._read_again(info)

    def _read_again(self, info: ShardInfo | IndexInfo) -> tuple[bytes | None, str | None]:
        """Without the sum, to say what is wrong; or bytes were flipped on their way and now are right."""
        try:
            data = self.store.get(info.key)
        except NotFoundError:
            return None, ABSENT
        return data, bytes_fault(data, info)

    def _pixel_counts(self, name: str, split: SplitInfo, mask_counts_256: np.ndarray) -> list[Damage]:
        names = [*self.label_space.class_names, "ignored pixels"]
        said = [*split.class_pixels, split.ignored_pixels]
        ids = [*range(self.label_space.num_classes), self.label_space.ignore_id]
        return [
            Damage(
                MANIFEST_KEY,
                f"split {name}: says {count} pixels of {label}, the masks hold {mask_counts_256[number]}",
                is_of_bytes=False,
            )
            for label, number, count in zip(names, ids, said, strict=True)
            if mask_counts_256[number] != count
        ]


def _records(index: ShardIndex, shard: int) -> list[SampleRecord]:
    first = index.first_sample(shard)
    return [index.record(sample) for sample in range(first, first + index.shard_sizes[shard])]
