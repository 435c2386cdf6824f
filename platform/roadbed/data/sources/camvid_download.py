"""Fetching the public CamVid (480x360, SegNet's arrangement, train and val) at a pinned revision.

Every file is checked against camvid_files.sha256, in the form of `sha256sum`. A fetch that was interrupted goes on
where it was; a file is there whole or not at all. The frames are for research and teaching: see the dataset's own page,
http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/.
"""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

from roadbed.errors import DataError

REVISION = "ee00319fb3133fe496959586a25339d4876340cd"
BASE_URL = f"https://raw.githubusercontent.com/nrupatunga/SegNet-Tutorial/{REVISION}/CamVid"

TIMEOUT_S = 30
TRIES = 4


def listed_files() -> dict[str, str]:
    """The sha256 of every file, by its path in the folder."""
    text = (resources.files(__package__) / "camvid_files.sha256").read_text(encoding="ascii")
    return {path: sha256 for sha256, path in (line.split() for line in text.splitlines())}


def download_camvid(
    folder: Path,
    *,
    base_url: str = BASE_URL,
    files: dict[str, str] | None = None,
    num_threads: int = 8,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Fetch what `folder` lacks of the public CamVid.

    Raises DataError that names the address if it cannot be reached or gives other bytes than listed.
    """
    files = listed_files() if files is None else files
    missing = [path for path, sha256 in files.items() if not _is_whole(folder / path, sha256)]
    progress(len(files) - len(missing), len(files))
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="roadbed-download")
    try:
        fetched = pool.map(lambda path: _fetch(f"{base_url}/{path}", folder / path, files[path]), missing)
        for done, _ in enumerate(fetched, start=len(files) - len(missing) + 1):
            progress(done, len(files))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _is_whole(path: Path, sha256: str) -> bool:
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _fetch(url: str, path: Path, sha256: str) -> None:
    data = _get(url)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise DataError(
            f"{url}: sha256 is {found[:12]}..., expected {sha256[:12]}...; the file is not the one this version knows; "
            f"get CamVid yourself and give its folder"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(path)


def _get(url: str) -> bytes:
    for tried in range(1, TRIES + 1):
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
                return bytes(answer.read())
        except (OSError, http.client.HTTPException) as error:
            is_final = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429
            if tried == TRIES or is_final:
                raise DataError(
                    f"{url}: cannot be fetched: {error}; try again later (what is there stays), or get CamVid yourself "
                    f"and give its folder"
                ) from None
            time.sleep(2.0**tried / 4)
    raise AssertionError("unreachable")
