"""file://: a folder as an object store, with the semantics of S3.

An etag is the sha256 of the content. A write goes to a hidden file beside its target and is renamed over it; writers of
a folder take turns by a lock on its `.roadbed-lock`, across threads and processes. Such files are never listed.
"""

# ruff: noqa: D102  (Store documents the methods)

from __future__ import annotations

import builtins
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from roadbed.errors import DamagedError, NotFoundError, StoreError
from roadbed.storage.checks import check_bytes, check_length, check_sum, file_sha256, file_trouble, lost_swap
from roadbed.storage.stats import StoreStats
from roadbed.storage.store import ObjectInfo, Store, UnfinishedUpload, check_key, check_prefix

_HIDDEN = ".roadbed-"
_LOCK_NAME = f"{_HIDDEN}lock"


class FileStore:
    """See Store. The folder is made by the first write."""

    def __init__(self, folder: Path, stats: StoreStats | None = None) -> None:
        self._folder = Path(os.path.abspath(folder.expanduser()))  # noqa: PTH100  (resolve() would follow links)
        self.uri = f"file://{self._folder}".rstrip("/")
        self.stats = stats or StoreStats()

    def __repr__(self) -> str:
        return f"FileStore({self.uri!r})"

    def __reduce__(self) -> tuple[type[FileStore], tuple[Path]]:
        return FileStore, (self._folder,)

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        with self._reading(key) as file:
            data = file.read()
        self.stats.count(bytes_read=len(data))
        try:
            check_bytes(f"{self.uri}/{key}", data, sha256)
        except DamagedError:
            self.stats.count(damaged=1)
            raise
        return data

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        data = self.get(key)
        return data, _etag(data)

    def get_range(self, key: str, start: int, num_bytes: int) -> bytes:
        with self._reading(key) as file:
            file.seek(start)
            data = file.read(num_bytes)
        self.stats.count(bytes_read=len(data))
        check_length(f"{self.uri}/{key}", data, start, num_bytes)
        return data

    def put(self, key: str, data: bytes) -> str:
        with self._writing(key) as path:
            _replace(path, data)
        self.stats.count(bytes_written=len(data))
        return _etag(data)

    def put_if(self, key: str, data: bytes, *, etag: str | None) -> str:
        with self._writing(key) as path:
            found = _etag(path.read_bytes()) if path.is_file() else None
            if found != etag:
                raise lost_swap(f"{self.uri}/{key}", is_there=found is not None, wants_new=etag is None)
            _replace(path, data)
        self.stats.count(bytes_written=len(data))
        return _etag(data)

    def upload(self, path: Path, key: str, *, sha256: str | None = None) -> None:
        with self._writing(key) as target, _temporary_beside(target) as temporary:
            if sha256 is not None:
                check_sum(str(path), file_sha256(path), sha256)
            shutil.copyfile(path, temporary)
            sent, expected = temporary.stat().st_size, path.stat().st_size
            if sent != expected:
                raise DamagedError(f"{self.uri}/{key}: {sent} bytes arrived of {expected}; upload {path} again")
            temporary.replace(target)
        self.stats.count(bytes_written=sent)

    def download(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        with self._reading(key) as file, _temporary_beside(path) as temporary:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as out:
                shutil.copyfileobj(file, out, 1 << 20)
                self.stats.count(bytes_read=out.tell())
            if sha256 is not None:
                check_sum(f"{self.uri}/{key}", file_sha256(temporary), sha256)
            temporary.replace(path)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        folder, _, start = prefix.rpartition("/")
        top = self._folder / check_prefix(folder)
        for path in _files_below(top, start):
            try:
                facts = path.stat()
            except FileNotFoundError:
                continue
            key = path.relative_to(self._folder).as_posix()
            yield ObjectInfo(key=key, num_bytes=facts.st_size, etag="", modified_at=facts.st_mtime)

    def list_folders(self, prefix: str = "") -> builtins.list[str]:
        top = self._folder / check_prefix(prefix)
        if not top.is_dir():
            return []
        return sorted(path.name for path in top.iterdir() if path.is_dir() and _files_below(path, ""))

    def delete(self, key: str) -> None:
        if self._path(key).is_file():
            with self._writing(key) as path:
                path.unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def copy_from(self, other: Store, key: str) -> bool:
        if not isinstance(other, FileStore):
            return False
        with other._reading(key):
            self.upload(other._path(key), key)
        return True

    def child(self, prefix: str) -> Store:
        return FileStore(self._folder / check_prefix(prefix), self.stats)

    def unfinished_uploads(self) -> builtins.list[UnfinishedUpload]:
        found = []
        for path in sorted(self._folder.rglob(f"{_HIDDEN}*-*")):
            with suppress(FileNotFoundError):
                facts = path.stat()
                name = path.relative_to(self._folder).as_posix()
                key = name.replace(_HIDDEN, "").rpartition("-")[0]
                found.append(UnfinishedUpload(key, name, facts.st_size, facts.st_mtime))
        return found

    def discard_upload(self, upload: UnfinishedUpload) -> None:
        self._path(upload.name).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / check_key(key)

    @contextmanager
    def _reading(self, key: str) -> Iterator[BinaryIO]:
        path, began = self._path(key), time.monotonic()
        self.stats.count(requests=1)
        try:
            file = path.open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFoundError(f"{self.uri}/{key}: there is no such object; check the spelling") from None
        except OSError as error:
            raise self._trouble(key, error) from error
        with file:
            try:
                yield file
            except OSError as error:
                raise self._trouble(key, error) from error
        self.stats.took(time.monotonic() - began)

    @contextmanager
    def _writing(self, key: str) -> Iterator[Path]:
        """The path of `key`, its folder made and locked."""
        path, began = self._path(key), time.monotonic()
        self.stats.count(requests=1)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with (path.parent / _LOCK_NAME).open("wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield path
        except OSError as error:
            raise self._trouble(key, error) from error
        self.stats.took(time.monotonic() - began)

    def _trouble(self, key: str, error: OSError) -> StoreError:
        self.stats.count(failures=1)
        return file_trouble(f"{self.uri}/{key}", error)


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _replace(path: Path, data: bytes) -> None:
    with _temporary_beside(path) as temporary:
        temporary.write_bytes(data)
        temporary.replace(path)


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """A hidden file in the folder of `path`, gone afterwards unless it was renamed."""
    temporary = path.parent / f"{_HIDDEN}{path.name[:64]}-{secrets.token_hex(8)}"
    try:
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink()


def _files_below(top: Path, start: str) -> builtins.list[Path]:
    """Every file below `top` whose first part begins with `start`, sorted by key as S3 sorts, hidden ones left out."""
    found = []
    for folder, _, names in os.walk(top):
        found += [Path(folder, name) for name in names if not name.startswith(_HIDDEN)]
    below = [(path.relative_to(top).as_posix(), path) for path in found]
    return [path for key, path in sorted(below) if key.startswith(start)]
