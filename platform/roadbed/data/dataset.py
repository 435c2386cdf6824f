"""A prepared dataset as its readers see it: splits, shards, samples. Writing one is prepare.py's work.

Reads dataset.json at once, the index of a split when it is first needed, and shards when asked. Whatever is read is
checked against dataset.json, so that a changed byte is an error and never a strange picture.
"""

from __future__ import annotations

import hashlib
import threading
from functools import partial

import numpy as np

from roadbed.data.encoding import Cut, decode_image, decode_mask
from roadbed.data.labels import LabelSpace
from roadbed.data.manifest import MANIFEST_KEY, IndexInfo, Manifest, ShardInfo, SplitInfo, parse_manifest
from roadbed.data.shards import ShardIndex, decode_index, sample_checksum
from roadbed.errors import DamagedError, NotFoundError, UsageError
from roadbed.storage import Store, open_store

__all__ = ["Dataset", "ShardInfo", "Split"]

SPLITS_FIRST = {"train": 0, "val": 1, "test": 2}
REMEDY = "mend it with `roadbed data verify --repair`, or prepare the dataset again with --replace"
SampleBytes = bytes | memoryview


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
    def is_on_this_machine(self) -> bool:
        """Whether its bytes are files here, which need no cache."""
        return self._store.uri.startswith("file://")

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

    def spread(self, number: int) -> range:
        """At most so many samples, evenly over the split."""
        step = max(1, self.num_samples // number)
        return range(step // 2, self.num_samples, step)[:number]

    def key(self, sample: int) -> str:
        """The key of `sample`: the name it had in the source."""
        return self.index.key(sample)

    def read_shard(self, shard: int) -> bytes:
        """All bytes of a shard. Raises DamagedError if it is gone or was changed."""
        return _get_checked(self._store, self.shards[shard], what="shard")

    def range_of(self, sample: int) -> tuple[int, int]:
        """Where the sample lies in its shard: first byte and number of bytes, from frame to mask."""
        record = self.index.record(sample)
        return record.image_offset, record.mask_offset + record.mask_bytes - record.image_offset

    def is_intact(self, sample: int, data: SampleBytes) -> bool:
        """Whether these bytes of the sample's range are those that the index knows."""
        image, mask, checksum = self._members(sample, data)
        return sample_checksum(image, mask) == checksum

    def read_range(self, sample: int) -> bytes:
        """The bytes of the sample's range, without the rest of its shard. Raises DamagedError if they were changed."""
        shard = self.shards[self.index.shard_of(sample)]
        uri = f"{self._store.uri}/{shard.key}"
        for _ in range(2):  # what was changed on the way comes right the second time
            try:
                data = self._store.get_range(shard.key, *self.range_of(sample))
            except NotFoundError:
                raise _absent(uri, "shard") from None
            if self.is_intact(sample, data):
                return data
            self._store.stats.count(damaged=1)
        raise DamagedError(f"{uri}: sample {self.key(sample)} is not what the index says; {REMEDY}")

    def decode(self, sample: int, data: SampleBytes) -> tuple[np.ndarray, np.ndarray]:
        """The sample's range as image_HW3 (uint8 RGB) and mask_HW (uint8, 0..K-1 or the ignore id). Checks no sums."""
        image, mask, _ = self._members(sample, data)
        return decode_image(image), decode_mask(mask)

    def decode_parts(self, sample: int, data: SampleBytes) -> tuple[Cut, np.ndarray]:
        """As `decode`, but of the frame a function that decodes the part of it in a box."""
        image, mask, _ = self._members(sample, data)
        return partial(decode_image, image), decode_mask(mask)

    def read_sample(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """One sample by a ranged read, for those who want few. Raises DamagedError if its bytes were changed."""
        return self.decode(sample, self.read_range(sample))

    def members(self, sample: int) -> tuple[bytes, bytes]:
        """The encoded frame and mask of a sample, by a ranged read. Raises DamagedError as `read_range` does."""
        image, mask, _ = self._members(sample, self.read_range(sample))
        return bytes(image), bytes(mask)

    def _members(self, sample: int, data: SampleBytes) -> tuple[memoryview, memoryview, bytes]:
        """Encoded frame, encoded mask, and the checksum of both."""
        record, view = self.index.record(sample), memoryview(data)
        return view[: record.image_bytes], view[record.mask_offset - record.image_offset :], record.checksum


class Dataset:
    """A prepared dataset: a prefix in a store that holds a whole dataset.json."""

    def __init__(self, store: Store, manifest: Manifest, digest: str) -> None:
        self.uri = store.uri
        self.digest = digest
        self.stats = store.stats
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
    """The object that dataset.json names. Raises DamagedError that says what differs."""
    try:
        return store.get(info.key, sha256=info.sha256)
    except NotFoundError:
        raise _absent(f"{store.uri}/{info.key}", what) from None
    except DamagedError as error:
        differs = str(error).partition(";")[0]
        raise DamagedError(f"{differs} as dataset.json says; the {what} is damaged, {REMEDY}") from None


def _absent(uri: str, what: str) -> DamagedError:
    return DamagedError(f"{uri}: dataset.json names this {what}, but it is not there; {REMEDY}")
