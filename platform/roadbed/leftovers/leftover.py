"""One thing that nobody refers to, and how it is deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from roadbed.data.parallel import in_threads
from roadbed.storage import ObjectInfo, Store

Kind = Literal["checkpoint", "reports", "version", "export", "dataset", "upload"]
_DELETING_THREADS = 8


@dataclass(frozen=True)
class Leftover:
    """What it is, where, how much, and why it is one. `touched_at` (unix seconds) is when something of it came last.

    `delete` deletes it, unless somebody took it up meanwhile, and says whether it is gone.
    """

    kind: Kind
    uri: str
    why: str
    num_objects: int
    num_bytes: int
    touched_at: float
    delete: Callable[[], bool] = field(repr=False, compare=False)

    @classmethod
    def of(
        cls, kind: Kind, store: Store, folder: str, infos: Sequence[ObjectInfo], why: str, delete: Callable[[], bool]
    ) -> Leftover:
        """Made of some objects below a folder of a store."""
        num_bytes = sum(info.num_bytes for info in infos)
        return cls(kind, f"{store.uri}/{folder}".rstrip("/"), why, len(infos), num_bytes, newest(infos), delete)


def newest(infos: Iterable[ObjectInfo]) -> float:
    """When the newest of some objects was written, 0 if there are none."""
    return max((info.modified_at for info in infos), default=0.0)


def grouped(infos: Iterable[ObjectInfo], folder_of: Callable[[str], str | None]) -> dict[str, list[ObjectInfo]]:
    """Objects by the folder that `folder_of` says of their keys, without those that it says None of."""
    found: dict[str, list[ObjectInfo]] = {}
    for info in infos:
        folder = folder_of(info.key)
        if folder is not None:
            found.setdefault(folder, []).append(info)
    return found


def delete_all(store: Store, keys: Iterable[str]) -> None:
    """Delete objects, several at a time."""
    in_threads(store.delete, sorted(keys), _DELETING_THREADS)
