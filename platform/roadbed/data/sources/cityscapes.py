"""Cityscapes as a source: frames whole, resized or as tiles, with 19 or 30 classes.

Dataset page: https://www.cityscapes-dataset.com (Cordts et al., CVPR 2016). Its licence forbids passing frames on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roadbed.data.labels import (
    CITYSCAPES_19,
    CITYSCAPES_30,
    CITYSCAPES_RAW_NAMES,
    CITYSCAPES_RAW_TO_19,
    CITYSCAPES_RAW_TO_30,
    IGNORE_ID,
    LabelSpace,
)
from roadbed.data.sources import SampleRef
from roadbed.data.sources.cityscapes_folders import CityscapesPair, Labels, scan_cityscapes
from roadbed.data.sources.cityscapes_frames import Framing, Size, Tile, show_size
from roadbed.data.sources.images import File, check_pair, digest_files, read_frame, read_pair
from roadbed.data.sources.last import LastValue
from roadbed.data.sources.listing import place, source_store
from roadbed.data.sources.tables import MaskTable
from roadbed.errors import DataError, UsageError
from roadbed.storage import Store


@dataclass(frozen=True, slots=True)
class CityscapesRef(SampleRef):
    """A frame and its mask by their keys in the source's store, or one tile of them."""

    image_key: str
    mask_key: str
    tile: Tile | None = None


class CityscapesSource:
    """Cityscapes below `src` (a folder, a uri or a store), which holds leftImg8bit/ and gtFine/.

    `splits` None are train and val, `cities` None all. A split that holds nothing is an error, or only a note if cities
    are chosen and splits are not.

    Raises DataError if it is not Cityscapes, UsageError for what cannot be had: splits, cities, sizes, train ids of 30
    classes.
    """

    kind = "cityscapes"

    def __init__(
        self,
        src: str | Path | Store,
        *,
        label_space: LabelSpace = CITYSCAPES_19,
        labels: Labels = "labelIds",
        splits: Sequence[str] | None = None,
        cities: Sequence[str] | None = None,
        framing: Framing | None = None,
    ) -> None:
        self.label_space = label_space
        self._table = _mask_table(label_space, labels)
        self._store = source_store(src)
        self._framing = framing or Framing()
        scanned = scan_cityscapes(self._store, labels=labels, splits=splits, cities=cities)
        self.problems: Sequence[str] = tuple(scanned.problems)
        self.notes: Sequence[str] = tuple(scanned.notes)
        self._frame_px = self._first_size(scanned.pairs) if self._framing.tile_px else None
        self.splits: Mapping[str, Sequence[CityscapesRef]] = {
            split: [ref for pair in pairs for ref in self._refs(pair)] for split, pairs in scanned.pairs.items()
        }
        # The tiles of a frame come one after another: each thread reads the frame once for all of them.
        self._last_digest: LastValue[str] = LastValue()
        self._last_pair: LastValue[tuple[np.ndarray, np.ndarray]] = LastValue()

    @property
    def settings(self) -> str:
        """The classes, what the masks' ids mean, and how frames become samples."""
        return repr((self.label_space.to_json(), self._table.settings, self._framing))

    def files(self, ref: CityscapesRef) -> tuple[File, File, MaskTable]:
        """Frame and mask that a sample is of, and what the mask's values mean."""
        return (self._store, ref.image_key), (self._store, ref.mask_key), self._table

    def digest(self, ref: CityscapesRef) -> str:
        """sha256 (hex) over both files of a pair; the tiles of one frame have different keys and the same digest."""
        image, mask, _ = self.files(ref)
        return self._last_digest.get((ref.image_key, ref.mask_key), lambda: digest_files(image, mask))

    def check(self, ref: CityscapesRef) -> list[str]:
        """What is wrong with a pair; empty if `read` will return it."""
        problems = check_pair(*self.files(ref))
        if not problems:
            try:
                self.read(ref)
            except DataError as error:
                problems.append(str(error))
        return problems

    def read(self, ref: CityscapesRef) -> tuple[np.ndarray, np.ndarray]:
        """image_HW3 (uint8 RGB) and mask_HW (uint8) of the frame or tile. Raises DataError naming the file."""

        def read_whole() -> tuple[np.ndarray, np.ndarray]:
            return read_pair(*self.files(ref))

        if ref.tile is None:
            return self._framing.cut(*read_whole(), None)
        image_HW3, mask_HW = self._last_pair.get((ref.image_key, ref.mask_key), read_whole)
        if mask_HW.shape != self._frame_px:
            raise DataError(
                f"{place(self._store, ref.image_key)}: is {show_size(mask_HW.shape)}, the first frame "
                f"{show_size(self._frame_px or (0, 0))}; tiles need frames of one size, remove it or use --resize"
            )
        return self._framing.cut(image_HW3, mask_HW, ref.tile)

    def _first_size(self, pairs: Mapping[str, Sequence[CityscapesPair]]) -> Size | None:
        first = next((pair for found in pairs.values() for pair in found), None)
        if first is None:
            return None
        height_px, width_px, _ = read_frame((self._store, first.image_key)).shape
        return height_px, width_px

    def _refs(self, pair: CityscapesPair) -> list[CityscapesRef]:
        if self._frame_px is None:
            return [CityscapesRef(pair.name, pair.image_key, pair.mask_key)]
        return [
            CityscapesRef(f"{pair.name}/r{tile.row}c{tile.column}", pair.image_key, pair.mask_key, tile)
            for tile in self._framing.tiles(self._frame_px)
        ]


def _mask_table(label_space: LabelSpace, labels: Labels) -> MaskTable:
    if label_space not in (CITYSCAPES_19, CITYSCAPES_30):
        raise ValueError(f"{label_space.name} is not a label space of Cityscapes")
    if labels == "labelIds":
        table_256 = CITYSCAPES_RAW_TO_19 if label_space == CITYSCAPES_19 else CITYSCAPES_RAW_TO_30
        return MaskTable(
            {raw_id: int(table_256[raw_id]) for raw_id in CITYSCAPES_RAW_NAMES},
            names=CITYSCAPES_RAW_NAMES,
            known="labelIds are 0..33; is it labelTrainIds or another kind of mask?",
        )
    if label_space != CITYSCAPES_19:
        raise UsageError("--labels labelTrainIds: they know the 19 evaluated classes alone; use labelIds for 30")
    names = {**dict(enumerate(label_space.class_names)), IGNORE_ID: "ignored"}
    ids = {raw_id: raw_id for raw_id in names}
    return MaskTable(ids, names=names, known="labelTrainIds are 0..18, and 255 for none")
