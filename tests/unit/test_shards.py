"""Shards and their index, byte by byte."""

from __future__ import annotations

import io
import tarfile
import tracemalloc
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from roadbed.data.encoding import encode_image, encode_mask
from roadbed.data.prepare import PrepareOptions, prepare
from roadbed.data.shards import (
    SampleRecord,
    ShardWriter,
    decode_index,
    encode_index,
    escape_key,
    join_indexes,
    sample_checksum,
    unescape_key,
)
from roadbed.data.sources.painted import PaintedSource
from roadbed.errors import DamagedError, DataError
from roadbed.storage import open_store

SAMPLES = {"b.2": (b"frame two", b"mask 2"), "city/a_10": (b"another frame", b"m"), "ä %2E": (b"f" * 700, b"k" * 513)}


def written(samples=SAMPLES) -> tuple[bytes, list[SampleRecord]]:
    file = io.BytesIO()
    writer = ShardWriter(file)
    for key, (image, mask) in samples.items():
        writer.add(key, image, mask, image_suffix=".jpg", size_px=(360, 480))
    writer.close()
    return file.getvalue(), writer.records


def test_a_shard_is_a_plain_tar_without_times_or_owners():
    data, _ = written()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
        names = [member.name for member in members]
        assert names[:4] == ["b%2E2.jpg", "b%2E2.mask.png", "city/a_10.jpg", "city/a_10.mask.png"]
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
        assert tar.extractfile(members[1]).read() == b"mask 2"
    assert data == written()[0]


def test_records_point_at_the_encoded_bytes():
    data, records = written()
    for record, (key, (image, mask)) in zip(records, SAMPLES.items(), strict=True):
        assert record.key == key
        assert data[record.image_offset : record.image_offset + record.image_bytes] == image
        assert data[record.mask_offset : record.mask_offset + record.mask_bytes] == mask
        assert record.checksum == sample_checksum(image, mask)
        assert (record.height_px, record.width_px) == (360, 480)


def read_by_webdataset(*paths: Path) -> list[dict[str, Any]]:
    """Samples as the webdataset library reads them; files are opened here, as WebDataset leaves its own open."""
    with ExitStack() as stack:
        files = [{"url": str(path), "stream": stack.enter_context(path.open("rb"))} for path in paths]
        samples = webdataset.tariterators.group_by_keys(webdataset.tariterators.tar_file_expander(files))
        decoder = webdataset.autodecode.Decoder([webdataset.autodecode.imagehandler("rgb8")])
        return [decoder(sample) for sample in samples]


def test_webdataset_reads_keys_with_dots_and_folders(tmp_path):
    picture_HW3 = np.full((6, 8, 3), (10, 200, 90), np.uint8)
    mask_HW = np.arange(48, dtype=np.uint8).reshape(6, 8)
    path = tmp_path / "shard.tar"
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for key in ("v1.5/frame.001", "v1.5/frame.002"):
            image, mask = encode_image(picture_HW3, encoding="png"), encode_mask(mask_HW)
            writer.add(key, image, mask, image_suffix=".png", size_px=(6, 8))
        writer.close()
    samples = read_by_webdataset(path)
    assert [unescape_key(sample["__key__"]) for sample in samples] == ["v1.5/frame.001", "v1.5/frame.002"]
    assert (samples[1]["png"] == picture_HW3).all()
    assert (samples[1]["mask.png"][..., 0] == mask_HW).all()


def test_frames_and_masks_bear_the_suffix_of_their_encoding(tmp_path):
    options = PrepareOptions(image_encoding="zstd", mask_encoding="zstd")
    source = PaintedSource({"train": 2}, size_px=(64, 80))
    split = prepare(source, open_store(str(tmp_path)), options=options).split("train")
    with tarfile.open(tmp_path / split.shards[0].key) as tar:
        assert tar.getnames()[:2] == ["train_000000.rgb.zst", "train_000000.mask.zst"]
    for ref, found in zip(source.splits["train"], map(split.read_sample, range(2)), strict=True):
        assert all((ours == theirs).all() for ours, theirs in zip(found, source.read(ref), strict=True))


