"""Of datasets below datasets/: shards, indexes and parts that no dataset.json names.

Nothing else is looked at, so raw frames and whatever people put beside their datasets stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from roadbed.data.dataset import Dataset
from roadbed.data.manifest import MANIFEST_KEY
from roadbed.data.verify import named_objects
from roadbed.errors import DamagedError, DataError, NotFoundError
from roadbed.leftovers.leftover import Leftover, delete_all, grouped, newest
from roadbed.storage import ObjectInfo, Store

_OWN = re.compile(r"((?:.+/)?[0-9a-f]{12})/(?:parts/[^/]+|[^/]+-[0-9]{6}\.tar|[^/]+\.index)")


def leftovers_of_datasets(root: Store, cutoff: float, *, spare: Callable[[str], None]) -> Iterator[Leftover]:
    """The leftovers of all datasets; `cutoff` as for runs."""
    store = root.child("datasets")
    infos = list(store.list())
    written_at = {info.key: info.modified_at for info in infos}
    for folder, group in grouped(infos, _folder_of).items():
        place = folder.rpartition("/")[0]
        dataset = store.child(place) if place else store
        if written_at.get(f"{place}/{MANIFEST_KEY}".lstrip("/"), 0.0) > cutoff or newest(group) > cutoff:
            continue
        try:
            digest, named = _named(dataset)
        except (DamagedError, DataError) as error:
            spare(str(error))
            continue
        strays = [info for info in group if info.key.removeprefix(f"{place}/") not in named]
        if strays:
            why = f"{MANIFEST_KEY} does not name them" if digest else f"a preparation that broke off: no {MANIFEST_KEY}"
            delete = partial(_delete_strays, store, dataset, folder, strays, digest, cutoff)
            yield Leftover.of("dataset", store, folder, strays, why, delete)


def _folder_of(key: str) -> str | None:
    found = _OWN.fullmatch(key)
    return found[1] if found else None


def _named(store: Store) -> tuple[str, set[str]]:
    """The digest of the dataset at the root of `store`, and the keys that it names; "" and nothing without one.

    Raises DamagedError or DataError for a dataset.json that cannot be read.
    """
    try:
        dataset = Dataset.load(store)
    except NotFoundError:
        return "", set()
    return dataset.digest, set(named_objects(dataset.manifest))


def _delete_strays(
    store: Store, dataset: Store, folder: str, strays: Sequence[ObjectInfo], digest: str, cutoff: float
) -> bool:
    """A preparation that is just taking them up misses them before it publishes, and says so."""
    if _named(dataset)[0] != digest or newest(store.list(f"{folder}/")) > cutoff:
        return False
    delete_all(store, [info.key for info in strays])
    return True
