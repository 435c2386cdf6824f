"""The counters of a folder; those of S3 are counted against a real server in tests/contract/test_s3_faults.py."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from roadbed.storage import open_store


def test_a_folder_counts_what_was_asked_of_it_and_its_children(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/store")
    child = store.child("a")
    child.put("b", bytes(1000))
    store.get("a/b")
    child.get_range("b", 10, 20)
    child.download("b", tmp_path / "down")
    assert child.stats is store.stats
    assert (store.stats.num_requests, store.stats.num_retries, store.stats.bytes_read) == (4, 0, 2020)
    assert "requests=4, retries=0, bytes_read=2020" in repr(store.stats)
    assert open_store(store.uri).stats.num_requests == 0


def test_no_count_of_several_threads_is_lost(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")
    store.put("a", bytes(10))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.get("a"), range(400)))
    assert (store.stats.num_requests, store.stats.bytes_read) == (401, 4000)
