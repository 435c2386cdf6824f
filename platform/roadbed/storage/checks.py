"""Checks of bytes and files against what is known of them, and the errors that all stores word alike."""

from __future__ import annotations

import hashlib
from pathlib import Path

from roadbed.errors import ConflictError, DamagedError, StoreError


def check_bytes(uri: str, data: bytes, sha256: str | None) -> None:
    """Raises DamagedError that names both sums, unless `sha256` (hex) is None or that of `data`."""
    if sha256 is not None:
        check_sum(uri, hashlib.sha256(data).hexdigest(), sha256)


def check_sum(uri: str, found: str, expected: str) -> None:
    """Raises DamagedError unless two sha256 sums (hex) are the same."""
    if found != expected:
        raise DamagedError(f"{uri}: sha256 is {found}, expected {expected}; the bytes are damaged, write them anew")


def check_length(uri: str, data: bytes, start: int, num_bytes: int) -> None:
    """Raises DamagedError unless a range that was read has the length that was asked for."""
    if len(data) != num_bytes:
        raise DamagedError(
            f"{uri}: has {len(data)} bytes from byte {start}, expected {num_bytes}; "
            "the object is cut short, write it anew"
        )


def lost_swap(uri: str, *, is_there: bool, wants_new: bool) -> ConflictError:
    """The error of a conditional write that somebody else was ahead of."""
    if not is_there:
        return ConflictError(f"{uri}: was deleted in the meantime; read again and retry")
    what = "exists already" if wants_new else "was changed in the meantime"
    return ConflictError(f"{uri}: {what}; read again and retry")


def file_trouble(uri: str, error: OSError) -> StoreError:
    """The error of a file or folder of this computer that cannot be read or written."""
    where = f" ({error.filename})" if error.filename else ""
    return StoreError(f"{uri}: {error.strerror or error}{where}; check the path, its permissions and the free space")


def file_sha256(path: Path) -> str:
    """The sha256 (hex) of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
