"""dataset.json: what a prepared dataset is, written last, so that a prefix without it is no dataset.

    {
     "format": "roadbed-dataset/2",
     "checksum": SHA256,                                         of this document's bytes without this field
     "source": {"kind": "camvid", "fingerprint": SHA256},        what it was made from
     "options": {"image_encoding": "jpeg", "jpeg_quality": 95, "jpeg_restarts": true, "mask_encoding": "png", ...},
     "label_space": {"name", "ignore_id", "classes": [{"name", "color": [r, g, b]}, ...]},
     "channel_mean": [r, g, b], "channel_std": [r, g, b],        over the pixels of train, 0..1
     "splits": {
      "train": {
       "num_samples": 367,
       "class_pixels": [...], "ignored_pixels": 0,               over the masks of the split, in class order
       "shards": [{"key", "num_bytes", "sha256", "num_samples"}, ...],
       "index": {"key", "num_bytes", "sha256"}                   see shards.py
      }, ...
     }
    }

Keys are relative to the dataset's prefix: shards and indexes lie in a folder named by source and options, as in
`0123456789ab/train-000000.tar`, so that a new dataset is made beside the one that it replaces. JSON has sorted keys and
no timestamps: the same source and options give the same bytes, and bytes that are not exactly those of the checksum are
refused. The dataset's digest is the sha256 of these bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from roadbed.data.encoding import ImageEncoding, MaskEncoding
from roadbed.data.labels import LabelSpace
from roadbed.errors import DamagedError, DataError
from roadbed.storage import json_bytes

MANIFEST_KEY = "dataset.json"
FORMAT_NAME = "roadbed-dataset"
FORMAT_NUMBER = 2

Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Channels = tuple[float, float, float]


@dataclass(frozen=True)
class ShardInfo:
    """One shard as dataset.json names it."""

    key: str
    num_bytes: Count
    sha256: Sha256
    num_samples: Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class IndexInfo:
    """The index of a split as dataset.json names it."""

    key: str
    num_bytes: Count
    sha256: Sha256


@dataclass(frozen=True)
class SplitInfo:
    """One split: its shards, its index, and how many pixels each class has in it."""

    num_samples: Count
    class_pixels: tuple[Count, ...]
    ignored_pixels: Count
    shards: tuple[ShardInfo, ...]
    index: IndexInfo


@dataclass(frozen=True)
class SourceInfo:
    """What a dataset was made from."""

    kind: str
    fingerprint: str


@dataclass(frozen=True)
class PrepareOptions:
    """What determines the bytes of a dataset, next to its source.

    `jpeg_quality` and `jpeg_restarts` (markers by which a crop is decoded without the rest of its frame) are for JPEG.
    """

    samples_per_shard: Annotated[int, Field(ge=1)] = 32
    image_encoding: ImageEncoding = "jpeg"
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 95
    jpeg_restarts: bool = True
    mask_encoding: MaskEncoding = "png"


@dataclass(frozen=True)
class Manifest:
    """dataset.json, parsed and validated."""

    source: SourceInfo
    options: PrepareOptions
    label_space: LabelSpace
    channel_mean: Channels
    channel_std: Channels
    splits: dict[str, SplitInfo]

    def to_bytes(self) -> bytes:
        """The bytes of dataset.json."""
        values: dict[str, Any] = {"format": f"{FORMAT_NAME}/{FORMAT_NUMBER}", **dataclasses.asdict(self)}
        return json_bytes({**values, "checksum": _checksum(values)})


def parse_manifest(data: bytes, *, origin: str) -> Manifest:
    """Read dataset.json; `origin` is its uri, for error texts.

    Raises DataError for another format, DamagedError for what is no whole dataset.json, to the last byte.
    """
    try:
        values = json.loads(data)
    except ValueError as error:
        raise _damaged(origin, f"not JSON ({error})") from None
    if not isinstance(values, dict):
        raise _damaged(origin, f"expected an object, found {type(values).__name__}")
    if "checksum" not in values:  # As in format 1.
        _check_format(values.get("format"), origin)
    # Before the format, of which a byte may be changed too.
    _check_bytes(data, values, origin)
    _check_format(values.get("format"), origin)
    del values["format"], values["checksum"]
    try:
        manifest = TypeAdapter(Manifest).validate_python(values)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise _damaged(origin, f"{where}: {fault['msg']}") from None
    _check_sums(manifest, origin)
    return manifest


def _check_format(found: object, origin: str) -> None:
    name, _, number = str(found).partition("/")
    if name != FORMAT_NAME or not number.isdecimal():
        raise DataError(
            f"{origin}: its format is {found!r}, not {FORMAT_NAME}/{FORMAT_NUMBER}; is it another tool's file?"
        )
    if int(number) > FORMAT_NUMBER:
        raise DataError(
            f"{origin}: format {found} is newer than this roadbed, which reads {FORMAT_NAME}/{FORMAT_NUMBER}; "
            "install a newer roadbed, or prepare the dataset again with this one"
        )
    if int(number) < FORMAT_NUMBER:
        raise DataError(
            f"{origin}: format {found} is older than this roadbed, which reads {FORMAT_NAME}/{FORMAT_NUMBER}; "
            "prepare the dataset again with --replace"
        )


def _check_bytes(data: bytes, values: dict[str, Any], origin: str) -> None:
    """Raises DamagedError unless `data` is the canonical JSON of `values`, and these have the checksum they name."""
    named = values.get("checksum")
    try:
        found = _checksum({key: value for key, value in values.items() if key != "checksum"})
        is_canonical = json_bytes(values) == data
    except ValueError as error:
        raise _damaged(origin, f"not JSON as roadbed writes it ({error})") from None
    if found != named:
        raise _damaged(origin, f"its checksum is {found[:12]}..., it names {str(named)[:12]}...")
    if not is_canonical:
        raise _damaged(origin, "not JSON as roadbed writes it")


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json_bytes(values)).hexdigest()


def _check_sums(manifest: Manifest, origin: str) -> None:
    for name, split in manifest.splits.items():
        in_shards = sum(shard.num_samples for shard in split.shards)
        if in_shards != split.num_samples:
            raise _damaged(origin, f"split {name}: shards hold {in_shards} samples, num_samples is {split.num_samples}")
        if len(split.class_pixels) != manifest.label_space.num_classes:
            num_classes = manifest.label_space.num_classes
            raise _damaged(origin, f"split {name}: {len(split.class_pixels)} pixel counts for {num_classes} classes")


def _damaged(origin: str, what: str) -> DamagedError:
    return DamagedError(
        f"{origin}: {what}; dataset.json is damaged, restore it with `roadbed data verify --repair --from COPY`, "
        "or prepare the dataset again with --replace"
    )
