"""CamVid as a source, in all the arrangements of camvid_folders.py.

Dataset page: http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/ (Brostow, Fauqueur and Cipolla, 2009).
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from roadbed.data.labels import CAMVID_11, LabelSpace
from roadbed.data.sources.camvid_folders import CamvidRef, scan_camvid
from roadbed.data.sources.camvid_masks import UNKNOWN_ID, ColorTable, MaskTable, codes_table, color_table, segnet_table
from roadbed.errors import DataError

# What Pillow raises for files that are cut short, damaged, or something else.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


class CamvidSource:
    """CamVid under `folder`, with the classes of `label_space` (CAMVID_11 or CAMVID_32).

    Raises DataError if the folder is not CamVid, or its masks do not have these classes.
    """

    kind = "camvid"

    def __init__(self, folder: Path, *, label_space: LabelSpace = CAMVID_11) -> None:
        self.label_space = label_space
        scanned = scan_camvid(folder)
        self.splits: Mapping[str, Sequence[CamvidRef]] = scanned.splits
        self.problems: Sequence[str] = tuple(scanned.problems)
        self._tables: dict[str, MaskTable | ColorTable] = {}
        for kind in sorted({ref.mask_kind for refs in self.splits.values() for ref in refs}):
            if kind == "ids of 11":
                self._tables[kind] = segnet_table(label_space, origin=folder)
            elif kind == "ids of codes.txt":
                self._tables[kind] = codes_table(folder / "codes.txt", label_space)
            else:
                self._tables[kind] = color_table(folder, label_space)

    def check(self, ref: CamvidRef) -> list[str]:
        """What is wrong with a pair; empty if `read` will return it."""
        problems = []
        sizes = []
        for read in (self._read_image, self._read_mask):
            try:
                sizes.append(read(ref).shape[:2])
            except DataError as error:
                problems.append(str(error))
        if len(sizes) == 2 and sizes[0] != sizes[1]:
            problems.append(_size_mismatch(ref, *sizes))
        return problems

    def read(self, ref: CamvidRef) -> tuple[np.ndarray, np.ndarray]:
        """image_HW3 (uint8 RGB) and mask_HW (uint8). Raises DataError naming the file."""
        image_HW3, mask_HW = self._read_image(ref), self._read_mask(ref)
        if image_HW3.shape[:2] != mask_HW.shape:
            raise DataError(_size_mismatch(ref, image_HW3.shape[:2], mask_HW.shape))
        return image_HW3, mask_HW

    def fingerprint(self) -> str:
        """sha256 over names, contents and classes; where the folder lies plays no part."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"camvid/1 {self.label_space.to_json()}".encode())
        for name, table in self._tables.items():
            digest.update(name.encode() + table.digest())
        for split, refs in sorted(self.splits.items()):
            for ref in refs:
                digest.update(f"\n{split} {ref.key} {ref.mask_kind} ".encode())
                for path in (ref.image_path, ref.mask_path):
                    with path.open("rb") as file:
                        digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def _read_image(self, ref: CamvidRef) -> np.ndarray:
        image = _open(ref.image_path)
        if image.mode != "RGB":
            raise DataError(f"{ref.image_path}: a frame must be 8-bit RGB, this one has mode {image.mode}")
        return np.asarray(image)

    def _read_mask(self, ref: CamvidRef) -> np.ndarray:
        image = _open(ref.mask_path)
        table = self._tables[ref.mask_kind]
        if isinstance(table, ColorTable):
            if image.mode not in ("RGB", "P"):
                raise DataError(f"{ref.mask_path}: expected a mask of RGB colours, this one has mode {image.mode}")
            raw = np.asarray(image.convert("RGB"))
        else:
            if image.mode not in ("L", "P"):
                raise DataError(
                    f"{ref.mask_path}: expected a mask of class ids (grey or palette), this one has mode {image.mode}; "
                    "colour masks belong in train_labels/, val_labels/ or LabeledApproved_full/"
                )
            raw = np.asarray(image)
        mask_HW = table.map(raw)
        if (mask_HW == UNKNOWN_ID).any():
            raise DataError(f"{ref.mask_path}: {table.describe_unknown(raw, mask_HW)}")
        return mask_HW


def _open(path: Path) -> Image.Image:
    """A decoded image. Raises DataError if the file is not one, or not a whole one."""
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise DataError(f"{path}: the file has vanished; run the preparation again") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image ({path.stat().st_size} bytes); fetch it again") from None
    except UNREADABLE as error:
        num_bytes = path.stat().st_size
        raise DataError(f"{path}: cannot be read as an image ({num_bytes} bytes; {error}); fetch it again") from None


def _size_mismatch(ref: CamvidRef, image_shape: tuple[int, ...], mask_shape: tuple[int, ...]) -> str:
    (image_height, image_width), (mask_height, mask_width) = image_shape, mask_shape
    return (
        f"{ref.mask_path}: the mask is {mask_width}x{mask_height}, "
        f"its frame {ref.image_path.name} is {image_width}x{image_height}"
    )
