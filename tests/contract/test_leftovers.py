"""`roadbed gc` over a folder and a real S3 server: it finds what nobody refers to, and touches nothing else."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from roadbed.data.dataset import Dataset
from roadbed.errors import ConflictError
from roadbed.leftovers import Leftover, find_leftovers
from roadbed.registry import Registry, registry
from roadbed.registry.exports import find_export, write_export
from roadbed.runs import CheckpointRef, Pointer, Run
from roadbed.storage import Store, open_store
from roadbed.storage.files import FileStore
from state_examples import card, checkpoint, finished_run
from support import Clock, blocks_dataset

DAY_S = 86400.0
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(f"file://{tmp_path}/store")
    request.getfixturevalue("s3_server")
    return open_store(f"s3://roadbed/leftovers/{uuid.uuid4().hex}")


@pytest.fixture
def folder(tmp_path: Path) -> Store:
    return open_store(f"file://{tmp_path}/store")


def now() -> Clock:
    """A clock that stands, beside those of the stores, which go."""
    return Clock(time.time())


def keys(root: Store) -> set[str]:
    return {info.key for info in root.list()}


def found(root: Store, *, days_later: float = 2.0, spared: list[str] | None = None) -> list[Leftover]:
    """What is found so many days from now."""
    later = Clock(time.time() + days_later * DAY_S)
    spare = (spared if spared is not None else []).append
    return list(find_leftovers(root, older_than_s=DAY_S, clock=later, spare=spare))


def places(root: Store, leftovers: list[Leftover]) -> set[tuple[str, str]]:
    return {(one.kind, one.uri.removeprefix(f"{root.uri}/")) for one in leftovers}


def age(path: Path) -> None:
    """As if a file had been written long ago."""
    os.utime(path, (1000.0, 1000.0))


def upload_half(root: Store, key: str) -> None:
    """What a writer leaves that is killed while it writes."""
    if isinstance(root, FileStore):
        path = Path(root.uri.removeprefix("file://"), key)
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / f".roadbed-{path.name}-0123456789abcdef").write_bytes(b"half")
        return
    bucket, _, prefix = root.uri.removeprefix("s3://").partition("/")
    place = {"Bucket": bucket, "Key": f"{prefix}/{key}"}
    client = boto3.client("s3")
    upload = client.create_multipart_upload(**place)["UploadId"]
    client.upload_part(**place, UploadId=upload, PartNumber=1, Body=b"half")


def healthy(root: Store) -> None:
    """A finished run, one that is lost, a model with an export, a dataset; nothing that could go."""
    clock = now()
    run = finished_run(root, "town", clock, miou=0.6, best=0.6)
    for key in [info.key for info in run.store.list("attempts/0001/checkpoints/")]:
        run.store.delete(key)  # As the writer does, which this run had none of.
    lost = Run(root, "lost", clock=clock).claim(details={})
    best = checkpoint(lost, 2, score=0.5)
    lost.move_pointer(Pointer(checkpoints=(checkpoint(lost, 4),), best=best))
    lost.put("attempts/0001/stalls/0001.json", b"who hung, to be looked at")
    adopted = Run(root, "adopted", clock=clock)
    adopted.store.put("adopted/00000004/manifest.json", b"{}")
    ref = CheckpointRef("adopted/00000004", 0, 4)
    adopted.store.put_if("latest.json", Pointer(checkpoints=(ref,)).to_bytes(), etag=None)
    version = Registry(root).publish("road", {"weights.safetensors": b"weights"}, card(0.5))
    write_export(version, "onnx", {"model.onnx": b"graph"}, {})
    blocks_dataset(f"{root.uri}/datasets/blocks")
    for key in ("datasets/raw/0001.png", "datasets/raw/0123456789ab/notes.txt", "datasets/0123456789ab/frames.tar"):
        root.put(key, b"of somebody else")
    root.put("sweeps/streets/spec.yaml", b"kind: tune\n")


def test_what_is_named_or_somebody_elses_is_no_leftover(root: Store) -> None:
    healthy(root)
    spared: list[str] = []
    assert found(root, spared=spared) == []
    assert spared == []


def test_everything_that_nobody_refers_to_goes_and_nothing_else(root: Store) -> None:
    healthy(root)
    kept = keys(root)
    town, lost = (Run(root, name).store for name in ("town", "lost"))
    for name in ("model.safetensors", "state.json"):
        town.put(f"attempts/0001/checkpoints/00000003/{name}", b"torn")
    for name in ("model.safetensors", "manifest.json"):
        lost.put(f"attempts/0001/checkpoints/00000003-unscored/{name}", b"whole")
        Run(root, "begun").store.put(f"adopted/00000007/{name}", b"adopted by a trial that was killed")
    town.put("attempts/0002/stalls/0001.json", b"{}")
    root.put("models/road/versions/2/claim.json", b"{}")
    root.put("models/road/versions/2/weights.safetensors", b"weights")
    root.put("models/road/versions/1/exports/onnx/00ff00ff00ff/model.onnx", b"replaced")
    root.put("models/road/versions/1/exports/openvino/00ff00ff00ff/model.bin", b"broken off")
    root.put("datasets/blocks/00ff00ff00ff/train-000000.tar", b"replaced")
    root.put("datasets/new/00ff00ff00ff/train-000000.tar", b"broken off")
    root.put("datasets/new/00ff00ff00ff/parts/train-000000", b"broken off")
    upload_half(root, "runs/town/attempts/0001/checkpoints/00000003/ema.safetensors")

    leftovers = found(root)
    assert places(root, leftovers) == {
        ("checkpoint", "runs/town/attempts/0001/checkpoints/00000003"),
        ("checkpoint", "runs/lost/attempts/0001/checkpoints/00000003-unscored"),
        ("checkpoint", "runs/begun/adopted/00000007"),
        ("reports", "runs/town/attempts/0002/stalls"),
        ("version", "models/road/versions/2"),
        ("export", "models/road/versions/1/exports/onnx/00ff00ff00ff"),
        ("export", "models/road/versions/1/exports/openvino/00ff00ff00ff"),
        ("dataset", "datasets/blocks/00ff00ff00ff"),
        ("dataset", "datasets/new/00ff00ff00ff"),
        ("upload", "runs/town/attempts/0001/checkpoints/00000003/ema.safetensors"),
    }
    torn = next(one for one in leftovers if one.uri.endswith("town/attempts/0001/checkpoints/00000003"))
    assert (torn.num_objects, torn.num_bytes, torn.why) == (2, 8, "torn, and latest.json does not name it")
    assert all(abs(one.touched_at - time.time()) < 600 for one in leftovers)

    assert all(one.delete() for one in leftovers)
    # The claim stays: no other version gets the number.
    assert keys(root) == kept | {"models/road/versions/2/claim.json"}
    assert root.unfinished_uploads() == []
    assert found(root, days_later=9) == []
    assert Registry(root).publish("road", {}, card(0.5)).number == 3
    assert Dataset.open(f"{root.uri}/datasets/blocks").split("train").read_sample(0)
    (ref,) = Run(root, "lost").pointer().checkpoints
    assert Run(root, "lost").store.exists(f"{ref.key}/manifest.json")


def test_what_came_within_the_margin_stays(root: Store) -> None:
    healthy(root)
    Run(root, "town").store.put("attempts/0001/checkpoints/00000003/state.json", b"torn")
    root.put("models/road/versions/2/weights.safetensors", b"weights")
    root.put("datasets/new/00ff00ff00ff/train-000000.tar", b"under way")
    upload_half(root, "datasets/new/00ff00ff00ff/train-000001.tar")
    assert found(root, days_later=0.9) == []
    assert len(found(root, days_later=1.1)) == 4


def test_a_run_that_lives_is_left_alone_however_old_its_objects_are(folder: Store) -> None:
    later = Clock(time.time() + 30 * DAY_S)
    for name, state in (("running", None), ("waiting", "retrying"), ("ended", "failed")):
        run = Run(folder, name, clock=later)
        attempt = run.claim(details={})
        checkpoint(attempt, 3)
        if state:
            run.fail("the loss is no number", state=state)  # type: ignore[arg-type]
    assert found(folder, days_later=30) == []
    assert places(folder, found(folder, days_later=32)) == {
        ("checkpoint", f"runs/{name}/attempts/0001/checkpoints/00000003") for name in ("running", "waiting", "ended")
    }


def test_what_a_run_writes_before_its_heartbeat_is_seen_stays(folder: Store) -> None:
    checkpoint(Run(folder, "frozen", clock=Clock(time.time() - 10 * DAY_S)).claim(details={}), 3)
    assert found(folder, days_later=0.5) == []
    assert len(found(folder, days_later=1.5)) == 1


def test_an_attempt_that_woke_up_keeps_what_it_has_pointed_to(root: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = Run(root, "slow", clock=now()).claim(details={})
    ref = checkpoint(attempt, 3)
    (leftover,) = found(root)
    attempt.move_pointer(Pointer(checkpoints=(ref,)))

    def delete(store: Store, key: str) -> None:
        raise AssertionError(f"{key} was deleted")

    monkeypatch.setattr(type(root), "delete", delete)
    assert not leftover.delete()


def test_one_that_points_to_it_in_the_same_moment_gets_its_manifest_back(
    folder: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = Run(folder, "slow", clock=now()).claim(details={})
    ref = checkpoint(attempt, 3)
    (leftover,) = found(folder)
    before = keys(folder)
    delete = FileStore.delete

    def delete_while_it_points(store: FileStore, key: str) -> None:
        delete(store, key)
        attempt.move_pointer(Pointer(checkpoints=(ref,)))

    monkeypatch.setattr(FileStore, "delete", delete_while_it_points)
    assert not leftover.delete()
    assert keys(folder) == before


def test_a_run_that_was_started_again_is_left_alone(root: Store) -> None:
    run = finished_run(root, "town", now(), miou=0.6, best=0.6)
    run.store.put("attempts/0002/stalls/0000.json", b"{}")
    leftovers = found(root)
    assert {one.kind for one in leftovers} == {"checkpoint", "reports"}
    Run(root, "town", clock=Clock(time.time() + 2 * DAY_S)).claim(details={"resumed_step": 10, "resumed_attempt": 2})
    before = keys(root)
    assert not any(one.delete() for one in leftovers)
    assert keys(root) == before


def test_a_pointer_that_cannot_be_read_spares_the_run_and_is_told(folder: Store) -> None:
    for name in ("damaged", "absent"):
        checkpoint(Run(folder, name, clock=now()).claim(details={}), 3)
    folder.put("runs/damaged/latest.json", b"{")
    folder.delete("runs/absent/latest.json")
    folder.put("runs/not a name/attempts/0001/checkpoints/1/a", b"")
    spared: list[str] = []
    assert found(folder, spared=spared) == []
    assert [text.removeprefix(folder.uri).split(":")[0] for text in spared] == [
        "/runs/absent/latest.json",
        "/runs/damaged/latest.json",
        "'not a name' is no name for a run; use letters, digits and dashes, as in camvid-quick",
    ]


def test_a_publisher_that_took_too_long_finds_its_claim_gone(root: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    write = registry._write

    def write_slowly(store: Store, file: str, content: bytes | Path) -> object:
        facts = write(store, file, content)
        if file == "card.json":
            assert [one.delete() for one in found(root)] == [True]
        return facts

    monkeypatch.setattr(registry, "_write", write_slowly)
    with pytest.raises(ConflictError, match=r"versions/1: was taken for abandoned by `roadbed gc`.*publish it again"):
        Registry(root).publish("road", {"weights.safetensors": b"weights"}, card(0.5))
    assert Registry(root).versions("road") == []
    assert keys(root) == {"models/road/versions/1/claim.json"}


def test_a_publication_that_ended_meanwhile_stays(folder: Store) -> None:
    folder.put("models/road/versions/1/weights.safetensors", b"weights")
    (leftover,) = found(folder)
    folder.put("models/road/versions/1/manifest.json", b"{}")
    assert not leftover.delete()
    assert folder.exists("models/road/versions/1/weights.safetensors")


def test_a_claim_that_moved_meanwhile_is_not_taken(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.put("models/road/versions/1/claim.json", b"{}")
    folder.put("models/road/versions/1/weights.safetensors", b"weights")
    (leftover,) = found(folder)
    get = FileStore.get_with_etag

    def get_before_it_moves(store: FileStore, key: str) -> tuple[bytes, str]:
        seen = get(store, key)
        store.put(key, b"another")
        return seen

    monkeypatch.setattr(FileStore, "get_with_etag", get_before_it_moves)
    assert not leftover.delete()
    assert folder.exists("models/road/versions/1/weights.safetensors")


def test_an_export_that_is_replaced_stays_while_somebody_may_read_it(root: Store) -> None:
    version = Registry(root).publish("road", {}, card(0.5))
    old = write_export(version, "onnx", {"model.onnx": b"old"}, {})
    write_export(version, "onnx", {"model.onnx": b"new"}, {}, replace=True)
    assert found(root, days_later=0.5) == []
    (leftover,) = found(root)
    assert leftover.why == "another export has taken its place"
    write_export(version, "onnx", {"model.onnx": b"newest"}, {}, replace=True)
    assert not leftover.delete(), "the manifest has moved since"
    assert old.get("model.onnx") == b"old"
    assert len(found(root)) == 2
    assert all(one.delete() for one in found(root))
    newest = find_export(version, "onnx")
    assert newest is not None
    assert newest.get("model.onnx") == b"newest"


@pytest.mark.parametrize("fresh", ["manifest.json", "00ff00ff00ff/model.onnx"])
def test_an_export_stays_while_either_its_files_or_its_manifest_are_fresh(folder: Store, fresh: str) -> None:
    version = Registry(folder).publish("road", {}, card(0.5))
    write_export(version, "onnx", {"model.onnx": b"new"}, {})
    version.store.put("exports/onnx/00ff00ff00ff/model.onnx", b"of before, or of the next one")
    for path in Path(version.uri.removeprefix("file://")).rglob("*"):
        if not path.as_posix().endswith(f"exports/onnx/{fresh}"):
            age(path)
    assert found(folder, days_later=0.5) == []
    assert places(folder, found(folder)) == {("export", "models/road/versions/1/exports/onnx/00ff00ff00ff")}


def test_an_export_whose_manifest_says_nothing_is_spared(folder: Store) -> None:
    Registry(folder).publish("road", {}, card(0.5))
    folder.put("models/road/versions/1/exports/onnx/manifest.json", b"{}")
    folder.put("models/road/versions/1/exports/onnx/00ff00ff00ff/model.onnx", b"graph")
    spared: list[str] = []
    assert found(folder, spared=spared) == []
    assert "exports/onnx/manifest.json: does not say which files it names; export the version again" in spared[0]


def test_a_dataset_that_cannot_be_read_or_was_published_meanwhile_stays(folder: Store) -> None:
    for name in ("torn", "late"):
        folder.put(f"datasets/{name}/00ff00ff00ff/train-000000.tar", b"shard")
    folder.put("datasets/torn/dataset.json", b"{")
    spared: list[str] = []
    (leftover,) = found(folder, spared=spared)
    assert "datasets/torn/dataset.json: not JSON" in spared[0]
    blocks_dataset(f"{folder.uri}/datasets/late")
    before = keys(folder)
    assert not leftover.delete()
    assert keys(folder) == before


@pytest.mark.s3
def test_the_command_tells_first_and_deletes_when_asked(s3_server: object, roadbed: Command) -> None:
    root = open_store(f"s3://roadbed/leftovers/{uuid.uuid4().hex}")
    assert roadbed("gc", "--store", root.uri)[1] == f"nothing to delete under {root.uri} that is older than 1 d 0 h\n"
    status, _, err = roadbed("gc", "--store", root.uri, "--older-than", "0.01")
    assert status == 2
    assert "0.01 is not in the range" in err


def test_the_command_tells_what_why_and_how_much(folder: Store, roadbed: Command) -> None:
    checkpoint(Run(folder, "old", clock=Clock(1000.0)).claim(details={}), 3)
    folder.put("runs/damaged/status.json", b"{")
    for path in Path(folder.uri.removeprefix("file://")).rglob("*"):
        age(path)
    before = keys(folder)
    status, out, err = roadbed("gc", "--store", folder.uri)
    assert status == 0
    assert "runs/old/attempts/0001/checkpoints/00000003: whole, and latest.json does not name it" in out
    assert "1 leftovers, 0.0 MB; --delete deletes them" in out
    assert "left alone: " in err
    assert keys(folder) == before
    told = json.loads(roadbed("gc", "--store", folder.uri, "--json")[1])
    assert [(one["kind"], one["num_objects"], one["is_deleted"]) for one in told] == [("checkpoint", 4, False)]
    status, out, _ = roadbed("gc", "--store", folder.uri, "--delete")
    assert (status, out.splitlines()[-1]) == (0, "deleted 1 leftovers, 0.0 MB")
    assert len(before - keys(folder)) == 4
