"""Copies of datasets between folders and a real S3 server: every byte proven, dataset.json last, another never lost."""

from __future__ import annotations

import itertools
import shutil
import threading
import uuid
from pathlib import Path

import pytest

from roadbed.cli import main
from roadbed.data.copy import copy_dataset
from roadbed.data.dataset import Dataset
from roadbed.data.prepare import PrepareOptions, prepare
from roadbed.data.sources.painted import PaintedSource
from roadbed.data.verify import named_objects, verify
from roadbed.errors import ConflictError, DamagedError, DataError, UsageError
from roadbed.storage import Store, open_store

NUM_OBJECTS = 6  # three shards of train, one of val, two indexes


def make(store: Store, *, seed: int = 0) -> Dataset:
    source = PaintedSource({"train": 5, "val": 2}, seed=seed, size_px=(64, 80))
    return prepare(source, store, options=PrepareOptions(samples_per_shard=2))


def contents(store: Store) -> dict[str, bytes]:
    return {info.key: store.get(info.key) for info in store.list()}


@pytest.fixture(scope="module")
def town(tmp_path_factory) -> Store:
    """A dataset in a folder, to be left as it is."""
    store = open_store(str(tmp_path_factory.mktemp("town")))
    make(store)
    return store


@pytest.fixture
def target(tmp_path) -> Store:
    return open_store(str(tmp_path / "target"))


def shard_keys(store: Store) -> list[str]:
    return sorted(key for key in named_objects(Dataset.load(store).manifest) if key.endswith(".tar"))


def flip(store: Store, key: str) -> None:
    data = bytearray(store.get(key))
    data[-1] ^= 1
    store.put(key, bytes(data))


@pytest.mark.s3
@pytest.mark.parametrize(("kind", "other_kind"), [*itertools.product(("folder", "s3"), repeat=2)])
def test_a_copy_has_the_same_bytes_wherever_it_lies(s3_server, tmp_path, kind, other_kind):
    def place(kind: str, name: str) -> Store:
        return open_store(str(tmp_path / name) if kind == "folder" else f"s3://roadbed/copies/{uuid.uuid4().hex}")

    source, target = place(kind, "source"), place(other_kind, "target")
    dataset = make(source)
    calls: list[tuple[int, int]] = []
    copied = copy_dataset(source, target, progress=lambda done, total: calls.append((done, total)))
    assert contents(target) == contents(source)
    assert copied.dataset.digest == dataset.digest
    assert (copied.num_sent, copied.num_there, copied.is_new) == (NUM_OBJECTS, 0, True)
    assert copied.bytes_sent == sum(info.num_bytes for info in named_objects(dataset.manifest).values())
    assert calls == [(done, NUM_OBJECTS) for done in range(1, NUM_OBJECTS + 1)]
    assert verify(target).is_whole
    again = copy_dataset(source, target)
    assert (again.num_sent, again.num_there, again.is_new) == (0, NUM_OBJECTS, False)


@pytest.mark.s3
def test_whoever_trusts_the_store_reads_no_shard(s3_server):
    source, target = (open_store(f"s3://roadbed/copies/{uuid.uuid4().hex}") for _ in range(2))
    dataset = make(source)
    manifest_bytes = len(dataset.manifest.to_bytes())
    before = source.stats.bytes_read
    copy_dataset(source, target, trusts_stores=True)
    copy_dataset(source, target, trusts_stores=True)
    assert source.stats.bytes_read - before <= 3 * manifest_bytes
    assert target.stats.bytes_read <= 3 * manifest_bytes
    flip(target, shard_keys(source)[0])
    assert copy_dataset(source, target, trusts_stores=True).num_sent == 1
    assert contents(target) == contents(source)


def test_what_is_there_and_right_is_kept_and_the_rest_sent(town, target):
    keys = shard_keys(town)
    for key in keys[:3]:
        target.put(key, town.get(key))
    flip(target, keys[1])
    copied = copy_dataset(town, target)
    assert (copied.num_sent, copied.num_there) == (NUM_OBJECTS - 2, 2)
    assert contents(target) == contents(town)


def test_a_copy_that_lost_objects_is_made_whole(town, target):
    copy_dataset(town, target)
    flip(target, shard_keys(town)[0])
    target.delete(shard_keys(town)[1])
    copied = copy_dataset(town, target)
    assert (copied.num_sent, copied.is_new) == (2, False)
    assert contents(target) == contents(town)


