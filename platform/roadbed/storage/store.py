"""The protocol of a store, its keys, and how a uri becomes a store. Touches neither disk nor network itself."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from roadbed.errors import UsageError
from roadbed.storage.stats import StoreStats

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}")


@dataclass(frozen=True)
class ObjectInfo:
    """What a listing tells of one object.

    `modified_at` is in unix seconds. `etag` is "" in listings of a file store, which would have to read every file.
    """

    key: str
    num_bytes: int
    etag: str
    modified_at: float


@dataclass(frozen=True)
class UnfinishedUpload:
    """A write that was begun and never ended: no object yet, but it takes room.

    `name` is the store's own for it, `touched_at` (unix seconds) when something of it came last.
    """

    key: str
    name: str
    num_bytes: int
    touched_at: float


class Store(Protocol):
    """Objects under a uri prefix. Keys are relative to it ("a/b"): never absolute, never with "..".

    Writes are whole or not at all. Every method raises StoreError when the store cannot be used, and its child
    NotFoundError for an object or bucket that is not there; messages name uri, endpoint and remedy.
    """

    uri: str
    """Without a slash at the end."""

    @property
    def stats(self) -> StoreStats:
        """What was asked of the store so far, by it and all its children."""

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """The whole object. Raises DamagedError if its sha256 (hex) is another."""

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        """The whole object and the etag that `put_if` takes."""

    def get_range(self, key: str, start: int, num_bytes: int) -> bytes:
        """Exactly `num_bytes` bytes from `start`. Raises DamagedError if the object is too short."""

    def put(self, key: str, data: bytes) -> str:
        """Create or replace; the new etag."""

    def put_if(self, key: str, data: bytes, *, etag: str | None) -> str:
        """Compare and swap; the new etag. `etag` None: create only; else replace only what has that etag.

        Raises ConflictError if somebody else was first. Where the request had to be sent again and the very bytes are
        there, they count as the work of the first sending: who must know himself the winner writes a nonce.
        """

    def upload(self, path: Path, key: str, *, sha256: str | None = None) -> None:
        """Create or replace from a file. Raises DamagedError if the file's sha256 is another, or sizes differ after."""

    def download(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        """Into a file that appears whole or not at all. Raises DamagedError as `get` does."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key starts with `prefix` (end it with "/" to mean a folder), sorted by key."""

    def list_folders(self, prefix: str = "") -> builtins.list[str]:
        """Sorted names of the folders directly under the folder `prefix`; those that hold at least one object."""

    def delete(self, key: str) -> None:
        """Remove the object; no error if it is not there."""

    def exists(self, key: str) -> bool:
        """Whether there is an object of that key."""

    def copy_from(self, other: Store, key: str) -> bool:
        """Create or replace `key` by that of `other`, without its bytes passing through this computer.

        False, and nothing is done, where that is impossible: stores of different kinds or endpoints, or an object
        beyond what one request of S3 copies. Nothing says that the bytes were right: who must know reads them.
        """

    def child(self, prefix: str) -> Store:
        """The same store, rooted at a folder below."""

    def unfinished_uploads(self) -> builtins.list[UnfinishedUpload]:
        """Writes below that have begun and not ended, sorted by key; some may be under way."""

    def discard_upload(self, upload: UnfinishedUpload) -> None:
        """Free the room that it takes, after which it cannot end; no error if it is gone."""


def open_store(uri: str) -> Store:
    """The store at `s3://bucket[/prefix]`, `file:///folder`, or a plain folder path (made absolute).

    Nothing is asked of it yet, and a folder need not exist. AWS's environment variables are read now.
    Raises UsageError for another scheme or a uri without a bucket.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        from roadbed.storage.files import FileStore

        return FileStore(Path(uri))
    if scheme == "file":
        from roadbed.storage.files import FileStore

        if not rest.startswith("/"):
            raise UsageError(f"{uri}: a file uri has three slashes and an absolute path, as in file:///data/roadbed")
        return FileStore(Path(rest))
    if scheme == "s3":
        from roadbed.storage.s3 import S3Store
        from roadbed.storage.s3_connection import Connection

        bucket, _, prefix = rest.strip("/").partition("/")
        if not bucket:
            raise UsageError(f"{uri}: names no bucket; write s3://BUCKET or s3://BUCKET/PREFIX")
        if not _BUCKET.fullmatch(bucket):
            raise UsageError(f"{uri}: {bucket!r} is no name for a bucket; it has letters, digits, dots and dashes")
        return S3Store(Connection(uri), bucket, check_prefix(prefix))
    raise UsageError(f"{uri}: stores are s3://BUCKET[/PREFIX], file:///FOLDER or a folder path, not {scheme}://")


def split_uri(uri: str) -> tuple[str, str]:
    """A store's uri and the key of one object: "s3://b/a/x.png" -> ("s3://b/a", "x.png"); "x.png" -> (".", "x.png").

    Raises UsageError if no key remains, as in "s3://b" or "a/".
    """
    scheme, separator, rest = uri.partition("://")
    path = rest if separator else uri
    folder, slash, key = path.rpartition("/")
    if not key or key in {".", ".."} or (scheme == "s3" and separator and not folder):
        raise UsageError(f"{uri}: names no object; write the uri of one, as in s3://BUCKET/FOLDER/NAME")
    if separator:
        return f"{scheme}://{folder or slash}", key
    return folder or slash or ".", key


def check_key(key: str) -> str:
    """`key` itself. Raises UsageError unless it is a relative path without empty, "." or ".." parts."""
    if not key or any(part in {"", ".", ".."} for part in key.split("/")) or "\0" in key:
        raise UsageError(f"{key!r} is not a key; keys read like 'folder/name', without a leading slash or '..'")
    return key


def check_prefix(prefix: str) -> str:
    """`prefix` without slashes at its ends; "" is the root. Raises UsageError as `check_key` does."""
    stripped = prefix.strip("/")
    return check_key(stripped) if stripped else ""
