"""The cache of a machine: whole objects or none, one fetch for all, never more than its bound, nothing left behind."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from roadbed.data.cache import ShardCache, default_folder, node_cache
from roadbed.errors import StoreError

KB = 1000


def content(number: int, num_bytes: int = 10 * KB) -> bytes:
    return bytes([number]) * num_bytes


def name_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(cache: ShardCache, data: bytes) -> bytes | None:
    return cache.fill(name_of(data), len(data), lambda: data)


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"used"}


def test_what_was_filled_is_read_and_not_fetched_again(tmp_path: Path) -> None:
    cache, data = ShardCache(tmp_path, max_bytes=100 * KB), content(1)
    assert not cache.holds(name_of(data))
    assert put(cache, data) == data

    def must_not_run() -> bytes:
        raise AssertionError("fetched again")

    assert cache.holds(name_of(data))
    assert cache.fill(name_of(data), len(data), must_not_run) is None
    assert cache.read(name_of(data), 5, 7) == data[5:12]
    assert ShardCache(tmp_path, max_bytes=100 * KB).holds(name_of(data)), "another process finds it"
    assert files_of(tmp_path) == {name_of(data)}


def test_least_recently_used_makes_room_and_the_bound_holds(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, max_bytes=35 * KB)
    objects = [content(number) for number in range(4)]
    for age, data in enumerate(objects[:3]):
        put(cache, data)
        os.utime(tmp_path / name_of(data), (age, age))
    assert cache.holds(name_of(objects[0])), "used again just now"
    put(cache, objects[3])
    assert [cache.holds(name_of(data)) for data in objects] == [True, False, True, True]
    assert cache.used_bytes == 30 * KB
    for number in range(4, 40):
        put(cache, content(number, (number % 12 + 1) * KB))
        assert cache.used_bytes <= 35 * KB


def test_bound_counts_what_is_being_written(tmp_path: Path) -> None:
    cache, data = ShardCache(tmp_path, max_bytes=25 * KB), content(1)
    seen: list[int] = []

    def fetch_slowly() -> bytes:
        put(cache, content(2))
        put(cache, content(3))
        seen.append(cache.used_bytes)
        return data

    cache.fill(name_of(data), len(data), fetch_slowly)
    assert seen == [20 * KB], "one of the two others had to go while the part was under way"


def test_larger_cache_shrinks_when_opened_with_a_smaller_bound(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, max_bytes=100 * KB)
    for number in range(8):
        put(cache, content(number))
    assert ShardCache(tmp_path, max_bytes=30 * KB).used_bytes <= 30 * KB


def test_what_does_not_fit_is_handed_on_and_not_kept(tmp_path: Path) -> None:
    cache, data = ShardCache(tmp_path, max_bytes=5 * KB), content(1)
    assert put(cache, data) == data
    assert files_of(tmp_path) == set()


def test_less_bytes_than_announced_are_not_kept(tmp_path: Path) -> None:
    cache, data = ShardCache(tmp_path, max_bytes=100 * KB), content(1)
    assert cache.fill(name_of(data), len(data), lambda: data[:-1]) == data[:-1]
    assert files_of(tmp_path) == set()
    assert put(cache, data) == data


def test_files_of_others_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("thesis.doc", "film.mkv.part"):
        (tmp_path / name).write_bytes(content(9))
    cache = ShardCache(tmp_path, max_bytes=15 * KB)
    for number in range(3):
        put(cache, content(number))
    assert cache.used_bytes == 10 * KB
    assert {"photos", "thesis.doc", "film.mkv.part"} < files_of(tmp_path)


def test_sum_that_was_lost_is_counted_anew(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, max_bytes=25 * KB)
    put(cache, content(1))
    put(cache, content(2))
    (tmp_path / "used").write_bytes(b"")
    put(cache, content(3))
    assert cache.used_bytes <= 25 * KB


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_child_forked_during_a_fill_blocks_nobody(tmp_path: Path) -> None:
    cache, data = ShardCache(tmp_path, max_bytes=100 * KB), content(1)
    children: list[int] = []

    def fetch() -> bytes:
        child = os.fork()
        if not child:
            signal.pause()
        children.append(child)
        raise StoreError("gone")

    with pytest.raises(StoreError, match="gone"):
        cache.fill(name_of(data), len(data), fetch)
    try:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(put, cache, data).result(timeout=20) == data
    finally:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)


def test_failed_fetch_leaves_nothing_and_takes_no_room(tmp_path: Path) -> None:
    cache, data = ShardCache(tmp_path, max_bytes=15 * KB), content(1)

    def fail() -> bytes:
        raise StoreError("gone")

    for _ in range(5):
        with pytest.raises(StoreError, match="gone"):
            cache.fill(name_of(data), len(data), fail)
    assert files_of(tmp_path) == set()
    assert put(cache, data) == data
    assert cache.holds(name_of(data))


def test_removed_object_is_fetched_anew(tmp_path: Path) -> None:
    cache, data = ShardCache(tmp_path, max_bytes=15 * KB), content(1)
    put(cache, data)
    cache.remove(name_of(data))
    cache.remove(name_of(data))
    assert cache.read(name_of(data), 0, 4) is None
    assert put(cache, data) == data


def test_many_threads_fetch_each_object_once(tmp_path: Path) -> None:
    caches = [ShardCache(tmp_path, max_bytes=1000 * KB) for _ in range(4)]
    objects = [content(number) for number in range(8)]
    fetched: list[str] = []

    def fetch(data: bytes) -> Callable[[], bytes]:
        def work() -> bytes:
            fetched.append(name_of(data))
            threading.Event().wait(0.02)
            return data

        return work

    with ThreadPoolExecutor(16) as pool:
        work = [(cache, data) for data in objects for cache in caches]
        list(pool.map(lambda item: item[0].fill(name_of(item[1]), len(item[1]), fetch(item[1])), work))
    assert sorted(fetched) == sorted(name_of(data) for data in objects)


FILLER = """
import hashlib, sys, time
from pathlib import Path
from roadbed.data.cache import ShardCache

