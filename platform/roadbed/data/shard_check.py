"""What is wrong with the bytes of one shard or index, and what they hold; pure functions of bytes, no store.

`bytes_fault` compares with what dataset.json names: any other byte is found. `check_shard` then looks into a shard: tar
against index, every frame and mask decoded.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from roadbed.data.encoding import IMAGE_SUFFIXES, MASK_SUFFIXES, decode_image, decode_mask
from roadbed.data.labels import LabelSpace
from roadbed.data.manifest import IndexInfo, ShardInfo
from roadbed.data.shards import SampleRecord, sample_checksum, unescape_key
from roadbed.errors import DamagedError, DataError

_SAMPLES_NAMED = 3


@dataclass
class ShardFindings:
    """What a shard holds. `faults` are texts; `mask_counts_256` counts the pixels of its masks by id (int64)."""

    faults: list[str] = field(default_factory=list)
    mask_counts_256: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))


@dataclass(frozen=True)
class TarSample:
    """Where a sample lies in its tar, by the tar's own headers."""

    key: str
    image_offset: int
    image_bytes: int
    mask_offset: int
    mask_bytes: int

    def image(self, shard_bytes: bytes) -> memoryview:
        """The encoded frame."""
        return memoryview(shard_bytes)[self.image_offset : self.image_offset + self.image_bytes]

    def mask(self, shard_bytes: bytes) -> memoryview:
        """The encoded mask."""
        return memoryview(shard_bytes)[self.mask_offset : self.mask_offset + self.mask_bytes]

    def record(self, shard_bytes: bytes, mask_HW: np.ndarray) -> SampleRecord:
        """What an index has to say of this sample."""
        height_px, width_px = mask_HW.shape
        checksum = sample_checksum(self.image(shard_bytes), self.mask(shard_bytes))
        where = (self.image_offset, self.image_bytes, self.mask_offset, self.mask_bytes)
        return SampleRecord(self.key, *where, height_px, width_px, checksum)


def bytes_fault(data: bytes, info: ShardInfo | IndexInfo) -> str | None:
    """How `data` differs from what dataset.json says, None if it does not."""
    if len(data) != info.num_bytes:
        return f"{len(data)} bytes, dataset.json says {info.num_bytes}"
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != info.sha256:
        return f"sha256 is {sha256[:12]}..., dataset.json says {info.sha256[:12]}..."
    return None


def locate_damage(data: bytes, records: Sequence[SampleRecord]) -> str:
    """Which samples of a shard whose bytes have changed are no longer what the index says."""
    damaged = [record.key for record in records if _checksum(data, record) != record.checksum]
    if not damaged:
        return "all samples are intact, the damage is in tar headers or padding"
    more = len(damaged) - _SAMPLES_NAMED
    return f"damaged samples: {', '.join(damaged[:_SAMPLES_NAMED])}" + (f" and {more} more" if more > 0 else "")


def check_shard(
    data: bytes, records: Sequence[SampleRecord] | None, label_space: LabelSpace, *, num_samples: int
) -> ShardFindings:
    """What does not fit in a shard whose bytes are those that dataset.json names; `records` None: the index is lost."""
    findings = ShardFindings()
    try:
        samples = tar_samples(data)
    except DamagedError as error:
        findings.faults.append(str(error))
        return findings
    if len(samples) != num_samples:
        findings.faults.append(f"holds {len(samples)} samples, dataset.json says {num_samples}")
        return findings
    for number, sample in enumerate(samples):
        record = None if records is None else records[number]
        try:
            found = _check_sample(data, sample, record, label_space, findings)
        except DataError as error:
            found = [str(error)]
        findings.faults += [f"sample {sample.key}: {fault}" for fault in found]
    return findings


def shard_records(data: bytes) -> list[SampleRecord]:
    """The index's records of a shard, from the shard alone. Raises DamagedError or DataError if they cannot be had."""
    return [sample.record(data, decode_mask(sample.mask(data))) for sample in tar_samples(data)]


def tar_samples(data: bytes) -> list[TarSample]:
    """The samples of a shard in their order. Raises DamagedError if it is no tar of frames and masks side by side."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            members = tar.getmembers()
    except (tarfile.TarError, ValueError) as error:
        raise DamagedError(f"not a whole tar ({error})") from None
    if len(members) % 2:
        raise DamagedError(f"holds {len(members)} files, expected a frame and a mask of each sample")
    return [_pair(image, mask) for image, mask in zip(members[::2], members[1::2], strict=True)]


def _pair(image: tarfile.TarInfo, mask: tarfile.TarInfo) -> TarSample:
    name = _stem(image.name, IMAGE_SUFFIXES.values())
    if name is None or name != _stem(mask.name, MASK_SUFFIXES.values()):
        raise DamagedError(f"{image.name} and {mask.name} are not the frame and mask of one sample")
    return TarSample(unescape_key(name), image.offset_data, image.size, mask.offset_data, mask.size)


def _stem(name: str, suffixes: Iterable[str]) -> str | None:
    return next((name.removesuffix(suffix) for suffix in suffixes if name.endswith(suffix)), None)


def _check_sample(
    data: bytes, sample: TarSample, record: SampleRecord | None, label_space: LabelSpace, findings: ShardFindings
) -> list[str]:
    """What is wrong with a sample; its pixels are added to the findings. Raises DataError if it cannot be decoded."""
    image_HW3, mask_HW = decode_image(sample.image(data)), decode_mask(sample.mask(data))
    counts_256 = np.bincount(mask_HW.ravel(), minlength=256)
    findings.mask_counts_256 += counts_256
    faults = []
    if image_HW3.shape[:2] != mask_HW.shape:
        faults.append(f"the frame is {_size(image_HW3)}, its mask {_size(mask_HW)}")
    counts_256[label_space.ignore_id] = 0
    if counts_256[label_space.num_classes :].any():
        strays = [
            label_space.num_classes + int(beyond) for beyond in np.flatnonzero(counts_256[label_space.num_classes :])
        ]
        faults.append(f"mask ids {strays} are no classes of {label_space.name} (0..{label_space.num_classes - 1})")
    found = sample.record(data, mask_HW)
    if record is not None and record != found:
        faults.append(_differences(record, found))
    return faults


def _differences(record: SampleRecord, found: SampleRecord) -> str:
    said, there = asdict(record), asdict(found)
    names = [name for name in said if said[name] != there[name]]
    return "; ".join(f"{name} is {_text(there[name])}, the index says {_text(said[name])}" for name in names)


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _size(array_HW: np.ndarray) -> str:
    return f"{array_HW.shape[1]}x{array_HW.shape[0]}"


def _checksum(data: bytes, record: SampleRecord) -> bytes:
    view = memoryview(data)
    image = view[record.image_offset : record.image_offset + record.image_bytes]
    return sample_checksum(image, view[record.mask_offset : record.mask_offset + record.mask_bytes])
