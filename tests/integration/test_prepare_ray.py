"""Preparation by Ray tasks, from s3:// to s3://: the same bytes as by threads, however many workers."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import support
from roadbed.cli import roadbed
from roadbed.data.parallel import Threads
from roadbed.data.prepare import PrepareOptions, prepare
from roadbed.data.sources import SampleRef
from roadbed.data.sources.camvid import CamvidSource
from roadbed.data.sources.painted import paint_folder
from roadbed.errors import DataError, RoadbedError, UsageError
from roadbed.runtime import local
from roadbed.runtime.map import ray_tasks
from roadbed.storage import Store, open_store
from support import StoredSource

pytestmark = [pytest.mark.s3, pytest.mark.ray]

ROOT = "s3://roadbed/prepare-ray"
SMALL = PrepareOptions(samples_per_shard=2)


class DyingSource(StoredSource):
    """The first worker that digests `train_003` is killed; every other worker, if `always`, too."""

    def __init__(self, store: Store, mark: Path, *, always: bool = False) -> None:
        super().__init__(store, train=6, val=2)
        self._mark, self._always, self._driver = mark, always, os.getpid()

    def digest(self, ref: SampleRef) -> str:
        if ref.key == "train_003" and os.getpid() != self._driver and (self._always or not self._mark.exists()):
            self._mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().digest(ref)


class FaultySource(StoredSource):
    """One frame cannot be digested."""

    def digest(self, ref: SampleRef) -> str:
        if ref.key == "train_002":
            raise DataError("train_002: the file has vanished")
        return super().digest(ref)


def objects(uri: str) -> dict[str, str]:
    """sha256 by key of everything below `uri`."""
    store = open_store(uri)
    return {item.key: hashlib.sha256(store.get(item.key)).hexdigest() for item in store.list()}


@pytest.fixture(scope="module", autouse=True)
def sources_of_tests_travel(own_surroundings: None) -> Iterator[None]:
    """Workers cannot import the tests, so their classes go along."""
    from ray import cloudpickle

    modules = (support, sys.modules[__name__])
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    yield
    for module in modules:
        cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture(scope="module")
def source(ray_head: object) -> StoredSource:
    stored = StoredSource(open_store(f"{ROOT}/blocks"), train=6, val=2)
    stored.write()
    return stored


@pytest.fixture(scope="module")
def by_threads(source: StoredSource) -> dict[str, str]:
    prepare(source, open_store(f"{ROOT}/by-threads"), options=SMALL, mapper=Threads(2))
    return objects(f"{ROOT}/by-threads")


@pytest.fixture(scope="module")
def camvid(ray_head: object, tmp_path_factory: pytest.TempPathFactory) -> CamvidSource:
    """Painted frames in CamVid's arrangement, in the store."""
    folder = tmp_path_factory.mktemp("painted")
    paint_folder(folder, {"train": 7, "val": 2}, size_px=(64, 80))
    store = open_store(f"{ROOT}/camvid")
    for path in folder.rglob("*.png"):
        store.upload(path, path.relative_to(folder).as_posix())
    return CamvidSource(store)


def test_ray_tasks_write_the_bytes_that_threads_write(
    source: StoredSource, by_threads: dict[str, str], camvid: CamvidSource
) -> None:
    calls: list[tuple[int, int]] = []
    with ray_tasks(1) as tasks:
        prepare(
            source,
            open_store(f"{ROOT}/by-one"),
            options=SMALL,
            mapper=tasks,
            progress=lambda done, total: calls.append((done, total)),
        )
        prepare(camvid, open_store(f"{ROOT}/camvid-by-one"), options=SMALL, mapper=tasks)
    assert objects(f"{ROOT}/by-one") == by_threads
    assert [done for done, _ in calls] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len(objects(f"{ROOT}/camvid-by-one")) == 4 + 1 + 2 + 1


