"""A painted town as a source: road scenes with exact masks, without any download, in any number and size.

Sample i of a split is a function of (seed, split, i) alone. `paint_folder` writes the same samples in CamVid's
arrangements, for tests and for those who want files.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from roadbed.data.encoding import encode_image, encode_mask
from roadbed.data.labels import CAMVID_11, CAMVID_COLORS, LabelSpace, camvid_ids
from roadbed.data.sources import SampleRef
from roadbed.data.sources.town.scene import paint_town
from roadbed.errors import UsageError

# Another number whenever the same seed gives another picture.
PAINTER = 1
DEFAULT_NUM_SAMPLES: Mapping[str, int] = {"train": 200, "val": 40}
DEFAULT_SIZE_PX = (360, 480)
SMALLEST_PX, LARGEST_PX = 64, 4096
UNLABELLED_ID = 11

Arrangement = Literal["segnet", "original"]


@dataclass(frozen=True)
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

    def fingerprint(self) -> str:
        """sha256 over the painter's version and everything that it was asked for."""
        counts = sorted((split, len(refs)) for split, refs in self.splits.items())
        asked = (PAINTER, self._seed, self._size_px, counts, self.label_space.to_json())
        return hashlib.sha256(repr(asked).encode()).hexdigest()


def paint_folder(
    folder: Path,
    num_samples: Mapping[str, int] = DEFAULT_NUM_SAMPLES,
    *,
    arrangement: Arrangement = "segnet",
    seed: int = 0,
    size_px: tuple[int, int] | None = None,
) -> None:
    """Write painted frames and masks below `folder` as PNG files, in one of CamVid's arrangements.

    "segnet" gives 480x360 frames and masks of ids, in folders per split; "original" gives 960x720 frames, masks of 32
    colours, label_colors.txt and a list of names per split. Another `size_px` (height, width) can be asked for.
    """
    if arrangement == "segnet":
        _paint_segnet(folder, PaintedSource(num_samples, seed=seed, size_px=size_px or DEFAULT_SIZE_PX))
    else:
        _paint_original(folder, PaintedSource(num_samples, seed=seed, size_px=size_px or (720, 960)))


def _paint_segnet(folder: Path, source: PaintedSource) -> None:
    for split, refs in source.splits.items():
        for name in (split, f"{split}annot"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for ref in refs:
            image_HW3, mask_HW = source.read(ref)
            mask_HW = np.where(mask_HW == source.label_space.ignore_id, np.uint8(UNLABELLED_ID), mask_HW)
            (folder / split / f"{ref.key}.png").write_bytes(encode_image(image_HW3, encoding="png"))
            (folder / f"{split}annot" / f"{ref.key}.png").write_bytes(encode_mask(mask_HW))


def _paint_original(folder: Path, source: PaintedSource) -> None:
    frames, masks = folder / "701_StillsRaw_full", folder / "LabeledApproved_full"
    for path in (frames, masks):
        path.mkdir(parents=True, exist_ok=True)
    palette_N3 = np.array(list(CAMVID_COLORS.values()), np.uint8)
    lines = [f"{red} {green} {blue}\t{name}" for name, (red, green, blue) in CAMVID_COLORS.items()]
    (folder / "label_colors.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
    for split, refs in source.splits.items():
        names = "".join(f"{ref.key}.png\n" for ref in refs)
        (folder / f"{split}.txt").write_text(names, encoding="ascii")
        for ref in refs:
            image_HW3, raw_HW = source.read_raw(ref)
            (frames / f"{ref.key}.png").write_bytes(encode_image(image_HW3, encoding="png"))
            (masks / f"{ref.key}_L.png").write_bytes(encode_image(palette_N3[raw_HW], encoding="png"))


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