def test_webdataset_and_tar_read_a_prepared_dataset(tmp_path):
    source = PaintedSource({"train": 5}, size_px=(64, 80))
    dataset = prepare(source, open_store(str(tmp_path)), options=PrepareOptions(samples_per_shard=2))
    split = dataset.split("train")
    paths = [tmp_path / shard.key for shard in split.shards]
    samples = read_by_webdataset(*paths)
    assert [sample["__key__"] for sample in samples] == [f"train_{number:06d}" for number in range(5)]
    for number, sample in enumerate(samples):
        image_HW3, mask_HW = split.read_sample(number)
        assert np.abs(sample["jpg"].astype(int) - image_HW3).mean() < 1
        assert (sample["mask.png"][..., 0] == mask_HW).all()
    with tarfile.open(paths[2]) as tar:
        assert tar.getnames() == ["train_000004.jpg", "train_000004.mask.png"]


@given(st.text(min_size=1, max_size=7).filter(lambda key: all(key.split("/"))))
def test_escaped_keys_lead_back(key):
    escaped = escape_key(key)
    assert unescape_key(escaped) == key
    assert escaped.isascii()
    assert "." not in escaped


@pytest.mark.parametrize("key", ["", "/absolute", "a//b", "folder/"])
def test_keys_without_a_name_are_refused(key):
    with pytest.raises(DataError, match="relative name without empty parts; rename the file"):
        escape_key(key)


def test_a_key_that_no_tar_can_hold_is_refused():
    escape_key("k" * 91)
    with pytest.raises(DataError, match="92 characters in a tar, at most 91 fit"):
        escape_key("k" * 92)


def test_the_index_gives_back_every_record():
    _, records = written()
    index = decode_index(encode_index(records), [2, 1], origin="s3://b/train.index")
    assert index.num_samples == 3
    assert [index.record(sample) for sample in range(3)] == records
    assert [index.shard_of(sample) for sample in range(3)] == [0, 0, 1]
    assert [index.first_sample(shard) for shard in range(2)] == [0, 2]
    assert index.key(2) == "ä %2E"


@pytest.mark.parametrize("sample", [-1, 3])
def test_samples_outside_are_index_errors(sample):
    index = decode_index(encode_index(written()[1]), [3], origin="x")
    for ask in (index.key, index.shard_of, index.record):
        with pytest.raises(IndexError, match="of 3"):
            ask(sample)


@given(st.lists(st.integers(0, 3), max_size=5))
def test_joined_indexes_are_the_index_of_all(sizes):
    records = written()[1]
    shards = [records[:size] for size in sizes]
    joined = join_indexes([encode_index(shard) for shard in shards])
    assert joined == encode_index([record for shard in shards for record in shard])


def test_an_index_of_many_samples_has_no_objects_of_its_own():
    records = written()[1]
    shards = [encode_index(records * 50)] * 400
    data = join_indexes(shards)
    tracemalloc.start()
    index = decode_index(data, [150] * 400, origin="x")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert index.record(59_999) == records[2]
    assert peak_bytes < index.num_samples


def test_an_empty_index_is_whole():
    assert decode_index(encode_index([]), [], origin="x").num_samples == 0


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", "not a roadbed index"),
        (lambda data: b"RBINDEX9" + data[8:], "not a roadbed index"),
        (lambda data: data[:-1], "not a roadbed index"),
        (lambda data: data + b"x", "not a roadbed index"),
    ],
)
def test_damaged_indexes_are_refused(damage, words):
    data = encode_index(written()[1])
    with pytest.raises(DamagedError, match=words) as caught:
        decode_index(damage(data), [3], origin="s3://b/train.index")
    assert str(caught.value).startswith("s3://b/train.index: ")


def test_an_index_of_other_counts_is_refused():
    with pytest.raises(DamagedError, match=r"it has 3 samples, dataset.json says 5"):
        decode_index(encode_index(written()[1]), [4, 1], origin="x")
