"""What the doctor looks at: pairs of files of a source, or samples of a prepared dataset, all read in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from roadbed.data.dataset import Dataset, Split
from roadbed.data.doctor.findings import Fault
from roadbed.data.doctor.opening import RawFile
from roadbed.data.labels import LabelSpace
from roadbed.data.sources import Source
from roadbed.data.sources.folder_splits import Splitting
from roadbed.data.sources.images import File
from roadbed.data.sources.listing import link_fault, place
from roadbed.data.sources.tables import ColorTable, MaskTable
from roadbed.errors import DamagedError, DataError, NotFoundError

Table = MaskTable | ColorTable


class FileSource(Source[Any], Protocol):
    """A source whose samples are two files each."""

    def files(self, ref: Any) -> tuple[File, File, Table]:
        """Frame and mask, and what the mask's values mean."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A frame and its mask: the split, the key, and what it takes to read them."""

    split: str
    key: str
    ref: Any


@dataclass(frozen=True)
class Subject:
    """Pairs in the order of their splits, how to read one, and what is known before any is read.

    `read` gives the frame's file, the mask's, and what the mask's values mean; it may be called from several threads.
    `places` says where the two lie, without reading them.
    """

    place: str
    kind: str
    label_space: LabelSpace
    pairs: Sequence[Pair]
    read: Callable[[Pair], tuple[RawFile, RawFile, Table]]
    places: Callable[[Pair], tuple[str, str]]
    faults: tuple[Fault, ...] = ()
    sequence: Callable[[str], str] = Splitting().sequence

    @property
    def splits(self) -> Mapping[str, int]:
        """How many pairs each split has."""
        counts: dict[str, int] = {}
        for pair in self.pairs:
            counts[pair.split] = counts.get(pair.split, 0) + 1
        return counts


def subject_of_source(
    source: FileSource, where: str, *, faults: tuple[Fault, ...] = (), splitting: Splitting | None = None
) -> Subject:
    """The pairs of a source."""

    def read(pair: Pair) -> tuple[RawFile, RawFile, Table]:
        image, mask, table = source.files(pair.ref)
        return _fetched(image), _fetched(mask), table

    def places(pair: Pair) -> tuple[str, str]:
        image, mask, _ = source.files(pair.ref)
        return place(*image), place(*mask)

    return Subject(
        place=where,
        kind=source.kind,
        label_space=source.label_space,
        pairs=[Pair(split, ref.key, ref) for split, refs in source.splits.items() for ref in refs],
        read=read,
        places=places,
        faults=faults,
        sequence=partial(_sequence, splitting or Splitting()),
    )


def subject_of_dataset(dataset: Dataset) -> Subject:
    """The samples of a prepared dataset."""
    space = dataset.label_space
    names = {**dict(enumerate(space.class_names)), space.ignore_id: "ignored"}
    table = MaskTable({value: value for value in names}, names=names, known=f"known are those of {dataset.uri}")

    def places(pair: Pair) -> tuple[str, str]:
        where = f"{dataset.uri}: {pair.split}/{pair.key}"
        return where, f"{where} (mask)"

    def read(pair: Pair) -> tuple[RawFile, RawFile, Table]:
        split, sample = pair.ref
        image_place, mask_place = places(pair)
        try:
            image, mask = split.members(sample)
        except DamagedError as error:
            return RawFile(image_place, b"", str(error)), RawFile(mask_place, b"", str(error)), table
        return RawFile(image_place, image), RawFile(mask_place, mask), table

    return Subject(
        place=dataset.uri,
        kind="dataset",
        label_space=space,
        pairs=[pair for split in dataset.splits.values() for pair in _samples(split)],
        read=read,
        places=places,
    )


def _sequence(splitting: Splitting, key: str) -> str:
    """The sequence of a frame; "" for keys in which the pattern finds none, for they lack the folder of their split."""
    try:
        return splitting.sequence(key)
    except DataError:
        return ""


def _samples(split: Split) -> list[Pair]:
    return [Pair(split.name, split.key(sample), (split, sample)) for sample in range(split.num_samples)]


def _fetched(file: File) -> RawFile:
    store, key = file
    try:
        return RawFile(place(store, key), store.get(key))
    except NotFoundError:
        return RawFile(place(store, key), b"", link_fault(store, key) or "the file has vanished")
