"""A prepared dataset as its readers see it: splits, shards, samples. Writing one is prepare.py's work.

Reads dataset.json at once, the index of a split when it is first needed, and shards when asked. Whatever is read is
checked against dataset.json, so that a changed byte is an error and never a strange picture.
"""

from __future__ import annotations

import hashlib
import threading

import numpy as np

from roadbed.data.encoding import decode_image, decode_mask
from roadbed.data.labels import LabelSpace
from roadbed.data.manifest import MANIFEST_KEY, IndexInfo, Manifest, ShardInfo, SplitInfo, parse_manifest
from roadbed.data.shards import ShardIndex, decode_index, sample_checksum
from roadbed.errors import DamagedError, NotFoundError, UsageError
from roadbed.storage import Store, open_store

__all__ = ["Dataset", "ShardInfo", "Split"]

SPLITS_FIRST = {"train": 0, "val": 1, "test": 2}
REMEDY = "prepare the dataset again with --replace"


class Split:
    """One split of a dataset. Safe to use from several threads."""

    def __init__(self, name: str, info: SplitInfo, store: Store) -> None:
        self.name = name
        self.num_samples = info.num_samples
        self.shards = info.shards
        self.class_pixels = np.array(info.class_pixels, np.int64)
        self.class_pixels.flags.writeable = False
        self.ignored_pixels = info.ignored_pixels
        self._index_info = info.index
        self._store = store
        self._index: ShardIndex | None = None
        self._lock = threading.Lock()

    @property
    def shard_sizes(self) -> list[int]:
        """Samples per shard, in shard order."""
        return [shard.num_samples for shard in self.shards]

    @property
    def index(self) -> ShardIndex:
        """Where the samples lie; fetched from the store at the first use. Raises DamagedError if it was changed."""
        with self._lock:
            if self._index is None:
                data = _get_checked(self._store, self._index_info, what="index")
                self._index = decode_index(data, self.shard_sizes, origin=f"{self._store.uri}/{self._index_info.key}")
            return self._index

    def key(self, sample: int) -> str:
        """The key of `sample`: the name it had in the source."""
        return self.index.key(sample)

    def read_shard(self, shard: int) -> bytes:
        """All bytes of a shard. Raises DamagedError if it is gone or was changed."""
        return _get_checked(self._store, self.shards[shard], what="shard")

    def decode(self, sample: int, shard_bytes: bytes) -> tuple[np.ndarray, np.ndarray]:
        """`sample` out of the bytes of its shard: image_HW3 (uint8 RGB) and mask_HW (uint8, 0..K-1 or the ignore id).

        Raises DamagedError if the sample's checksum is not the index's.
        """
        record = self.index.record(sample)
        shard = memoryview(shard_bytes)
        image = shard[record.image_offset : record.image_offset + record.image_bytes]
        mask = shard[record.mask_offset : record.mask_offset + record.mask_bytes]
        if sample_checksum(image, mask) != record.checksum:
            uri = f"{self._store.uri}/{self.shards[self.index.shard_of(sample)].key}"
            raise DamagedError(f"{uri}: sample {record.key} is not what the index says; {REMEDY}")
        return decode_image(image), decode_mask(mask)

    def read_sample(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """One sample by a ranged read, for those who want few: as `decode`, without the rest of the shard."""
        record = self.index.record(sample)
        shard = self.shards[self.index.shard_of(sample)]
        num_bytes = record.mask_offset + record.mask_bytes - record.image_offset
        data = memoryview(self._store.get_range(shard.key, record.image_offset, num_bytes))
        image, mask = data[: record.image_bytes], data[record.mask_offset - record.image_offset :]
        if sample_checksum(image, mask) != record.checksum:
            raise DamagedError(
                f"{self._store.uri}/{shard.key}: sample {record.key} is not what the index says; {REMEDY}"
            )
        return decode_image(image), decode_mask(mask)


class Dataset:
    """A prepared dataset: a prefix in a store that holds a whole dataset.json."""

    def __init__(self, store: Store, manifest: Manifest, digest: str) -> None:
        self.uri = store.uri
        self.digest = digest
        self.manifest = manifest
        self.label_space: LabelSpace = manifest.label_space
        self.channel_mean = manifest.channel_mean
        self.channel_std = manifest.channel_std
        names = sorted(manifest.splits, key=lambda name: (SPLITS_FIRST.get(name, len(SPLITS_FIRST)), name))
        self.splits = {name: Split(name, manifest.splits[name], store) for name in names}

    @classmethod
    def open(cls, uri: str) -> Dataset:
        """The dataset at `uri` (s3://BUCKET/PREFIX, file:///FOLDER or a folder).

        Raises NotFoundError if none is there, DataError or DamagedError if it cannot be read.
        """
        return cls.load(open_store(uri))

    @classmethod
    def load(cls, store: Store) -> Dataset:
        """The dataset at the root of `store`; raises as `open` does."""
        origin = f"{store.uri}/{MANIFEST_KEY}"
        try:
            data = store.get(MANIFEST_KEY)
        except NotFoundError:
            # A listing tells a bucket that is not there from a dataset that is not.
            next(iter(store.list(MANIFEST_KEY)), None)
            raise NotFoundError(
                f"{store.uri}: no dataset here, for there is no {MANIFEST_KEY}; make one with `roadbed data prepare "
                f"camvid SRC {store.uri}` or, without any download, `roadbed data prepare painted {store.uri}`"
            ) from None
        return cls(store, parse_manifest(data, origin=origin), hashlib.sha256(data).hexdigest())

    def split(self, name: str) -> Split:
        """The split called `name`. Raises UsageError that names those there are."""
        if name not in self.splits:
            raise UsageError(f"{self.uri}: no split {name!r}; it has {', '.join(self.splits)}")
        return self.splits[name]


def _get_checked(store: Store, info: ShardInfo | IndexInfo, *, what: str) -> bytes:
    uri = f"{store.uri}/{info.key}"
    try:
        data = store.get(info.key)
    except NotFoundError:
        raise DamagedError(f"{uri}: dataset.json names this {what}, but it is not there; {REMEDY}") from None
    if len(data) != info.num_bytes:
        raise DamagedError(
            f"{uri}: {len(data)} bytes, dataset.json says {info.num_bytes}; the {what} is damaged, {REMEDY}"
        )
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != info.sha256:
        found, named = sha256[:12], info.sha256[:12]
        raise DamagedError(
            f"{uri}: sha256 is {found}..., dataset.json says {named}...; the {what} is damaged, {REMEDY}"
        )
    return data
