"""Verifying a dataset: a flipped byte anywhere is found and named."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damage import INDEX, SHARD, damages, find, flip, forge, jpeg, look, make, mask, open_manifest, written
from roadbed.data.dataset import Dataset
from roadbed.data.prepare import PrepareOptions, prepare
from roadbed.data.repair import delete_strays
from roadbed.data.shards import HEADER_BYTES, RECORD, SampleRecord, decode_index, encode_index
from roadbed.data.sources.painted import PaintedSource
from roadbed.data.verify import named_objects
from roadbed.errors import ConflictError, NotFoundError
from roadbed.storage import open_store

RANDOM_FLIPS = 150


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("pristine") / "town")


@pytest.fixture
def folder(pristine, tmp_path) -> Path:
    return shutil.copytree(pristine, tmp_path / "town")


def record_of(folder: Path, place: int) -> SampleRecord:
    """The record of the sample at a place of SHARD."""
    split = Dataset.open(str(folder)).split("train")
    return split.index.record(split.index.first_sample(1) + place)


def put_stray(folder: Path, name: str, *, age_s: float) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    modified_at = time.time() - age_s
    os.utime(path, (modified_at, modified_at))


def replace(folder: Path) -> None:
    """Put another dataset there, whose objects lie in a folder of their own."""
    prepare(PaintedSource({"train": 1}, size_px=(64, 80)), open_store(str(folder)), replace=True)


def test_a_whole_dataset_is_told_with_its_figures(folder):
    calls = []
    report = look(folder, progress=lambda done, total: calls.append((done, total)))
    assert report.is_whole
    assert report.digest == Dataset.open(str(folder)).digest
    assert (report.num_samples, report.num_objects, report.strays) == (7, 4 + 2 + 1, ())
    assert report.num_bytes == sum(info.num_bytes for info in named_objects(open_manifest(folder)).values())
    assert calls == [(done, 4) for done in range(1, 5)]


def test_png_and_zstd_are_verified_alike(tmp_path):
    options = PrepareOptions(image_encoding="zstd", mask_encoding="zstd")
    prepare(PaintedSource({"train": 2, "val": 1}, size_px=(64, 80)), open_store(str(tmp_path)), options=options)
    assert look(tmp_path).is_whole
    prepare(
        PaintedSource({"train": 2, "val": 1}, size_px=(64, 80)),
        open_store(str(tmp_path)),
        options=PrepareOptions(image_encoding="png"),
        replace=True,
    )
    assert look(tmp_path).is_whole


PLACES = {
    "name in a tar header": (SHARD, lambda first, second, size: first.image_offset - 512),
    "sum in a tar header": (SHARD, lambda first, second, size: first.mask_offset - 512 + 150),
    "unused bytes of a tar header": (SHARD, lambda first, second, size: second.image_offset - 1),
    "padding behind a frame": (SHARD, lambda first, second, size: first.image_offset + first.image_bytes),
    "padding behind a mask": (SHARD, lambda first, second, size: second.mask_offset + second.mask_bytes),
    "end of a tar": (SHARD, lambda first, second, size: size - 1),
    "first byte of a frame": (SHARD, lambda first, second, size: first.image_offset),
    "body of a frame": (SHARD, lambda first, second, size: second.image_offset + second.image_bytes // 2),
    "last byte of a mask": (SHARD, lambda first, second, size: second.mask_offset + second.mask_bytes - 1),
    "magic of an index": (INDEX, lambda first, second, size: 0),
    "sample count of an index": (INDEX, lambda first, second, size: 8),
    "record of an index": (INDEX, lambda first, second, size: HEADER_BYTES + RECORD.itemsize + 3),
    "checksum in an index": (INDEX, lambda first, second, size: HEADER_BYTES + RECORD.itemsize - 1),
    "key in an index": (INDEX, lambda first, second, size: size - 1),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_flipped_byte_of_every_kind_is_found(folder, place):
    name, offset_of = PLACES[place]
    path = find(folder, name)
    flip(path, offset_of(record_of(folder, 0), record_of(folder, 1), path.stat().st_size))
    (what,) = damages(look(folder), name)
    assert what.startswith(f"sha256 is {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}..., dataset.json says ")


def test_every_byte_of_dataset_json_counts(folder):
    path = folder / "dataset.json"
    whole = path.read_bytes()
    for offset in range(len(whole)):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ (1 << offset % 8)]) + whole[offset + 1 :])
        assert damages(look(folder), "dataset.json"), offset
    for changed in (whole[:-1], whole + b"\n", b"", whole.replace(b"\n ", b"\n  ", 1)):
        path.write_bytes(changed)
        assert damages(look(folder), "dataset.json")


@settings(max_examples=RANDOM_FLIPS, deadline=None, database=None)
@given(data=st.data())
def test_a_flipped_byte_anywhere_is_found(pristine, data):
    keys = sorted(named_objects(open_manifest(pristine)))
    path = pristine / data.draw(st.sampled_from([*keys, "dataset.json"]), label="object")
    whole = path.read_bytes()
    try:
        flip(path, data.draw(st.integers(0, len(whole) - 1), label="offset"), data.draw(st.integers(0, 7), label="bit"))
        assert damages(look(pristine), path.name)
    finally:
        path.write_bytes(whole)


def test_the_damaged_samples_are_named(folder):
    first = record_of(folder, 0)
    flip(find(folder, SHARD), first.image_offset + 99)
    assert damages(look(folder), SHARD)[0].endswith(f"; damaged samples: {first.key}")
    flip(find(folder, SHARD), first.image_offset + 99)
    flip(find(folder, SHARD), first.image_offset - 1)
    assert damages(look(folder), SHARD)[0].endswith("; all samples are intact, the damage is in tar headers or padding")


def test_what_is_gone_or_cut_short_is_found_at_once_also_quickly(folder):
    find(folder, SHARD).unlink()
    short = find(folder, "val-000000.tar")
    short.write_bytes(short.read_bytes()[:-512])
    for is_quick in (True, False):
        found = {damage.key.rpartition("/")[2]: damage.what for damage in look(folder, is_quick=is_quick).damages}
        assert found.keys() == {SHARD, "val-000000.tar"}
        assert found[SHARD] == "is not there"
        size = short.stat().st_size
        assert found["val-000000.tar"].startswith(f"{size} bytes, dataset.json says {size + 512}")


def test_quick_reads_indexes_and_no_shard(folder):
    flip(find(folder, SHARD), 700)
    assert look(folder, is_quick=True).is_whole
    flip(find(folder, INDEX), 30)
    assert damages(look(folder, is_quick=True), INDEX)


def test_all_that_is_damaged_is_named(folder):
    flip(find(folder, SHARD), 700)
    flip(find(folder, "val-000000.tar"), 700)
    find(folder, "val.index").unlink()
    names = [damage.key.rpartition("/")[2] for damage in look(folder).damages]
    assert names == [SHARD, "val.index", "val-000000.tar"]


def test_no_dataset_is_an_error(tmp_path):
    with pytest.raises(NotFoundError, match="no dataset here"):
        look(tmp_path)


WRONG_SAMPLES = {
    "sample k1: mask ids [77] are no classes of camvid-11 (0..10)": (jpeg(), mask(77)),
    "sample k1: the frame is 8x16, its mask 8x8": (jpeg(16), mask()),
    "sample k1: 4 bytes that are not a PNG or JPEG image": (b"road", mask()),
    "sample k1: 8 bytes that are not a PNG or JPEG image": (jpeg(), b"pavement"),
}


@pytest.mark.parametrize("words", WRONG_SAMPLES)
def test_samples_that_were_made_wrongly_are_named(folder, tmp_path, words):
    forge(folder, SHARD, written(tmp_path / "shard", [(jpeg(), mask()), WRONG_SAMPLES[words]]))
    assert words in damages(look(folder), SHARD)


def test_tars_of_something_else_are_named(folder, tmp_path):
    good = (jpeg(), mask())
    whole = written(tmp_path / "shard", [good, good])
    for data, words in (
        (b"road" * 512, "not a whole tar"),
        (written(tmp_path / "shard", [good]), "holds 1 samples, dataset.json says 2"),
        (written(tmp_path / "shard", [good, good], suffix=".txt"), "k0.txt and k0.mask.png are not the frame and mask"),
        (whole[: 3 * 1024] + bytes(1024), "holds 3 files, expected a frame and a mask of each sample"),
    ):
        forge(folder, SHARD, data)
        assert any(words in what for what in damages(look(folder), SHARD)), words


def test_an_index_that_does_not_fit_its_tars_is_found(folder):
    path = find(folder, INDEX)
    index = decode_index(path.read_bytes(), [5], origin="")
    records = [index.record(sample) for sample in range(5)]
    records[2] = dataclasses.replace(records[2], mask_offset=7, height_px=65)
    forge(folder, INDEX, encode_index(records))
    (what,) = damages(look(folder), SHARD)
    right = record_of(make(folder.parent / "again"), 0)
    assert what == (
        f"sample {right.key}: mask_offset is {right.mask_offset}, the index says 7; height_px is 64, the index says 65"
    )
    forge(folder, INDEX, encode_index(records[:4]))
    assert "it has 4 samples, dataset.json says 5" in damages(look(folder), INDEX)[0]


def test_pixel_counts_that_are_not_those_of_the_masks_are_found(folder):
    manifest = open_manifest(folder)
    val = manifest.splits["val"]
    wrong = dataclasses.replace(val, ignored_pixels=val.ignored_pixels + 3)
    splits = {**manifest.splits, "val": wrong}
    (folder / "dataset.json").write_bytes(dataclasses.replace(manifest, splits=splits).to_bytes())
    said = f"says {val.ignored_pixels + 3} pixels of ignored pixels, the masks hold {val.ignored_pixels}"
    assert damages(look(folder), "dataset.json") == [f"split val: {said}"]


def test_each_damaged_object_has_its_line(folder, roadbed):
    flip(find(folder, SHARD), 700)
    find(folder, "val.index").unlink()
    status, out, err = roadbed("data", "verify", folder)
    assert status == 1
    assert [line.partition(": ")[0] for line in out.splitlines()] == [
        f"file://{find(folder, SHARD)}",
        f"file://{find(folder, 'val.index')}",
    ]
    assert f"file://{folder}: 2 objects are damaged; try `roadbed data verify file://{folder} --repair`" in err


def test_quick_says_what_it_looked_at(folder, roadbed):
    status, out, _ = roadbed("data", "verify", folder, "--quick")
    assert status == 0
    assert out.startswith(f"file://{folder}: sizes and indexes are right, 7 samples in 7 objects")


def test_strays_are_named_and_only_our_own_old_ones_deleted(folder, roadbed):
    ours = ["0123456789ab/train.index", "0123456789ab/train-000000.tar", "0123456789ab/parts/train-000000"]
    others = ["notes.txt", "train-000099.tar", "train.index", "other/0123456789ab/train.index"]
    others += ["0123456789ab/notes.txt", "0123456789ab/0123456789ab/train-000000.tar", "0123456789ab/dataset.json"]
    young = "ab0123456789/val.index"
    beside_young = "ab0123456789/train-000000.tar"
    for name in [*ours, *others, young, beside_young]:
        age_s = 0 if name == young else 7200
        put_stray(folder, name, age_s=age_s)
    _, out, _ = roadbed("data", "verify", folder)
    assert "objects that dataset.json does not name: 12" in out
    assert out.count("--delete-strays removes it") == 3
    flip(find(folder, SHARD), 700)
    assert roadbed("data", "verify", folder, "--delete-strays")[0] == 1
    assert all((folder / name).exists() for name in ours)
    flip(find(folder, SHARD), 700)
    status, out, _ = roadbed("data", "verify", folder, "--delete-strays")
    assert status == 0
    assert [name for name in ours if (folder / name).exists()] == []
    assert all((folder / name).exists() for name in [*others, young, beside_young])
    assert out.count(": deleted") == 3
    assert f"{beside_young} (1 bytes): left alone, for something in its folder is younger than an hour" in out
    assert "0123456789ab/notes.txt (1 bytes): left alone, for preparations write nothing of that name" in out
    assert look(folder).is_whole


def test_strays_of_a_dataset_that_was_replaced_meanwhile_stay(folder):
    put_stray(folder, "0123456789ab/train-000000.tar", age_s=7200)
    report = look(folder)
    replace(folder)
    with pytest.raises(ConflictError, match="was replaced while being checked; run verify again"):
        delete_strays(open_store(str(folder)), report, now=time.time())
    assert (folder / "0123456789ab/train-000000.tar").exists()


def test_a_dataset_that_is_replaced_while_it_is_checked_is_not_called_damaged(folder):
    with pytest.raises(ConflictError, match="was replaced while being checked; run verify again"):
        look(folder, num_threads=1, progress=lambda done, _total: replace(folder) if done == 1 else None)
    assert look(folder).is_whole


def test_of_many_strays_the_first_are_shown(folder, roadbed):
    for number in range(12):
        (folder / f"stray-{number:02d}").write_bytes(b"")
    _, out, _ = roadbed("data", "verify", folder)
    assert "stray-09" in out
    assert "stray-10" not in out
    assert "  ... and 2 more" in out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--from", "elsewhere"), "--from elsewhere: names a copy to repair from; add --repair"),
        (("--quick", "--delete-strays"), "--delete-strays: needs to know that the dataset is whole"),
    ],
)
def test_words_that_do_not_go_together_are_refused(folder, roadbed, words, text):
    status, _, err = roadbed("data", "verify", folder, *words)
    assert status == 2
    assert text in err
