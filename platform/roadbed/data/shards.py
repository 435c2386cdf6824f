"""Shards and their index: plain tars in WebDataset naming, and where every sample lies in them.

A shard holds, per sample and side by side, the frame (`KEY.jpg`, `KEY.png` or `KEY.rgb.zst`) and its mask
(`KEY.mask.png` or `KEY.mask.zst`); encoding.py says what is in them. Tars are ustar with mtime, uid and gid 0, so that
the same samples give the same bytes. Characters of a key that tar or WebDataset would take for something else are
percent-escaped, dots included; `unescape_key` gives the key back.

An index is one binary object per split, little endian:

    8 bytes   magic "RBINDEX1"
    8 bytes   number of samples N
    8 bytes   bytes of the key blob
    N x 52    records (RECORD): offsets and sizes of both members within their shard, frame height and width,
              end of the key within the blob, the first 16 bytes of sha256(frame bytes + mask bytes)
    ...       key blob: keys in UTF-8, one after the other

The index of a split is the joined indexes of its shards. This module knows bytes alone: no store, no images.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import urllib.parse
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import IO

import numpy as np

from roadbed.data.encoding import IMAGE_SUFFIXES, MASK_SUFFIXES
from roadbed.errors import DamagedError, DataError

MAGIC = b"RBINDEX1"
HEADER_BYTES = 24
CHECKSUM_BYTES = 16
TAR_BLOCK_BYTES = 512
MAX_MEMBER_NAME = 100
LONGEST_SUFFIX = max(map(len, (*IMAGE_SUFFIXES.values(), *MASK_SUFFIXES.values())))

RECORD = np.dtype(
    [
        ("image_offset", "<u8"),
        ("mask_offset", "<u8"),
        ("key_end", "<u8"),
        ("image_bytes", "<u4"),
        ("mask_bytes", "<u4"),
        ("height_px", "<u2"),
        ("width_px", "<u2"),
        ("checksum", "u1", (CHECKSUM_BYTES,)),
    ]
)


@dataclass(frozen=True)
class SampleRecord:
    """Where one sample lies in its shard. Offsets are those of the encoded bytes themselves, behind the tar headers."""

    key: str
    image_offset: int
    image_bytes: int
    mask_offset: int
    mask_bytes: int
    height_px: int
    width_px: int
    checksum: bytes


def escape_key(key: str) -> str:
    """A key as it stands in a tar: ASCII, no dots; slashes stay, so that folders stay folders.

    Raises DataError for keys that no tar can hold: empty, absolute, with empty folders, or too long.
    """
    if not key or any(not part for part in key.split("/")):
        raise DataError(f"sample key {key!r}: it must be a relative name without empty parts; rename the file")
    escaped = urllib.parse.quote(key, safe="/").replace(".", "%2E")
    if len(escaped) + LONGEST_SUFFIX > MAX_MEMBER_NAME:
        limit = MAX_MEMBER_NAME - LONGEST_SUFFIX
        raise DataError(
            f"sample key {key!r}: {len(escaped)} characters in a tar, at most {limit} fit; shorten the name"
        )
    return escaped


def unescape_key(escaped: str) -> str:
    """The key that `escape_key` was given."""
    return urllib.parse.unquote(escaped)


def sample_checksum(image: bytes | memoryview, mask: bytes | memoryview) -> bytes:
    """16 bytes that change when the encoded frame or mask does."""
    digest = hashlib.sha256(image)
    digest.update(mask)
    return digest.digest()[:CHECKSUM_BYTES]


class ShardWriter:
    """Writes one shard to a binary file, sample by sample, and remembers where each lies."""

    def __init__(self, file: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        self.records: list[SampleRecord] = []

    def add(
        self,
        key: str,
        image: bytes,
        mask: bytes,
        *,
        image_suffix: str,
        mask_suffix: str = MASK_SUFFIXES["png"],
        size_px: tuple[int, int],
    ) -> None:
        """Append a sample: encoded frame and mask with the suffixes of their encodings; `size_px` is height, width."""
        name = escape_key(key)
        image_offset = self._add_member(name + image_suffix, image)
        mask_offset = self._add_member(name + mask_suffix, mask)
        checksum = sample_checksum(image, mask)
        record = SampleRecord(key, image_offset, len(image), mask_offset, len(mask), *size_px, checksum)
        self.records.append(record)

    def close(self) -> None:
        """Write the end of the tar. The file itself stays open."""
        self._tar.close()

    def _add_member(self, name: str, data: bytes) -> int:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        member.mode = 0o644
        offset = self._tar.offset + TAR_BLOCK_BYTES
        self._tar.addfile(member, io.BytesIO(data))
        return offset


class ShardIndex:
    """Where every sample of a split lies. Samples are numbered 0..N-1 in shard order."""

    def __init__(self, records: np.ndarray, keys: memoryview, shard_sizes: Sequence[int]) -> None:
        self._records = records
        self._keys = keys
        self.shard_sizes = tuple(shard_sizes)
        self.first_samples = tuple(accumulate(self.shard_sizes, initial=0))[:-1]

    @property
    def num_samples(self) -> int:
        """How many samples the split has."""
        return len(self._records)

    def shard_of(self, sample: int) -> int:
        """The shard that holds `sample`. Raises IndexError outside 0..N-1."""
        self._check(sample)
        return bisect_right(self.first_samples, sample) - 1

    def first_sample(self, shard: int) -> int:
        """The number of the first sample of `shard`."""
        return self.first_samples[shard]

    def key(self, sample: int) -> str:
        """The key of `sample`, unescaped."""
        self._check(sample)
        start = int(self._records["key_end"][sample - 1]) if sample else 0
        return str(self._keys[start : int(self._records["key_end"][sample])], "utf-8")

    def record(self, sample: int) -> SampleRecord:
        """Everything that the index knows about `sample`."""
        key = self.key(sample)
        image_offset, mask_offset, _, image_bytes, mask_bytes, height_px, width_px, checksum = self._records.item(
            sample
        )
        sizes = image_offset, image_bytes, mask_offset, mask_bytes, height_px, width_px
        return SampleRecord(key, *sizes, checksum.tobytes())

    def _check(self, sample: int) -> None:
        if not 0 <= sample < len(self._records):
            raise IndexError(f"sample {sample} of {len(self._records)}")


def encode_index(records: Sequence[SampleRecord]) -> bytes:
    """The bytes of an index, records in sample order."""
    keys = [record.key.encode() for record in records]
    table = np.zeros(len(records), RECORD)
    for field in RECORD.names or ():
        if field not in ("key_end", "checksum"):
            table[field] = [getattr(record, field) for record in records]
    table["key_end"] = np.cumsum([len(key) for key in keys], dtype=np.uint64)
    if records:
        table["checksum"] = np.frombuffer(b"".join(r.checksum for r in records), np.uint8).reshape(-1, CHECKSUM_BYTES)
    return _index_bytes(table, keys)


def join_indexes(parts: Sequence[bytes]) -> bytes:
    """The index of all samples of whole indexes, one after the other, without an object per sample."""
    table = np.empty(sum(_num_samples(part) for part in parts), RECORD)
    blobs: list[memoryview] = []
    first, blob_end = 0, 0
    for part in parts:
        records = np.frombuffer(part, RECORD, _num_samples(part), HEADER_BYTES)
        rows = table[first : first + len(records)]
        rows[:] = records
        rows["key_end"] += np.uint64(blob_end)
        blobs.append(memoryview(part)[HEADER_BYTES + records.nbytes :])
        first, blob_end = first + len(records), blob_end + len(blobs[-1])
    return _index_bytes(table, blobs)


def _index_bytes(table: np.ndarray, blobs: Sequence[bytes | memoryview]) -> bytes:
    num_blob_bytes = sum(map(len, blobs))
    header = MAGIC + len(table).to_bytes(8, "little") + num_blob_bytes.to_bytes(8, "little")
    return b"".join((header, table.view(np.uint8).data, *blobs))


def _num_samples(index: bytes) -> int:
    return int.from_bytes(index[8:16], "little")


def decode_index(data: bytes, shard_sizes: Sequence[int], *, origin: str) -> ShardIndex:
    """The index that `encode_index` wrote; `shard_sizes` are the samples per shard, `origin` its uri for errors.

    Raises DamagedError if the bytes are not an index of that many samples.
    """
    num_samples = _num_samples(data)
    blob_bytes = int.from_bytes(data[16:24], "little")
    if data[:8] != MAGIC or len(data) != HEADER_BYTES + num_samples * RECORD.itemsize + blob_bytes:
        raise DamagedError(f"{origin}: not a roadbed index of format 1; prepare the dataset again with --replace")
    if num_samples != sum(shard_sizes):
        raise DamagedError(
            f"{origin}: it has {num_samples} samples, dataset.json says {sum(shard_sizes)}; "
            "prepare the dataset again with --replace"
        )
    records = np.frombuffer(data, RECORD, num_samples, HEADER_BYTES)
    # Views, no copies: of a million samples this is 70 MB.
    return ShardIndex(records, memoryview(data)[len(data) - blob_bytes :], shard_sizes)
