"""A painted town as a source: road scenes with exact masks, without any download, in any number and size.

Sample i of a split is a function of (seed, split, i) alone. `paint_folder` writes the same samples in the
arrangements of the other sources, for tests and for those who want files.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from roadbed.data.labels import CAMVID_11, CAMVID_COLORS, LabelSpace, camvid_ids
from roadbed.data.sources import SampleRef
from roadbed.data.sources.painted_layouts import paint_cityscapes, paint_original, paint_plain, paint_segnet
from roadbed.data.sources.town.scene import paint_town
from roadbed.errors import UsageError

# Another number whenever the same seed gives another picture.
PAINTER = 1
DEFAULT_NUM_SAMPLES: Mapping[str, int] = {"train": 200, "val": 40}
DEFAULT_SIZE_PX = (360, 480)
SMALLEST_PX, LARGEST_PX = 64, 4096

Arrangement = Literal["segnet", "original", "cityscapes", "folder"]
SIZES_PX: Mapping[Arrangement, tuple[int, int]] = {
    "segnet": DEFAULT_SIZE_PX,
    "original": (720, 960),
    "cityscapes": (1024, 2048),
    "folder": DEFAULT_SIZE_PX,
}


@dataclass(frozen=True, slots=True)
class PaintedRef(SampleRef):
    """Sample `number` of a split."""

    split: str
    number: int


class PaintedSource:
    """`num_samples` frames per split, each of `size_px` (height, width), with the classes of CamVid.

    Raises UsageError for counts and sizes that cannot be painted.
    """

    kind = "painted"
    problems: Sequence[str] = ()

    def __init__(
        self,
        num_samples: Mapping[str, int] = DEFAULT_NUM_SAMPLES,
        *,
        seed: int = 0,
        size_px: tuple[int, int] = DEFAULT_SIZE_PX,
        label_space: LabelSpace = CAMVID_11,
    ) -> None:
        _check(num_samples, seed, size_px)
        self.label_space = label_space
        self.splits: Mapping[str, Sequence[PaintedRef]] = {
            split: [PaintedRef(f"{split}_{number:06d}", split, number) for number in range(count)]
            for split, count in num_samples.items()
        }
        self._seed = seed
        self._size_px = size_px
        self._ids_256 = np.full(256, label_space.ignore_id, np.uint8)
        self._ids_256[: len(CAMVID_COLORS)] = list(camvid_ids(label_space).values())

    @property
    def settings(self) -> str:
        """The painter's version and what it was asked for."""
        return repr((PAINTER, self._seed, self._size_px))

    def digest(self, ref: PaintedRef) -> str:
        """sha256 of the sample's place: with the settings, a picture is a function of it."""
        return hashlib.sha256(f"{ref.split}/{ref.number}".encode()).hexdigest()

    def check(self, ref: PaintedRef) -> list[str]:
        """Nothing can be wrong with what is painted."""
        return []

    def read(self, ref: PaintedRef) -> tuple[np.ndarray, np.ndarray]:
        """image_HW3 (uint8 RGB) and mask_HW (uint8)."""
        image_HW3, raw_HW = self.read_raw(ref)
        return image_HW3, self._ids_256[raw_HW]

    def read_raw(self, ref: PaintedRef) -> tuple[np.ndarray, np.ndarray]:
        """The frame, and its mask as places in CAMVID_COLORS."""
        return paint_town((self._seed, zlib.crc32(ref.split.encode()), ref.number), *self._size_px)


def paint_folder(
    folder: Path,
    num_samples: Mapping[str, int] = DEFAULT_NUM_SAMPLES,
    *,
    arrangement: Arrangement = "segnet",
    seed: int = 0,
    size_px: tuple[int, int] | None = None,
    with_train_ids: bool = False,
) -> None:
    """Write painted frames and masks below `folder` as PNG files, as one of the sources reads them.

    "segnet" and "original" are CamVid's arrangements (480x360 and 960x720), "cityscapes" is that of Cityscapes
    (2048x1024; labelIds, and labelTrainIds with `with_train_ids`; splits train, val and test), "folder" is images/,
    masks/ and classes.yaml (480x360). Another `size_px` (height, width) can be asked for.
    """
    source = PaintedSource(num_samples, seed=seed, size_px=size_px or SIZES_PX[arrangement])
    if arrangement == "segnet":
        paint_segnet(folder, source)
    elif arrangement == "original":
        paint_original(folder, source)
    elif arrangement == "cityscapes":
        paint_cityscapes(folder, source, with_train_ids=with_train_ids)
    else:
        paint_plain(folder, source)


def _check(num_samples: Mapping[str, int], seed: int, size_px: tuple[int, int]) -> None:
    if any(count < 0 for count in num_samples.values()) or not num_samples.get("train"):
        counts = ", ".join(f"{split} {count}" for split, count in num_samples.items())
        raise UsageError(f"a painted dataset needs 1 or more train frames and no negative counts, asked for {counts}")
    if seed < 0:
        raise UsageError(f"a seed is 0 or more, found {seed}")
    height_px, width_px = size_px
    if not (SMALLEST_PX <= height_px <= LARGEST_PX and SMALLEST_PX <= width_px <= LARGEST_PX):
        raise UsageError(
            f"frames of {width_px}x{height_px} cannot be painted: both sides must be within {SMALLEST_PX}..{LARGEST_PX}"
        )