def test_dataset_json_comes_last(town, target, monkeypatch):
    def put_if(key: str, data: bytes, *, etag: str | None) -> str:
        assert contents(target).keys() == named_objects(Dataset.load(town).manifest).keys()
        raise KeyboardInterrupt

    monkeypatch.setattr(target, "put_if", put_if)
    with pytest.raises(KeyboardInterrupt):
        copy_dataset(town, target)
    monkeypatch.undo()
    assert copy_dataset(town, target).num_there == NUM_OBJECTS


def test_another_dataset_is_replaced_only_when_told(town, target):
    old = make(target, seed=7)
    before = contents(target)
    with pytest.raises(DataError, match=r"another dataset is here \(digest .*, or pass --replace"):
        copy_dataset(town, target)
    assert contents(target) == before
    copied = copy_dataset(town, target, replace=True)
    assert copied.is_new
    assert copied.dataset.digest != old.digest
    assert contents(target) == contents(town)


def test_a_damaged_dataset_json_in_the_way_is_replaced_only_when_told(town, target):
    target.put("dataset.json", b"{}")
    with pytest.raises(DataError, match="another dataset is here"):
        copy_dataset(town, target)
    copy_dataset(town, target, replace=True)
    assert contents(target) == contents(town)


def test_whoever_publishes_second_is_told(town, target, tmp_path):
    started = threading.Event()

    def publish_another(done: int, total: int) -> None:
        if not started.is_set():
            started.set()
            make(target, seed=7)

    with pytest.raises(ConflictError, match="somebody else published a dataset here in the meantime"):
        copy_dataset(town, target, progress=publish_another)
    assert verify(target).is_whole


def test_two_that_copy_the_same_at_once_both_succeed(town, target):
    def copy_too(done: int, total: int) -> None:
        if done == total:
            copy_dataset(town, target)

    copy_dataset(town, target, progress=copy_too)
    assert contents(target) == contents(town)


def test_what_was_deleted_while_it_was_copied_is_not_published(town, target):
    key = shard_keys(town)[1]
    words = rf"somebody else deleted 1 of the copied objects in the meantime, the first is {key}; nothing was published"
    with pytest.raises(ConflictError, match=words):
        copy_dataset(town, target, progress=lambda done, total: target.delete(key) if done == total else None)
    assert not target.exists("dataset.json")
    assert copy_dataset(town, target).num_sent == 1


def test_a_source_that_lacks_objects_is_refused(town, target, tmp_path):
    source = open_store(str(shutil.copytree(town.uri.removeprefix("file://"), tmp_path / "source")))
    source.delete(shard_keys(source)[1])
    words = (
        rf"1 of 6 objects are missing or have another size, the first is {shard_keys(source)[1]}; nothing was copied"
    )
    with pytest.raises(DamagedError, match=words):
        copy_dataset(source, target)
    assert contents(target) == {}


def test_a_damaged_source_is_not_published(town, target, tmp_path):
    source = open_store(str(shutil.copytree(town.uri.removeprefix("file://"), tmp_path / "source")))
    flip(source, shard_keys(source)[1])
    words = rf"{shard_keys(source)[1]}: sha256 is .* \(mend it with `roadbed data verify {source.uri} --repair`"
    with pytest.raises(DamagedError, match=words):
        copy_dataset(source, target)
    assert not target.exists("dataset.json")


def test_a_dataset_is_not_copied_onto_itself(town):
    with pytest.raises(UsageError, match="is the source as well as the destination"):
        copy_dataset(town, open_store(town.uri + "/"))


def test_the_command_says_what_it_did(town, target, capsys):
    def copy(*words: str) -> str:
        main(["data", "copy", town.uri, target.uri, *words])
        return capsys.readouterr().out

    digest = Dataset.load(town).digest
    assert copy().startswith(f"{target.uri}: 6 objects of 0.")
    assert Dataset.load(target).digest == digest
    assert copy("--threads", "1") == f"{target.uri}: is there already, digest {digest}\n"
    Path(target.uri.removeprefix("file://"), shard_keys(town)[0]).unlink()
    assert "MB copied, 5 were there; digest" in copy("--trust-stores")
