"""A bounded cache of shards on this machine's disk, shared by all processes and runs of one user.

Objects are files named by their sha256, so that the same shard of any dataset is one file and no file ever changes.
What a filler is writing is `NAME.part`, locked (flock) as long as it lives: others who want the same object wait and
find it whole, and what a killed process left is recognised by its lock being free and removed. The least recently used
objects make room before anything is written; sizes of parts count in full, so the bound holds at every moment.

`folder/used` holds the sum of all sizes, and is locked for the moments in which room is made and taken.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from roadbed.errors import StoreError

log = logging.getLogger(__name__)

FOLDER_VARIABLE = "ROADBED_CACHE_DIR"
_PART = ".part"
_USED = "used"
_OURS = re.compile(r"[0-9a-f]{64}(\.part)?")
# When room is needed, so much more is made: one look through the folder then serves for many objects.
_SPARE_SHARE = 0.05
_FULL = {errno.ENOSPC, errno.EDQUOT}


def default_folder() -> Path:
    """Where shards are cached: ROADBED_CACHE_DIR, or `roadbed/shards` in the user's cache folder.

    Raises StoreError for a user without a home.
    """
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "roadbed/shards"
    except RuntimeError as error:  # a user whom the system does not know, as containers have them
        raise _no_cache("~/.cache", str(error)) from error


def node_cache(uri: str, *, max_bytes: int) -> ShardCache | None:
    """This machine's cache for the dataset at `uri`; None for one in a folder, which needs none, and without room.

    A folder that cannot be used, even one that was named, ends no training on this machine: None, and a warning.
    """
    if not max_bytes or not uri.startswith("s3://"):
        return None
    try:
        return ShardCache(default_folder(), max_bytes=max_bytes)
    except StoreError as error:
        log.warning("going on without a cache: %s", error)
        return None


def _no_cache(folder: object, why: str) -> StoreError:
    return StoreError(
        f"{folder}: shards cannot be cached here ({why}); set {FOLDER_VARIABLE} to a folder that you may write, or "
        "data.cache_mb=0 to keep shards in memory alone"
    )


class ShardCache:
    """See the module. Safe to use from several threads, processes and runs at once.

    Raises StoreError if the folder cannot be made or written.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.has_failed = False
        """Whether the disk would not take what the bound allows."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._locked() as used:
                self._remove_leftovers()
                self._evict(used, max_bytes)
        except OSError as error:
            raise _no_cache(folder, error.strerror or str(error)) from error

    @property
    def lasting_bytes(self) -> int:
        """What it holds at least of the objects used last, once more were put into it; 0 where the disk failed."""
        return 0 if self.has_failed else int(self.max_bytes * (1 - _SPARE_SHARE))

    def holds(self, name: str) -> bool:
        """Whether the object called `name` (its sha256) is there; it counts as used now."""
        try:
            os.utime(self.folder / name)
        except OSError:
            return False
        return True

    def read(self, name: str, start: int, num_bytes: int) -> bytes | None:
        """Bytes of an object, None if it is not there any more. What they are worth the caller checks."""
        try:
            with (self.folder / name).open("rb", buffering=0) as file:
                return os.pread(file.fileno(), num_bytes, start)
        except OSError:  # evicted, or the disk fails: the store has it still
            return None

    def fill(self, name: str, num_bytes: int, fetch: Callable[[], bytes]) -> bytes | None:
        """Have the object there: None if it is (by now), else the bytes that `fetch` brought, which were kept.

        One of all who ask at the same time fetches, the others wait. `fetch` checks what it brings. What has not
        `num_bytes` or does not fit into the bound or onto the disk is handed on and not kept.
        """
        if num_bytes > self.max_bytes:
            return fetch()
        path = self.folder / name
        with self._sole_filler(path) as part:
            if part is None:
                return None
            if not self._reserve(part, num_bytes):
                return fetch()
            is_kept = False
            try:
                data = fetch()
                if len(data) == num_bytes:
                    try:
                        _write_all(part, data)
                        with self._locked():  # whoever counts meanwhile would see it under both names, or neither
                            _part_of(path).rename(path)
                        is_kept = True
                    except OSError as error:
                        self.tell_failure(error)
                return data
            finally:
                if not is_kept:
                    with suppress(OSError), self._locked() as used:
                        used.add(-num_bytes)

    def tell_failure(self, error: OSError) -> None:
        """Log, once, that the disk fails; whoever reads goes on without what it does not hold."""
        if not self.has_failed:
            self.has_failed = True
            log.warning(
                "shards are not cached any more: folder=%s error=%s; free some space, lower data.cache_mb or set %s to "
                "another folder",
                self.folder, error.strerror, FOLDER_VARIABLE,
            )  # fmt: skip

    def remove(self, name: str) -> None:
        """Forget an object: its bytes turned out to be damaged."""
        path = self.folder / name
        with suppress(OSError), self._locked() as used:
            num_bytes = path.stat().st_size
            path.unlink()
            used.add(-num_bytes)

    @property
    def used_bytes(self) -> int:
        """Bytes of all objects and parts."""
        with self._locked():
            return sum(size for _, size, _ in self._entries())

    def _reserve(self, part: int, num_bytes: int) -> bool:
        """Make room, and take it with a part file of full size. False if disk or bound have none."""
        with self._locked() as used:
            if used.num_bytes + num_bytes > self.max_bytes:
                self._evict(used, self.max_bytes - num_bytes)
            if used.num_bytes + num_bytes > self.max_bytes:
                return False
            try:
                try:
                    _allocate(part, num_bytes)
                except OSError as error:
                    if error.errno not in _FULL:
                        raise
                    self._evict(used, used.num_bytes - num_bytes)  # others fill the disk: less than the bound fits
                    _allocate(part, num_bytes)
            except OSError as error:
                self.tell_failure(error)
                return False
            used.add(num_bytes)
            return True

    @contextmanager
    def _sole_filler(self, path: Path) -> Iterator[int | None]:
        """The part file of `path`, open, empty and locked by us; None if somebody else has filled `path` meanwhile."""
        part = _part_of(path)
        while True:
            file = os.open(part, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not _is_same(file, part) and not path.exists():
                    continue  # its filler gave up and removed it
                try:
                    is_filled = path.exists()
                    if not is_filled:
                        os.ftruncate(file, 0)
                    yield None if is_filled else file
                finally:
                    if _is_same(file, part):
                        part.unlink()
                return
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)  # a child that was forked meanwhile holds the file open too
                os.close(file)

    @contextmanager
    def _locked(self) -> Iterator[_Used]:
        with (self.folder / _USED).open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                used = _Used(file)
                if used.is_lost:
                    used.set(sum(size for _, size, _ in self._entries()))
                yield used
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)

    def _remove_leftovers(self) -> None:
        """Parts whose filler is dead."""
        for part, _, _ in self._entries():
            if part.suffix != _PART:
                continue
            with suppress(OSError), part.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()

    def _evict(self, used: _Used, most_bytes: int) -> None:
        """Count what is there; of more than `most_bytes` delete the least recently used, and some more."""
        entries = self._entries()
        used_bytes = sum(size for _, size, _ in entries)
        goal_bytes = most_bytes
        if used_bytes > most_bytes:
            goal_bytes = min(most_bytes, int(self.max_bytes * (1 - _SPARE_SHARE)))
        for path, size, _ in sorted(entries, key=lambda entry: entry[2]):
            if used_bytes <= goal_bytes:
                break
            if path.suffix != _PART:
                with suppress(FileNotFoundError):
                    path.unlink()
                used_bytes -= size
        used.set(used_bytes)

    def _entries(self) -> list[tuple[Path, int, float]]:
        """Path, bytes and time of last use of every object and part; other files in the folder are not ours."""
        found = []
        for entry in os.scandir(self.folder):
            if _OURS.fullmatch(entry.name):
                with suppress(FileNotFoundError):
                    facts = entry.stat()
                    found.append((Path(entry.path), facts.st_size, facts.st_mtime))
        return found


class _Used:
    """The sum of all sizes, in a file that is locked. A killed filler leaves it too large, never too small."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        file.seek(0)
        text = file.read()
        self.is_lost = not text.isdigit()
        """Nothing was ever written, or a writer was killed: what is there must be counted."""
        self.num_bytes = int(text) if text.isdigit() else 0

    def add(self, num_bytes: int) -> None:
        self.set(max(self.num_bytes + num_bytes, 0))

    def set(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self._file.truncate(0)
        self._file.write(b"%d" % num_bytes)
        self._file.flush()


def _part_of(path: Path) -> Path:
    return path.with_name(path.name + _PART)


def _is_same(file: int, path: Path) -> bool:
    """Whether `path` still leads to the open file."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _allocate(file: int, num_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, max(num_bytes, 1))


def _write_all(file: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(file, memoryview(data)[written:], written)
