"""CamVid as a source, in all the arrangements of camvid_folders.py.

Dataset page: http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/ (Brostow, Fauqueur and Cipolla, 2009).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from roadbed.data.labels import CAMVID_11, LabelSpace
from roadbed.data.sources.camvid_folders import CODES_FILE, CamvidRef, MaskKind, scan_camvid
from roadbed.data.sources.camvid_masks import codes_table, color_table, segnet_table
from roadbed.data.sources.holdout import held_out
from roadbed.data.sources.images import File, check_pair, digest_files, read_pair
from roadbed.data.sources.listing import Listing, source_store
from roadbed.data.sources.tables import ColorTable, MaskTable
from roadbed.storage import Store


class CamvidSource:
    """CamVid below `src` (a folder, a uri or a store), with the classes of `label_space` (CAMVID_11 or CAMVID_32).

    `holdout_share` of every sequence of the training split is held out (holdout.py). Raises DataError if it is not
    CamVid, or its masks do not have these classes.
    """

    kind = "camvid"

    def __init__(
        self, src: str | Path | Store, *, label_space: LabelSpace = CAMVID_11, holdout_share: float = 0.0
    ) -> None:
        self.label_space = label_space
        self._store = source_store(src)
        listing = Listing(self._store, "")
        scanned = scan_camvid(listing)
        self.splits: Mapping[str, Sequence[CamvidRef]] = held_out(scanned.splits, share=holdout_share)
        self.problems: Sequence[str] = tuple(scanned.problems)
        self.notes: Sequence[str] = tuple(scanned.notes)
        kinds = sorted({ref.mask_kind for refs in self.splits.values() for ref in refs})
        self._tables = {kind: _table(kind, listing, label_space) for kind in kinds}

    @property
    def settings(self) -> str:
        """The classes, and what the masks' values mean."""
        return repr((self.label_space.to_json(), [(kind, table.settings) for kind, table in self._tables.items()]))

    def files(self, ref: CamvidRef) -> tuple[File, File, MaskTable | ColorTable]:
        """Frame and mask of a pair, and what the mask's values mean."""
        return (self._store, ref.image_key), (self._store, ref.mask_key), self._tables[ref.mask_kind]

    def digest(self, ref: CamvidRef) -> str:
        """sha256 (hex) over both files of a pair, and what kind of mask it is."""
        image, mask, _ = self.files(ref)
        return digest_files(image, mask, also=ref.mask_kind)

    def check(self, ref: CamvidRef) -> list[str]:
        """What is wrong with a pair; empty if `read` will return it."""
        return check_pair(*self.files(ref))

    def read(self, ref: CamvidRef) -> tuple[np.ndarray, np.ndarray]:
        """image_HW3 (uint8 RGB) and mask_HW (uint8). Raises DataError naming the file."""
        return read_pair(*self.files(ref))


def _table(kind: MaskKind, listing: Listing, label_space: LabelSpace) -> MaskTable | ColorTable:
    if kind == "ids of 11":
        return segnet_table(label_space, origin=listing.place())
    if kind == "ids of codes.txt":
        return codes_table(listing, CODES_FILE, label_space)
    return color_table(listing, label_space)