folder, num_bytes, log = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
data = b"x" * num_bytes

def fetch():
    with log.open("a") as file:
        file.write("fetched\\n")
    print("fetching", flush=True)
    time.sleep(float(sys.argv[4]))
    return data

ShardCache(folder, max_bytes=10**6).fill(hashlib.sha256(data).hexdigest(), num_bytes, fetch)
"""


def filler(folder: Path, log: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FILLER, str(folder), "10000", str(log), str(seconds)], stdout=subprocess.PIPE, text=True
    )


def test_two_processes_fetch_an_object_once(tmp_path: Path) -> None:
    processes = [filler(tmp_path / "cache", tmp_path / "log", 1) for _ in range(2)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert (tmp_path / "log").read_text() == "fetched\n"
    assert files_of(tmp_path / "cache") == {name_of(b"x" * 10_000)}


def test_killed_filler_blocks_nobody_and_its_part_goes_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    process = filler(folder, tmp_path / "log", 60)
    assert process.stdout is not None
    assert process.stdout.readline() == "fetching\n"
    assert files_of(folder) == {name_of(b"x" * 10_000) + ".part"}
    assert ShardCache(folder, max_bytes=10**6).used_bytes == 10_000, "a living filler's part stays"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    cache = ShardCache(folder, max_bytes=10**6)
    assert files_of(folder) == set()
    assert put(cache, b"x" * 10_000) == b"x" * 10_000


def test_waiting_process_takes_over_from_a_killed_one(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    first = filler(folder, tmp_path / "log", 60)
    assert first.stdout is not None
    first.stdout.readline()
    second = filler(folder, tmp_path / "log", 0)
    first.kill()
    first.communicate(timeout=60)
    second.communicate(timeout=60)
    assert second.returncode == 0
    assert files_of(folder) == {name_of(b"x" * 10_000)}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere: run the tests as another user")
def test_folder_that_cannot_be_written_is_told_with_the_remedy(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match=r"ROADBED_CACHE_DIR.*data\.cache_mb=0"):
        ShardCache(tmp_path / "cache", max_bytes=1)


def test_folder_that_is_a_file_is_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"ROADBED_CACHE_DIR.*data\.cache_mb=0"):
        ShardCache(tmp_path / "file", max_bytes=1)


@pytest.mark.parametrize("variable", ["ROADBED_CACHE_DIR", "XDG_CACHE_HOME"])
def test_a_folder_that_cannot_be_used_ends_no_run_but_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, str(tmp_path / "file"))
    assert node_cache("s3://bucket/dataset", max_bytes=7) is None
    assert len(caplog.records) == 1
    for words in ("without a cache", str(tmp_path / "file"), "set ROADBED_CACHE_DIR", "data.cache_mb=0"):
        assert words in caplog.text


def test_a_user_without_a_home_goes_on_without_a_cache(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "~")
    assert node_cache("s3://bucket/dataset", max_bytes=7) is None
    assert "set ROADBED_CACHE_DIR" in caplog.text


def fill_disk_beyond(folder: Path, num_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk have room for so many bytes of the folder, the cache's bound aside."""
    allocate = os.posix_fallocate

    def allocate_if_there_is_room(file: int, start: int, length: int) -> None:
        if sum(path.stat().st_size for path in folder.iterdir() if path.name != "used") + length > num_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allocate(file, start, length)

    monkeypatch.setattr(os, "posix_fallocate", allocate_if_there_is_room)


def test_a_full_disk_costs_the_least_recently_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = ShardCache(tmp_path, max_bytes=1000 * KB)
    objects = [content(number) for number in range(4)]
    for age, data in enumerate(objects[:3]):
        put(cache, data)
        os.utime(tmp_path / name_of(data), (age, age))
    fill_disk_beyond(tmp_path, 35 * KB, monkeypatch)
    assert put(cache, objects[3]) == objects[3]
    assert [cache.holds(name_of(data)) for data in objects] == [False, True, True, True]
    assert (cache.has_failed, caplog.records) == (False, [])


def test_a_disk_that_stays_full_is_told_once_and_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = ShardCache(tmp_path, max_bytes=1000 * KB)
    put(cache, content(1))
    fill_disk_beyond(tmp_path, 0, monkeypatch)
    for number in (2, 3):
        assert put(cache, content(number)) == content(number)
    assert (cache.used_bytes, files_of(tmp_path)) == (0, set())
    assert (cache.has_failed, cache.lasting_bytes) == (True, 0)
    assert len(caplog.records) == 1
    for words in (str(tmp_path), "No space left", "data.cache_mb", "ROADBED_CACHE_DIR"):
        assert words in caplog.text


def test_a_cache_as_large_as_what_it_holds_keeps_all_of_it_when_it_is_opened(tmp_path: Path) -> None:
    for number in range(4):
        put(ShardCache(tmp_path, max_bytes=40 * KB), content(number))
    assert ShardCache(tmp_path, max_bytes=40 * KB).used_bytes == 40 * KB


def test_folder_is_named_by_the_environment_or_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "roadbed" / "shards"
    monkeypatch.setenv("ROADBED_CACHE_DIR", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own"
    found = node_cache("s3://bucket/dataset", max_bytes=7)
    assert found is not None
    assert (found.folder, found.max_bytes) == (tmp_path / "own", 7)
    assert node_cache("file:///dataset", max_bytes=7) is None
    assert node_cache("s3://bucket/dataset", max_bytes=0) is None
