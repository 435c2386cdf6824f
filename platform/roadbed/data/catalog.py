"""Which datasets lie below a prefix, by their dataset.json files alone. Reads no shard and no index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from roadbed.data.dataset import Dataset
from roadbed.data.manifest import MANIFEST_KEY
from roadbed.data.verify import named_objects
from roadbed.errors import DamagedError, DataError
from roadbed.storage import Store


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset as a list shows it; `problem` says why its dataset.json cannot be used, and then nothing else is known.

    `splits` are numbers of samples by name, in the order of their use.
    """

    uri: str
    digest: str = ""
    source: str = ""
    label_space: str = ""
    num_classes: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    num_bytes: int = 0
    problem: str | None = None


def list_datasets(store: Store) -> list[DatasetEntry]:
    """The datasets below the root of `store`, sorted by uri; folders within a dataset are not looked into.

    Raises StoreError when the store fails.
    """
    return [_entry(folder) for folder in _dataset_folders(store)]


def _dataset_folders(store: Store) -> Iterator[Store]:
    if store.exists(MANIFEST_KEY):
        yield store
        return
    for name in store.list_folders():
        yield from _dataset_folders(store.child(name))


def _entry(store: Store) -> DatasetEntry:
    try:
        dataset = Dataset.load(store)
    except (DamagedError, DataError) as error:
        return DatasetEntry(store.uri, problem=str(error).removeprefix(f"{store.uri}/{MANIFEST_KEY}: "))
    return DatasetEntry(
        store.uri,
        digest=dataset.digest,
        source=dataset.manifest.source.kind,
        label_space=dataset.label_space.name,
        num_classes=dataset.label_space.num_classes,
        splits={name: split.num_samples for name, split in dataset.splits.items()},
        num_bytes=sum(info.num_bytes for info in named_objects(dataset.manifest).values()),
    )
