"""The folder of a local store and Ray: where it is, its locks, and files that only their owner may read."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from roadbed.errors import RoadbedError

FOLDER_NAME = ".roadbed"


def local_folder(folder: Path | str | None = None) -> Path:
    """`folder` if given, else $ROADBED_LOCAL_DIR, else the nearest `.roadbed` upwards from here, else ./.roadbed.

    Absolute; it need not exist.
    """
    if folder is None:
        folder = os.environ.get("ROADBED_LOCAL_DIR") or None
    if folder is not None:
        return Path(folder).expanduser().absolute()
    here = Path.cwd()
    for candidate in (here, *here.parents):
        if (candidate / FOLDER_NAME).is_dir():
            return candidate / FOLDER_NAME
    return here / FOLDER_NAME


def make_folder(folder: Path) -> None:
    """Make the folder, closed to others and to git, if it is not there. Raises RoadbedError if that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("logs", "s3"):
            (folder / name).mkdir(exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise RoadbedError(
            f"{folder}: cannot hold the local store ({error.strerror}: {error.filename}); "
            "name another folder in ROADBED_LOCAL_DIR"
        ) from error


def write_private(path: Path, text: str) -> None:
    """Replace a file at once; only its owner may read it (mode 0600)."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    temporary.replace(path)


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Be the only one, of all processes, that starts or stops something in the folder."""
    make_folder(folder)
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Use:
    """A claim on what runs in the folder, given back by `release` or, by the kernel, when the process dies.

    Made and released by who holds `changing`, so that nobody comes in while the last one leaves.
    """

    def __init__(self, folder: Path) -> None:
        self._file: BinaryIO = (folder / "users").open("wb")
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def release(self) -> bool:
        """Give the claim back; whether it was the last one."""
        with self._file:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True
