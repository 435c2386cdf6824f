"""Small datasets to be damaged: what the tests of verify and repair share."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from roadbed.data.dataset import Dataset
from roadbed.data.encoding import encode_image, encode_mask
from roadbed.data.manifest import Manifest
from roadbed.data.prepare import PrepareOptions, prepare
from roadbed.data.shards import ShardWriter
from roadbed.data.sources.painted import PaintedSource
from roadbed.data.verify import Report, named_objects, verify
from roadbed.storage import open_store

SHARD = "train-000001.tar"
INDEX = "train.index"


def make(folder: Path, *, train: int = 5) -> Path:
    """A painted dataset of `train` and 2 samples, two to a shard."""
    source = PaintedSource({"train": train, "val": 2}, size_px=(64, 80))
    prepare(source, open_store(str(folder)), options=PrepareOptions(samples_per_shard=2))
    return folder


def open_manifest(folder: Path) -> Manifest:
    return Dataset.open(str(folder)).manifest


def find(folder: Path, name: str) -> Path:
    """The object of a dataset by the last part of its key."""
    if name == "dataset.json":
        return folder / name
    (key,) = (key for key in named_objects(open_manifest(folder)) if key.rpartition("/")[2] == name)
    return folder / key


def flip(path: Path, offset: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def look(folder: Path, **options) -> Report:
    return verify(open_store(str(folder)), **options)


def damages(report: Report, name: str) -> list[str]:
    """What is said of the only object that is damaged, which has that name."""
    assert {damage.key.rpartition("/")[2] for damage in report.damages} == {name}
    return [damage.what for damage in report.damages]


def forge(folder: Path, name: str, data: bytes) -> None:
    """Replace an object and have dataset.json name the new bytes: what a faulty program would have made."""
    key = find(folder, name).relative_to(folder).as_posix()
    manifest = open_manifest(folder)

    def renamed(info):
        return dataclasses.replace(info, num_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    splits = {
        split_name: dataclasses.replace(
            split,
            shards=tuple(renamed(shard) if shard.key == key else shard for shard in split.shards),
            index=renamed(split.index) if split.index.key == key else split.index,
        )
        for split_name, split in manifest.splits.items()
    }
    (folder / key).write_bytes(data)
    (folder / "dataset.json").write_bytes(dataclasses.replace(manifest, splits=splits).to_bytes())


def written(path: Path, members: list[tuple[bytes, bytes]], *, suffix: str = ".jpg") -> bytes:
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for number, (image, mask) in enumerate(members):
            writer.add(f"k{number}", image, mask, image_suffix=suffix, mask_suffix=".mask.png", size_px=(8, 8))
        writer.close()
    return path.read_bytes()


def jpeg(height_px: int = 8) -> bytes:
    return encode_image(np.full((height_px, 8, 3), 90, np.uint8), encoding="jpeg")


def mask(class_id: int = 0) -> bytes:
    return encode_mask(np.full((8, 8), class_id, np.uint8))
