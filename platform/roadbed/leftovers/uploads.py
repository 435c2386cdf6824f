"""Uploads in parts that were begun and neither ended nor given up: they are no objects, but they take room."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from roadbed.leftovers.leftover import Leftover
from roadbed.storage import Store, UnfinishedUpload


def leftovers_of_uploads(root: Store, cutoff: float) -> Iterator[Leftover]:
    """The uploads under `root` of which nothing came since `cutoff`."""
    for upload in root.unfinished_uploads():
        if upload.touched_at <= cutoff:
            why = "an upload that never ended"
            place, delete = f"{root.uri}/{upload.key}", partial(_discard, root, upload)
            yield Leftover("upload", place, why, 1, upload.num_bytes, upload.touched_at, delete)


def _discard(root: Store, upload: UnfinishedUpload) -> bool:
    root.discard_upload(upload)
    return True
