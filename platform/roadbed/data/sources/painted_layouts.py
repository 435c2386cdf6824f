"""The painted town as files, in the arrangements that the other sources read. Writes PNG below a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roadbed.data.encoding import encode_image, encode_mask
from roadbed.data.labels import CAMVID_COLORS, CITYSCAPES_RAW_TO_19

if TYPE_CHECKING:
    from roadbed.data.sources.painted import PaintedSource

UNLABELLED_ID = 11
CITIES: Mapping[str, tuple[str, ...]] = {
    "train": ("aachen", "bochum", "zurich"),
    "val": ("frankfurt", "munster"),
    "test": ("berlin", "bonn"),
}
# Cityscapes' labelIds of what the painter paints, by CamVid's names; 0 (unlabeled) for all others.
CITYSCAPES_IDS: Mapping[str, int] = {
    "Road": 7,
    "LaneMkgsDriv": 7,
    "LaneMkgsNonDriv": 7,
    "RoadShoulder": 6,
    "Sidewalk": 8,
    "ParkingBlock": 9,
    "Building": 11,
    "Archway": 11,
    "Wall": 12,
    "Fence": 13,
    "Bridge": 15,
    "Tunnel": 16,
    "Column_Pole": 17,
    "TrafficLight": 19,
    "SignSymbol": 20,
    "Misc_Text": 20,
    "Tree": 21,
    "VegetationMisc": 21,
    "Sky": 23,
    "Pedestrian": 24,
    "Child": 24,
    "Bicyclist": 25,
    "Car": 26,
    "SUVPickupTruck": 26,
    "Truck_Bus": 27,
    "Train": 31,
    "MotorcycleScooter": 32,
}


def paint_segnet(folder: Path, source: PaintedSource) -> None:
    """SegNet's CamVid: frames and masks of ids, in folders per split."""
    for split, refs in source.splits.items():
        for ref in refs:
            image_HW3, mask_HW = source.read(ref)
            mask_HW = np.where(mask_HW == source.label_space.ignore_id, np.uint8(UNLABELLED_ID), mask_HW)
            _write(folder / split / f"{ref.key}.png", encode_image(image_HW3, encoding="png"))
            _write(folder / f"{split}annot" / f"{ref.key}.png", encode_mask(mask_HW))


def paint_original(folder: Path, source: PaintedSource) -> None:
    """The original CamVid: masks of 32 colours, label_colors.txt and a list of names per split."""
    palette_N3 = np.array(list(CAMVID_COLORS.values()), np.uint8)
    lines = [f"{red} {green} {blue}\t{name}\n" for name, (red, green, blue) in CAMVID_COLORS.items()]
    _write(folder / "label_colors.txt", "".join(lines).encode())
    for split, refs in source.splits.items():
        _write(folder / f"{split}.txt", "".join(f"{ref.key}.png\n" for ref in refs).encode())
        for ref in refs:
            image_HW3, raw_HW = source.read_raw(ref)
            mask = encode_image(palette_N3[raw_HW], encoding="png")
            _write(folder / "701_StillsRaw_full" / f"{ref.key}.png", encode_image(image_HW3, encoding="png"))
            _write(folder / "LabeledApproved_full" / f"{ref.key}_L.png", mask)


def paint_cityscapes(folder: Path, source: PaintedSource, *, with_train_ids: bool) -> None:
    """Cityscapes: frames dealt to the cities of their split in turn, masks of labelIds, and of train ids if asked for.

    Frame N of a split is CITY_000000_NNNNNN; the ids are those of CITYSCAPES_IDS.
    """
    ids_N = np.array([CITYSCAPES_IDS.get(name, 0) for name in CAMVID_COLORS], np.uint8)
    for split, refs in source.splits.items():
        for ref in refs:
            city = CITIES[split][ref.number % len(CITIES[split])]
            name = f"{city}_000000_{ref.number:06d}"
            image_HW3, raw_HW = source.read_raw(ref)
            masks = folder / "gtFine" / split / city
            frame = folder / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png"
            _write(frame, encode_image(image_HW3, encoding="png"))
            _write(masks / f"{name}_gtFine_labelIds.png", encode_mask(ids_N[raw_HW]))
            if with_train_ids:
                mask = encode_mask(CITYSCAPES_RAW_TO_19[ids_N[raw_HW]])
                _write(masks / f"{name}_gtFine_labelTrainIds.png", mask)


def paint_plain(folder: Path, source: PaintedSource) -> None:
    """images/SPLIT/NAME.png, masks/SPLIT/NAME.png with ids (255: ignored), and classes.yaml."""
    lines = [f"  - {{name: {c.name}, color: {list(c.color)}}}\n" for c in source.label_space.classes]
    _write(folder / "classes.yaml", f"name: painted\nmasks: ids\nclasses:\n{''.join(lines)}".encode())
    for split, refs in source.splits.items():
        for ref in refs:
            image_HW3, mask_HW = source.read(ref)
            _write(folder / "images" / split / f"{ref.key}.png", encode_image(image_HW3, encoding="png"))
            _write(folder / "masks" / split / f"{ref.key}.png", encode_mask(mask_HW))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
