"""Fetching CamVid, from a real HTTP server on loopback."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from roadbed.data.sources.camvid_download import download_camvid, listed_files
from roadbed.errors import DataError

FILES = {f"train/{number}.png": f"frame {number}".encode() for number in range(20)}
SUMS = {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}


class CountingHandler(SimpleHTTPRequestHandler):
    """Serves a folder and keeps the paths that were asked for."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path.lstrip("/"))
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """A server's address, its folder, and the paths that it was asked for."""
    folder = tmp_path / "site"
    for path, data in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    asked: list[str] = []
    handler = type("Handler", (CountingHandler,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder, asked
        server.shutdown()
        thread.join()


def test_everything_is_fetched_and_nothing_twice(site: tuple[str, Path, list[str]], tmp_path: Path) -> None:
    url, _, asked = site
    folder = tmp_path / "camvid"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "3.png").write_bytes(FILES["train/3.png"])
    (folder / "train" / "4.png").write_bytes(b"half of a fra")
    told: list[tuple[int, int]] = []
    download_camvid(folder, base_url=url, files=SUMS, progress=lambda done, total: told.append((done, total)))
    assert {path: (folder / path).read_bytes() for path in FILES} == FILES
    assert sorted(asked) == sorted(set(FILES) - {"train/3.png"})
    assert (told[0], told[-1]) == ((1, 20), (20, 20))
    asked.clear()
    download_camvid(folder, base_url=url, files=SUMS)
    assert asked == []


def test_other_bytes_are_refused(site: tuple[str, Path, list[str]], tmp_path: Path) -> None:
    url, served, _ = site
    (served / "train" / "7.png").write_bytes(b"another frame")
    with pytest.raises(DataError, match=r"train/7\.png: sha256 is .*, expected"):
        download_camvid(tmp_path / "camvid", base_url=url, files=SUMS)
    assert not (tmp_path / "camvid" / "train" / "7.png").exists()


def test_a_missing_file_and_a_missing_server_are_named(site: tuple[str, Path, list[str]], tmp_path: Path) -> None:
    url, served, _ = site
    (served / "train" / "7.png").unlink()
    with pytest.raises(DataError, match=r"train/7\.png: cannot be fetched: .*404"):
        download_camvid(tmp_path / "camvid", base_url=url, files=SUMS)
    with pytest.raises(DataError, match="cannot be fetched"):
        download_camvid(tmp_path / "other", base_url="http://127.0.0.1:9", files={"train/0.png": SUMS["train/0.png"]})


def test_the_list_names_both_splits_of_the_real_one() -> None:
    files = listed_files()
    counts = {folder: sum(path.startswith(f"{folder}/") for path in files) for folder in ("train", "valannot")}
    assert (len(files), counts) == (936, {"train": 367, "valannot": 101})
    assert all(len(sha256) == 64 for sha256 in files.values())
