"""A folder of frames and one of masks as a source, with the classes of a classes.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from roadbed.data.labels import LabelSpace
from roadbed.data.sources import SampleRef
from roadbed.data.sources.folder_classes import ClassesFile, parse_classes
from roadbed.data.sources.folder_pairs import pair_files
from roadbed.data.sources.folder_splits import SPLIT_NAME, Splitting, plan_splits
from roadbed.data.sources.images import File, check_pair, digest_files, read_pair
from roadbed.data.sources.listing import IMAGE_SUFFIXES, source_store
from roadbed.data.sources.split_lists import ListedName
from roadbed.data.sources.tables import ColorTable, MaskTable
from roadbed.errors import DataError, NotFoundError, UsageError
from roadbed.storage import Store, open_store, split_uri


@dataclass(frozen=True, slots=True)
class FolderRef(SampleRef):
    """A frame and its mask, by their keys in the stores of frames and masks."""

    image_key: str
    mask_key: str


class FolderSource:
    """Frames below `images`, masks below `masks` (folders, uris or stores), classes as `classes` (a file's uri) says.

    Raises DataError if nothing pairs up, UsageError for a faulty classes.yaml or a splitting that cannot be.
    """

    kind = "folder"

    def __init__(
        self,
        images: str | Path | Store,
        masks: str | Path | Store,
        classes: str | Path,
        *,
        mask_suffix: str | None = None,
        splitting: Splitting | None = None,
    ) -> None:
        file: ClassesFile = parse_classes(read_text(str(classes)), origin=str(classes))
        self._images, self._masks = source_store(images), source_store(masks)
        self._table = file.table(origin=str(classes))
        self.label_space: LabelSpace = file.label_space
        splitting = splitting or Splitting()
        pairs = pair_files(self._images, self._masks, mask_suffix=mask_suffix)
        plan = plan_splits(pairs.keys, splitting)
        self.problems: Sequence[str] = (*pairs.problems, *plan.problems)
        self.notes: Sequence[str] = tuple(plan.notes)
        is_by_folder = not (splitting.listed or splitting.shares)
        self.splits: Mapping[str, Sequence[FolderRef]] = {
            split: [FolderRef(name.partition("/")[2] if is_by_folder else name, *pairs.keys[name]) for name in names]
            for split, names in plan.splits.items()
        }

    @property
    def settings(self) -> str:
        """The classes, and what the masks' values mean."""
        return repr((self.label_space.to_json(), self._table.settings))

    def files(self, ref: FolderRef) -> tuple[File, File, MaskTable | ColorTable]:
        """Frame and mask of a pair, and what the mask's values mean."""
        return (self._images, ref.image_key), (self._masks, ref.mask_key), self._table

    def digest(self, ref: FolderRef) -> str:
        """sha256 (hex) over both files of a pair."""
        image, mask, _ = self.files(ref)
        return digest_files(image, mask)

    def check(self, ref: FolderRef) -> list[str]:
        """What is wrong with a pair; empty if `read` will return it."""
        return check_pair(*self.files(ref))

    def read(self, ref: FolderRef) -> tuple[np.ndarray, np.ndarray]:
        """image_HW3 (uint8 RGB) and mask_HW (uint8). Raises DataError naming the file."""
        return read_pair(*self.files(ref))


def read_split_file(uri: str) -> tuple[ListedName, ...]:
    """Lines `SPLIT NAME` of a file, empty ones and those after # left out. Raises UsageError that names the line, or
    for a file without any."""
    listed = []
    for number, line in _lines(uri):
        split, _, name = line.partition(" ")
        if not name.strip() or not SPLIT_NAME.fullmatch(split):
            raise UsageError(
                f"{uri}: line {number} is {line!r}; expected a split and a name, as in `train seq01_000123`"
            )
        listed.append(ListedName(split, _bare(name.strip()), f"{uri}: line {number}"))
    if not listed:
        raise UsageError(f"--split-file {uri}: names no frame; write lines `SPLIT NAME`")
    return tuple(listed)


def read_list(split: str, uri: str) -> tuple[ListedName, ...]:
    """A file with a name a line, all of one split. Raises UsageError for a split that is no name, or has none."""
    if not SPLIT_NAME.fullmatch(split):
        raise UsageError(f"--list {split}={uri}: {split!r} is no name for a split; use letters, digits and dashes")
    listed = tuple(ListedName(split, _bare(line), f"{uri}: line {number}") for number, line in _lines(uri))
    if not listed:
        raise UsageError(f"--list {split}={uri}: names no frame, so {split} would be empty; list some, or leave it out")
    return listed


def read_text(uri: str) -> str:
    """A text file of this computer or a store. Raises UsageError if it is not there, DataError if it is no text."""
    folder, key = split_uri(uri)
    try:
        return open_store(folder).get(key).decode("utf-8-sig")
    except NotFoundError as error:
        is_far = uri.startswith("s3://")
        plain = f"{uri.removeprefix('file://')}: there is no such file; check the path"
        raise UsageError(str(error) if is_far else plain) from None
    except UnicodeDecodeError:
        raise DataError(f"{uri}: not a text in UTF-8") from None


def _lines(uri: str) -> list[tuple[int, str]]:
    lines = [(number, line.strip()) for number, line in enumerate(read_text(uri).splitlines(), 1)]
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _bare(name: str) -> str:
    """A frame's name without the suffix of an image."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else name
