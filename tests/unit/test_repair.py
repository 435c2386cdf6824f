"""Repairing a dataset: the very bytes that dataset.json names are put, or none."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from damage import INDEX, SHARD, files, find, flip, forge, jpeg, look, make, mask, written
from roadbed.data.repair import restore, restore_manifest
from roadbed.data.shards import decode_index, encode_index
from roadbed.errors import ConflictError, DataError
from roadbed.storage import json_bytes, open_store


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("pristine") / "town")


@pytest.fixture
def folder(pristine, tmp_path) -> Path:
    return shutil.copytree(pristine, tmp_path / "town")


def test_everything_is_restored_from_a_copy(folder, pristine, roadbed):
    flip(find(folder, SHARD), 700)
    find(folder, "val-000000.tar").unlink()
    find(folder, INDEX).unlink()
    flip(folder / "dataset.json", 40)
    status, out, err = roadbed("data", "verify", folder, "--repair", "--from", pristine)
    assert status == 0, err
    assert out.count(": restored\n") == 4
    assert ": whole, 7 samples in 7 objects" in out
    assert files(folder) == files(pristine)


def test_an_index_is_made_from_whole_shards_alone(folder, pristine, roadbed):
    flip(find(folder, INDEX), 60)
    find(folder, "val.index").unlink()
    status, _, err = roadbed("data", "verify", folder, "--repair")
    assert status == 0, err
    assert files(folder) == files(pristine)


def test_an_index_is_not_made_from_damaged_shards(folder, roadbed):
    flip(find(folder, SHARD), 700)
    find(folder, INDEX).unlink()
    before = files(folder)
    status, out, err = roadbed("data", "verify", folder, "--repair")
    assert status == 1
    assert f"{SHARD}: not repaired, only a copy has its bytes: name one by --from, or prepare" in out
    assert f"{INDEX}: not repaired, file://{find(folder, SHARD)}: sha256 is" in out
    assert "2 objects are damaged; prepare the dataset again with --replace" in err
    assert files(folder) == before


def test_an_index_that_the_shards_do_not_give_is_not_put(folder):
    index = decode_index(find(folder, INDEX).read_bytes(), [5], origin="")
    records = [index.record(sample) for sample in range(5)]
    forge(folder, INDEX, encode_index([dataclasses.replace(records[0], mask_bytes=1), *records[1:]]))
    find(folder, INDEX).unlink()
    restored = restore(open_store(str(folder)), look(folder))
    assert restored.keys == ()
    assert any("the index made from the shards differs (sha256 is" in why for why in restored.failures.values())
    assert not find(folder, INDEX).exists()


def test_a_copy_that_is_damaged_too_restores_nothing(folder, pristine, tmp_path, roadbed):
    copy = shutil.copytree(pristine, tmp_path / "copy")
    flip(find(folder, SHARD), 700)
    flip(find(copy, SHARD), 900)
    before = files(folder)
    status, out, _ = roadbed("data", "verify", folder, "--repair", "--from", copy)
    assert status == 1
    assert f"{SHARD}: not repaired, file://{find(copy, SHARD)}: sha256 is" in out
    assert files(folder) == before


def test_what_was_made_wrongly_cannot_be_repaired(folder, tmp_path, roadbed):
    forge(folder, SHARD, written(tmp_path / "shard", [(jpeg(), mask()), (jpeg(), mask(77))]))
    status, out, _ = roadbed("data", "verify", folder, "--repair")
    assert status == 1
    assert f"{SHARD}: not repaired, its bytes are those that dataset.json names: prepare the dataset again" in out


def test_a_copy_of_another_dataset_is_refused(folder, tmp_path):
    other = open_store(str(make(tmp_path / "other", train=3)))
    store = open_store(str(folder))
    find(folder, SHARD).unlink()
    with pytest.raises(DataError, match=r"/other: is another dataset \(digest .*; name a copy of the same one"):
        restore(store, look(folder), copy=other)
    with pytest.raises(DataError, match="is another dataset"):
        restore_manifest(store, other)
    (folder / "dataset.json").unlink()
    with pytest.raises(DataError, match=r"nothing of the dataset at .*/other lies here.*roadbed data copy"):
        restore_manifest(store, other)
    assert not (folder / "dataset.json").exists()


def test_a_missing_dataset_json_is_restored(folder, pristine):
    (folder / "dataset.json").unlink()
    store, copy = open_store(str(folder)), open_store(str(pristine))
    assert restore_manifest(store, copy)
    assert not restore_manifest(store, copy)
    assert files(folder) == files(pristine)


def test_a_dataset_json_of_a_newer_format_is_left_as_it_is(folder, pristine, roadbed):
    path = folder / "dataset.json"
    values = json.loads(path.read_text()) | {"format": "roadbed-dataset/3"}
    del values["checksum"]
    path.write_bytes(json_bytes(values | {"checksum": hashlib.sha256(json_bytes(values)).hexdigest()}))
    before = files(folder)
    status, _, err = roadbed("data", "verify", folder, "--repair", "--from", pristine)
    assert status == 1
    assert "format roadbed-dataset/3 is newer than this roadbed" in err
    assert files(folder) == before


def test_a_dataset_that_was_replaced_since_it_was_checked_is_not_repaired(folder, tmp_path):
    find(folder, SHARD).unlink()
    report = look(folder)
    shutil.copytree(make(tmp_path / "other", train=3), folder, dirs_exist_ok=True)
    with pytest.raises(ConflictError, match="was replaced while being checked; run verify again"):
        restore(open_store(str(folder)), report)


def test_a_damaged_dataset_json_needs_a_copy(folder, roadbed):
    flip(folder / "dataset.json", 40)
    status, out, _ = roadbed("data", "verify", folder, "--repair")
    assert status == 1
    assert "/dataset.json: not repaired, only a copy has its bytes" in out
