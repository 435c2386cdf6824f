"""Reading a dataset: what is there is checked, what is damaged is named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from roadbed.data.dataset import Dataset
from roadbed.data.manifest import parse_manifest
from roadbed.data.prepare import PrepareOptions, prepare
from roadbed.data.sources.painted import PaintedSource
from roadbed.errors import DamagedError, DataError, NotFoundError, UsageError
from roadbed.storage import json_bytes, open_store

SOURCE = PaintedSource({"train": 5, "val": 2}, size_px=(64, 80))


def shard_path(folder: Path, name: str) -> Path:
    """A shard or index of the dataset, wherever below `folder` it lies."""
    (path,) = folder.glob(f"*/{name}")
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "town"
    prepare(SOURCE, open_store(str(path)), options=PrepareOptions(samples_per_shard=2, image_encoding="png"))
    return path


def test_samples_come_back_as_the_source_gave_them(folder):
    dataset = Dataset.open(str(folder))
    split = dataset.split("train")
    assert split.shard_sizes == [2, 2, 1]
    for sample, ref in enumerate(SOURCE.splits["train"]):
        shard_bytes = split.read_shard(split.index.shard_of(sample))
        first, num_bytes = split.range_of(sample)
        in_shard = shard_bytes[first : first + num_bytes]
        for image_HW3, mask_HW in (split.decode(sample, in_shard), split.read_sample(sample)):
            assert (image_HW3 == SOURCE.read(ref)[0]).all()
            assert (mask_HW == SOURCE.read(ref)[1]).all()
        assert split.key(sample) == ref.key


def test_splits_are_in_the_order_of_their_use(tmp_path):
    source = PaintedSource({"test": 1, "a": 1, "val": 1, "train": 1}, size_px=(64, 80))
    assert list(prepare(source, open_store(str(tmp_path))).splits) == ["train", "val", "test", "a"]


def test_the_digest_is_that_of_dataset_json(folder):
    dataset = Dataset.open(f"file://{folder}")
    assert dataset.digest == hashlib.sha256((folder / "dataset.json").read_bytes()).hexdigest()
    assert dataset.uri == f"file://{folder}"


def test_pixel_counts_are_those_of_the_masks(folder):
    split = Dataset.open(str(folder)).split("train")
    masks = np.stack([SOURCE.read(ref)[1] for ref in SOURCE.splits["train"]])
    assert split.class_pixels.tolist() == [int((masks == index).sum()) for index in range(11)]
    assert split.ignored_pixels == (masks == 255).sum()
    assert split.class_pixels.dtype == np.int64


def test_channel_means_are_those_of_the_training_frames(folder):
    dataset = Dataset.open(str(folder))
    images = np.stack([SOURCE.read(ref)[0] for ref in SOURCE.splits["train"]]) / 255
    assert dataset.channel_mean == pytest.approx(images.mean(axis=(0, 1, 2)), abs=1e-5)
    assert dataset.channel_std == pytest.approx(images.std(axis=(0, 1, 2)), abs=1e-5)


def test_no_dataset_here_says_how_to_make_one(tmp_path):
    with pytest.raises(NotFoundError, match="no dataset here") as caught:
        Dataset.open(str(tmp_path / "nothing"))
    assert f"roadbed data prepare painted file://{tmp_path}/nothing" in str(caught.value)


def test_an_unknown_split_names_those_there_are(folder):
    with pytest.raises(UsageError, match=r"no split 'test'; it has train, val"):
        Dataset.open(str(folder)).split("test")


def test_a_changed_shard_is_named_with_both_sums(folder):
    path = shard_path(folder, "train-000001.tar")
    data = bytearray(path.read_bytes())
    data[3000] ^= 1
    path.write_bytes(data)
    split = Dataset.open(str(folder)).split("train")
    split.read_shard(0)
    expected = (
        rf"train-000001\.tar: sha256 is {hashlib.sha256(data).hexdigest()}, expected {split.shards[1].sha256} as "
        r"dataset\.json says; the shard is damaged, mend it with `roadbed data verify --repair`"
    )
    with pytest.raises(DamagedError, match=expected):
        split.read_shard(1)


def test_a_short_shard_is_named(folder):
    path = shard_path(folder, "val-000000.tar")
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(DamagedError, match=r"val-000000\.tar: sha256 is .*; the shard is damaged"):
        Dataset.open(str(folder)).split("val").read_shard(0)


def test_a_missing_shard_is_named(folder):
    shard_path(folder, "val-000000.tar").unlink()
    with pytest.raises(DamagedError, match=r"dataset.json names this shard, but it is not there; .* --replace"):
        Dataset.open(str(folder)).split("val").read_shard(0)


def test_a_changed_index_is_named(folder):
    path = shard_path(folder, "val.index")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DamagedError, match=r"val\.index: sha256 is .* the index is damaged"):
        Dataset.open(str(folder)).split("val").key(0)


def test_a_sample_of_other_bytes_is_named(folder):
    split = Dataset.open(str(folder)).split("train")
    path = shard_path(folder, "train-000000.tar")
    shard_bytes = bytearray(path.read_bytes())
    shard_bytes[split.index.record(1).mask_offset + 50] ^= 1
    ranges = [slice(first, first + num_bytes) for first, num_bytes in map(split.range_of, range(2))]
    assert [split.is_intact(sample, bytes(shard_bytes[ranges[sample]])) for sample in range(2)] == [True, False]
    path.write_bytes(shard_bytes)
    split.read_sample(0)
    with pytest.raises(DamagedError, match=r"train-000000\.tar: sample train_000001 is not what the index says"):
        split.read_sample(1)


def rewrite(folder: Path, change) -> None:
    """Change dataset.json as another program would that knows how it is written."""
    values = change(json.loads((folder / "dataset.json").read_text()))
    if isinstance(values, dict):
        values.pop("checksum", None)
        values["checksum"] = hashlib.sha256(json_bytes(values)).hexdigest()
    (folder / "dataset.json").write_bytes(json_bytes(values))


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda v: v | {"format": "roadbed-dataset/3"}, DataError, "newer than this roadbed, which reads roadbed-data"),
        (lambda v: v | {"format": "roadbed-dataset/1"}, DataError, "older than this roadbed, which reads roadbed-data"),
        (lambda v: v | {"format": "mosaic/2"}, DataError, "is it another tool's file?"),
        (lambda v: {"shards": []}, DataError, "its format is None"),
        (lambda v: [1], DamagedError, "expected an object, found list"),
        (lambda v: {k: x for k, x in v.items() if k != "splits"}, DamagedError, "splits: Field required"),
        (lambda v: v | {"channel_mean": [1, 2]}, DamagedError, "channel_mean"),
    ],
)
def test_another_dataset_json_is_refused(folder, change, kind, words):
    rewrite(folder, change)
    with pytest.raises(kind, match=r"dataset\.json: ") as caught:
        Dataset.open(str(folder))
    assert words in str(caught.value)


def test_a_dataset_json_of_format_1_which_had_no_checksum_is_told_as_such(folder):
    path = folder / "dataset.json"
    values = json.loads(path.read_text()) | {"format": "roadbed-dataset/1"}
    del values["checksum"]
    path.write_bytes(json_bytes(values))
    with pytest.raises(DataError, match="format roadbed-dataset/1 is older than this roadbed"):
        Dataset.open(str(folder))


def test_what_is_rewritten_by_the_rules_is_read(folder):
    rewrite(folder, lambda values: values | {"channel_mean": [0.5, 0.5, 0.5]})
    assert Dataset.open(str(folder)).channel_mean == (0.5, 0.5, 0.5)


def test_a_flipped_bit_anywhere_in_dataset_json_is_found(folder):
    data = (folder / "dataset.json").read_bytes()
    parse_manifest(data, origin="x")
    for place in range(len(data)):
        for bit in (0, 5, 7):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            with pytest.raises(DamagedError, match="x: "):
                parse_manifest(bytes(flipped), origin="x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.replace(b"town", b"twon").replace(b"painted", b"pained"), r"its checksum is \w{12}\.\.\., "),
        (lambda data: data + b" ", "not JSON as roadbed writes it"),
        (lambda data: data.replace(b'"jpeg_quality": 95', b'"jpeg_quality": NaN'), "not JSON as roadbed writes it"),
        (lambda data: data.replace(b'"checksum"', b'"cheeksum"'), "it names None"),
    ],
)
def test_other_bytes_than_roadbed_writes_are_damage(folder, change, words):
    path = folder / "dataset.json"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DamagedError, match=words):
        Dataset.open(str(folder))


def test_half_a_dataset_json_is_damaged(folder):
    path = folder / "dataset.json"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DamagedError, match=r"not JSON .* prepare the dataset again with --replace"):
        Dataset.open(str(folder))


def test_counts_that_do_not_add_up_are_damage(folder):
    def more_samples(values):
        values["splits"]["train"]["num_samples"] = 6
        return values

    rewrite(folder, more_samples)
    with pytest.raises(DamagedError, match="split train: shards hold 5 samples, num_samples is 6"):
        Dataset.open(str(folder))


def test_counts_of_other_classes_are_damage(folder):
    def fewer_classes(values):
        values["splits"]["val"]["class_pixels"].pop()
        return values

    rewrite(folder, fewer_classes)
    with pytest.raises(DamagedError, match="split val: 10 pixel counts for 11 classes"):
        Dataset.open(str(folder))
