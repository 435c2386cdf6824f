"""Label spaces: the classes of a dataset, their colours, and the tables that lead from raw ids and names to them.

Stored masks hold 0..K-1 and 255 for pixels that nobody labelled. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from roadbed.errors import DataError

IGNORE_ID = 255
Color = tuple[int, int, int]


@dataclass(frozen=True)
class LabelClass:
    """One class: its name and its colour in pictures, RGB 0..255."""

    name: str
    color: Color


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a dataset in id order, and the id of pixels that nobody labelled."""

    name: str
    classes: tuple[LabelClass, ...]
    ignore_id: int = IGNORE_ID

    def __post_init__(self) -> None:
        names = [label_class.name for label_class in self.classes]
        if not 1 <= len(names) <= IGNORE_ID or len(set(names)) != len(names):
            raise ValueError(
                f"label space {self.name}: expected 1 to {IGNORE_ID} classes of different names, found {names}"
            )
        if not len(names) <= self.ignore_id <= IGNORE_ID:
            raise ValueError(
                f"label space {self.name}: ignore_id {self.ignore_id} is not within {len(names)}..{IGNORE_ID}"
            )
        if any(not 0 <= value <= 255 for label_class in self.classes for value in label_class.color):
            raise ValueError(f"label space {self.name}: colours are three numbers within 0..255")

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in id order."""
        return tuple(label_class.name for label_class in self.classes)

    @cached_property
    def palette_N3(self) -> np.ndarray:  # noqa: N802
        """Colours by id, uint8 (256, 3), RGB; ids that are no class are black."""
        palette_N3 = np.zeros((256, 3), np.uint8)
        palette_N3[: self.num_classes] = [label_class.color for label_class in self.classes]
        palette_N3.flags.writeable = False
        return palette_N3

    def colorize(self, mask_HW: np.ndarray) -> np.ndarray:
        """A mask of ids as a uint8 RGB picture (H, W, 3); ignored pixels are black."""
        return np.asarray(self.palette_N3[mask_HW])

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> LabelSpace:
        """The label space that `to_json` wrote. Raises DataError that says what is wrong."""
        try:
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(str(part) for part in ("label_space", *fault["loc"]))
            raise DataError(f"{where}: {fault['msg']}") from None


def _space(name: str, colors: Mapping[str, Color]) -> LabelSpace:
    return LabelSpace(name, tuple(LabelClass(class_name, color) for class_name, color in colors.items()))


# The 32 names and colours of CamVid's label_colors.txt, Void included (Brostow et al., Pattern Recognition Letters,
# 2009; http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/).
CAMVID_COLORS: Mapping[str, Color] = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    "Void": (0, 0, 0),
    "Wall": (64, 192, 0),
}

# Ids and colours of SegNet's CamVid (Badrinarayanan et al., PAMI 2017); raw id 11 is "unlabelled".
CAMVID_11 = _space(
    "camvid-11",
    {
        "Sky": (128, 128, 128),
        "Building": (128, 0, 0),
        "Pole": (192, 192, 128),
        "Road": (128, 64, 128),
        "Pavement": (60, 40, 222),
        "Tree": (128, 128, 0),
        "SignSymbol": (192, 128, 128),
        "Fence": (64, 64, 128),
        "Car": (64, 0, 128),
        "Pedestrian": (64, 64, 0),
        "Bicyclist": (0, 128, 192),
    },
)

# Void is no class to learn: of the 32 names 31 have ids, and Void is ignored.
CAMVID_32 = _space("camvid-32", {name: color for name, color in CAMVID_COLORS.items() if name != "Void"})

# What SegNet's own masks make of the 32 names; a name that is not here is ignored.
CAMVID_32_TO_11: Mapping[str, str] = {
    "Sky": "Sky",
    "Building": "Building",
    "Wall": "Building",
    "Column_Pole": "Pole",
    "Road": "Road",
    "LaneMkgsDriv": "Road",
    "LaneMkgsNonDriv": "Road",
    "RoadShoulder": "Road",
    "Sidewalk": "Pavement",
    "ParkingBlock": "Pavement",
    "Tree": "Tree",
    "VegetationMisc": "Tree",
    "SignSymbol": "SignSymbol",
    "Misc_Text": "SignSymbol",
    "TrafficLight": "SignSymbol",
    "Fence": "Fence",
    "Car": "Car",
    "SUVPickupTruck": "Car",
    "Truck_Bus": "Car",
    "Pedestrian": "Pedestrian",
    "Bicyclist": "Bicyclist",
    "MotorcycleScooter": "Bicyclist",
}


def camvid_ids(label_space: LabelSpace) -> dict[str, int]:
    """The id of each of the 32 CamVid names in CAMVID_11 or CAMVID_32; the ignore id where it has none."""
    ids = {name: index for index, name in enumerate(label_space.class_names)}
    if label_space == CAMVID_32:
        return {name: ids.get(name, label_space.ignore_id) for name in CAMVID_COLORS}
    if label_space == CAMVID_11:
        return {name: ids.get(CAMVID_32_TO_11.get(name, ""), label_space.ignore_id) for name in CAMVID_COLORS}
    raise ValueError(f"{label_space.name} is not a label space of CamVid")


# Raw label id, name and colour, as cityscapesScripts has them (helpers/labels.py). Ids 0..3 and -1 are no classes.
_CITYSCAPES: tuple[tuple[int, str, Color], ...] = (
    (4, "static", (0, 0, 0)),
    (5, "dynamic", (111, 74, 0)),
    (6, "ground", (81, 0, 81)),
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (9, "parking", (250, 170, 160)),
    (10, "rail track", (230, 150, 140)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (14, "guard rail", (180, 165, 180)),
    (15, "bridge", (150, 100, 100)),
    (16, "tunnel", (150, 120, 90)),
    (17, "pole", (153, 153, 153)),
    (18, "polegroup", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (29, "caravan", (0, 0, 90)),
    (30, "trailer", (0, 0, 110)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
_CITYSCAPES_NOT_EVALUATED = frozenset({4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30})
_CITYSCAPES_EVALUATED = tuple(row for row in _CITYSCAPES if row[0] not in _CITYSCAPES_NOT_EVALUATED)

CITYSCAPES_30 = _space("cityscapes-30", {name: color for _, name, color in _CITYSCAPES})
CITYSCAPES_19 = _space("cityscapes-19", {name: color for _, name, color in _CITYSCAPES_EVALUATED})


# Every labelIds value that occurs, with its name; 0..3 are no classes.
CITYSCAPES_RAW_NAMES: Mapping[int, str] = {
    **dict(enumerate(("unlabeled", "ego vehicle", "rectification border", "out of roi"))),
    **{raw_id: name for raw_id, name, _ in _CITYSCAPES},
}


def _table(rows: tuple[tuple[int, str, Color], ...]) -> np.ndarray:
    table_N = np.full(256, IGNORE_ID, np.uint8)
    table_N[[raw_id for raw_id, _, _ in rows]] = np.arange(len(rows))
    table_N.flags.writeable = False
    return table_N


# mask = TABLE[labelIds]: uint8 (256,); all other raw ids (0..3, and 255 for -1) are ignored.
CITYSCAPES_RAW_TO_30 = _table(_CITYSCAPES)
CITYSCAPES_RAW_TO_19 = _table(_CITYSCAPES_EVALUATED)

LABEL_SPACES: Mapping[str, LabelSpace] = {
    space.name: space for space in (CAMVID_11, CAMVID_32, CITYSCAPES_19, CITYSCAPES_30)
}
