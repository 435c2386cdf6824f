"""A packed shard as it is handed around, and its part: the note that outlives a preparation that was killed.

A part lies beside the shards while a dataset is made, and says all that the rest of the work needs of one shard:

    roadbed-part/1 SHA256\n      of all that follows
    JSON\n                       counts, and the shard as dataset.json will name it
    ...                          the index of this shard alone, see shards.py
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np

from roadbed.data.manifest import ShardInfo

MARK = b"roadbed-part/1 "


@dataclass(frozen=True, slots=True)
class PackedShard:
    """A shard of `split` that lies in the store; small, for there may be tens of thousands.

    `class_pixels_K` and `ignored_pixels` count the pixels of its masks. `channel_sums_33` holds, per channel, the
    number of pixels, the sum of their values and the sum of the squares. Arrays are int64. `index` is of this shard
    alone.
    """

    split: str
    info: ShardInfo
    class_pixels_K: np.ndarray
    ignored_pixels: int
    channel_sums_33: np.ndarray
    index: bytes


def part_key(folder: str, name: str) -> str:
    """Where the part of shard `name` lies while the dataset in `folder` is being made."""
    return f"{parts_prefix(folder)}{name}"


def parts_prefix(folder: str) -> str:
    """What the keys of all parts begin with."""
    return f"{folder}/parts/"


def encode_part(packed: PackedShard) -> bytes:
    """The bytes of a part."""
    values = {
        "split": packed.split,
        "info": asdict(packed.info),
        "class_pixels": packed.class_pixels_K.tolist(),
        "ignored_pixels": packed.ignored_pixels,
        "channel_sums": packed.channel_sums_33.tolist(),
    }
    rest = json.dumps(values, sort_keys=True).encode() + b"\n" + packed.index
    return MARK + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def decode_part(data: bytes) -> PackedShard | None:
    """What `encode_part` was given; None if these are not the whole bytes of a part."""
    head, _, rest = data.partition(b"\n")
    if head != MARK + hashlib.sha256(rest).hexdigest().encode():
        return None
    text, _, index = rest.partition(b"\n")
    values = json.loads(text)
    return PackedShard(
        split=values["split"],
        info=ShardInfo(**values["info"]),
        class_pixels_K=np.array(values["class_pixels"], np.int64),
        ignored_pixels=values["ignored_pixels"],
        channel_sums_33=np.array(values["channel_sums"], np.int64),
        index=index,
    )
