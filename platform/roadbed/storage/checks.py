"""Checks of bytes and files against what is known of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from roadbed.errors import DamagedError


def check_bytes(uri: str, data: bytes, sha256: str | None) -> None:
    """Raises DamagedError that names both sums, unless `sha256` (hex) is None or that of `data`."""
    if sha256 is not None:
        check_sum(uri, hashlib.sha256(data).hexdigest(), sha256)


def check_sum(uri: str, found: str, expected: str) -> None:
    """Raises DamagedError unless two sha256 sums (hex) are the same."""
    if found != expected:
        raise DamagedError(f"{uri}: sha256 is {found}, expected {expected}; the bytes are damaged, write them anew")


def file_sha256(path: Path) -> str:
    """The sha256 (hex) of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