def test_three_workers_of_a_ray_of_our_own_write_the_same(
    source: StoredSource, by_threads: dict[str, str], camvid: CamvidSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS")
    with ray_tasks(3) as tasks:
        prepare(source, open_store(f"{ROOT}/by-three"), options=SMALL, mapper=tasks)
        prepare(camvid, open_store(f"{ROOT}/camvid-by-three"), options=SMALL, mapper=tasks)
    assert objects(f"{ROOT}/by-three") == by_threads
    assert objects(f"{ROOT}/camvid-by-three") == objects(f"{ROOT}/camvid-by-one")


def test_a_killed_worker_is_replaced_and_errors_come_back_as_themselves(
    source: StoredSource, by_threads: dict[str, str], tmp_path: Path
) -> None:
    store = open_store(f"{ROOT}/blocks")
    with ray_tasks(2) as tasks:
        dying = DyingSource(store, tmp_path / "died")
        prepare(dying, open_store(f"{ROOT}/by-dying"), options=SMALL, mapper=tasks)
        assert (tmp_path / "died").exists()
        assert objects(f"{ROOT}/by-dying") == by_threads
        dying = DyingSource(store, tmp_path / "died", always=True)
        with pytest.raises(RoadbedError, match="Ray lost a worker 4 times"):
            prepare(dying, open_store(f"{ROOT}/lost"), options=SMALL, mapper=tasks)
        faulty = FaultySource(store, train=6, val=2)
        with pytest.raises(DataError) as caught:
            prepare(faulty, open_store(f"{ROOT}/faulty"), options=SMALL, mapper=tasks)
        assert str(caught.value) == "train_002: the file has vanished"
        assert type(caught.value) is DataError


def test_more_workers_than_the_cluster_has_are_refused(ray_head: object) -> None:
    said = "3 workers of 1 CPU were asked for, but this Ray cluster has 2 CPU; lower --workers"
    with pytest.raises(UsageError, match=said), ray_tasks(3):
        pass


TWO_RAYS_OF_OUR_OWN = """
import os

import ray

from roadbed.runtime.map import ray_tasks

del os.environ["RAY_AUTH_MODE"]
for text in ("a", "bc"):
    with ray_tasks(1) as tasks:
        print(tasks.map(len, [text], count=lambda item: None))
"""


def test_a_process_may_have_one_ray_of_its_own_after_another(tmp_path: Path) -> None:
    """Each with a token of its own, though Ray was imported when the environment said that there is none."""
    environment = {"HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run([sys.executable, "-c", TWO_RAYS_OF_OUR_OWN], env=environment, capture_output=True, text=True)
    assert (done.stdout.split(), done.returncode) == (["[1]", "[2]"], 0), done.stderr


IMPORTED_BEFORE = """
import os, sys

import ray

from roadbed.runtime.session import ray_connection

os.environ.update(pair.split("=", 1) for pair in sys.argv[1:])
with ray_connection(num_cpus=1) as resources:
    print(resources["CPU"])
"""


def test_a_process_may_have_imported_ray_before_it_looks_for_a_local_head(
    ray_head: local.LocalState, tmp_path: Path
) -> None:
    """By itself Ray would look for it at the machine's own address, and without its token."""
    told = [f"{name}={text}" for name, text in local.environment(ray_head).items()]
    command = [sys.executable, "-c", IMPORTED_BEFORE, *told]
    done = subprocess.run(command, env={"HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.returncode) == (["2.0"], 0), done.stderr


def test_the_command_prepares_by_workers(ray_head: object) -> None:
    arguments = ["data", "prepare", "painted", f"{ROOT}/town", "--train", "3", "--val", "1", "--size", "80x64"]
    done = CliRunner().invoke(roadbed, [*arguments, "--workers", "2", "--mask-encoding", "zstd"])
    assert done.exit_code == 0, done.output
    assert "3 train, 1 val samples prepared; digest" in done.output
