"""What the file store has besides the contract of all stores, and how uris become stores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from roadbed.errors import ConflictError, NotFoundError, RoadbedError, StoreError, UsageError
from roadbed.storage import json_bytes, open_store, split_uri


def test_a_plain_path_is_a_file_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for uri in ("out", "./out/", str(tmp_path / "out"), f"file://{tmp_path}/out", f"file://{tmp_path}/x/../out"):
        assert open_store(uri).uri == f"file://{tmp_path}/out"


def test_opening_a_store_makes_nothing(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "out"))
    assert [*store.list()] == []
    assert store.list_folders() == []
    assert not store.exists("a")
    store.delete("a")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("gs://bucket/a", r"stores are s3://BUCKET.*not gs://"),
        ("s3://", "names no bucket"),
        ("s3://Not_A_Bucket!/a", "'Not_A_Bucket!' is no name for a bucket"),
        ("s3://ab", "'ab' is no name for a bucket"),
        ("s3:///prefix", None),
        ("file://relative/a", "three slashes"),
        ("s3://bucket/a/../b", "is not a key"),
    ],
)
def test_uris_that_name_no_store(uri: str, said: str | None) -> None:
    if said is None:
        assert open_store(uri).uri == "s3://prefix"
        return
    with pytest.raises(UsageError, match=said):
        open_store(uri)


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("s3://b/a/x.png", ("s3://b/a", "x.png")),
        ("s3://b/x.png", ("s3://b", "x.png")),
        ("file:///a/x.png", ("file:///a", "x.png")),
        ("file:///x.png", ("file:///", "x.png")),
        ("/a/x.png", ("/a", "x.png")),
        ("/x.png", ("/", "x.png")),
        ("a/x.png", ("a", "x.png")),
        ("x.png", (".", "x.png")),
    ],
)
def test_a_uri_splits_into_store_and_key(uri: str, parts: tuple[str, str]) -> None:
    assert split_uri(uri) == parts


@pytest.mark.parametrize("uri", ["s3://b", "s3://b/", "a/", "", "..", "file:///"])
def test_a_uri_without_a_key_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match="names no object"):
        split_uri(uri)


def test_hidden_files_of_writes_are_not_listed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("a", b"x")
    (tmp_path / ".roadbed-a-0011").write_bytes(b"what a killed writer left")
    assert [info.key for info in store.list()] == ["a"]
    (tmp_path / "empty").mkdir()
    store.put("used/a", b"x")
    store.delete("used/a")
    assert store.list_folders() == []


def test_readers_never_see_half_an_object(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("a", b"0" * 300_000)
    with _python(WRITE_AGAIN_AND_AGAIN, str(tmp_path)) as writer:
        while writer.poll() is None:
            assert len(set(store.get("a"))) == 1
    assert writer.returncode == 0
    assert store.get("a") == b"9" * 300_000


def test_swaps_hold_between_processes(tmp_path: Path) -> None:
    open_store(str(tmp_path)).put("count", b"0")
    writers = [_python(COUNT_UP, str(tmp_path)) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert open_store(str(tmp_path)).get("count") == b"90"


WRITE_AGAIN_AND_AGAIN = """
import sys
from roadbed.storage import open_store
for number in range(200):
    open_store(sys.argv[1]).put("a", b"%d" % (number % 10) * 300_000)
"""

COUNT_UP = """
import sys
from roadbed.errors import ConflictError
from roadbed.storage import open_store
store, done = open_store(sys.argv[1]), 0
while done < 30:
    data, etag = store.get_with_etag("count")
    try:
        store.put_if("count", b"%d" % (int(data) + 1), etag=etag)
    except ConflictError:
        continue
    done += 1
"""


def _python(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program, *arguments])


def test_a_folder_in_the_way_is_told(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("a/b", b"x")
    with pytest.raises(StoreError, match=f"^file://{tmp_path}/a: .*; check the path"):
        store.put("a", b"x")
    with pytest.raises(StoreError, match=f"^file://{tmp_path}/a/b/c: .*; check the path"):
        store.put("a/b/c", b"x")
    with pytest.raises(NotFoundError, match="/a: there is no such object"):
        store.get("a")
    assert [info.key for info in store.list()] == ["a/b"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="Permission denied; check the path, its permissions"):
        open_store(str(tmp_path / "closed")).put("a", b"x")


def test_not_a_number_is_no_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_bytes({"loss": float("nan")})


def test_opening_a_folder_needs_no_boto3() -> None:
    program = "import sys; from roadbed.storage import open_store; open_store('x'); sys.exit('boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_errors_are_those_of_the_store_family() -> None:
    assert issubclass(ConflictError, StoreError)
    assert issubclass(NotFoundError, StoreError)
    assert issubclass(StoreError, RoadbedError)
