"""Label spaces: ids, colours, and the tables from raw ids and names."""

from __future__ import annotations

import numpy as np
import pytest

from roadbed.data.labels import (
    CAMVID_11,
    CAMVID_32,
    CAMVID_32_TO_11,
    CAMVID_COLORS,
    CITYSCAPES_19,
    CITYSCAPES_30,
    CITYSCAPES_RAW_TO_19,
    CITYSCAPES_RAW_TO_30,
    LABEL_SPACES,
    LabelClass,
    LabelSpace,
    camvid_ids,
)
from roadbed.errors import DataError


def test_the_spaces_have_the_classes_that_their_names_say():
    names = "Sky Building Pole Road Pavement Tree SignSymbol Fence Car Pedestrian Bicyclist"
    assert " ".join(CAMVID_11.class_names) == names
    assert len(CAMVID_COLORS) == 32
    assert CAMVID_32.num_classes == 31
    assert "Void" not in CAMVID_32.class_names
    assert (CITYSCAPES_19.num_classes, CITYSCAPES_30.num_classes) == (19, 30)
    assert set(LABEL_SPACES) == {"camvid-11", "camvid-32", "cityscapes-19", "cityscapes-30"}
    assert all(space.ignore_id == 255 for space in LABEL_SPACES.values())


def test_colorize_gives_class_colours_and_black_for_ignored():
    mask_HW = np.array([[3, 10], [255, 0]], np.uint8)
    expected = [[[128, 64, 128], [0, 128, 192]], [[0, 0, 0], [128, 128, 128]]]
    assert CAMVID_11.colorize(mask_HW).tolist() == expected
    assert CAMVID_11.palette_N3.shape == (256, 3)
    assert CAMVID_11.palette_N3.dtype == np.uint8


@pytest.mark.parametrize("space", LABEL_SPACES.values(), ids=lambda space: space.name)
def test_json_gives_the_same_space_back(space):
    assert LabelSpace.from_json(space.to_json()) == space


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": []}, "expected 1 to 255 classes"),
        ({"classes": [{"name": "Sky", "color": [1, 2, 3]}] * 2}, "different names"),
        ({"classes": [{"name": "Sky", "color": [1, 2, 300]}]}, "0..255"),
        ({"classes": [{"name": "Sky"}]}, "label_space.classes.0.color"),
        ({"ignore_id": 3}, "ignore_id 3"),
    ],
)
def test_from_json_says_what_is_wrong(change, words):
    with pytest.raises(DataError, match="label_space") as caught:
        LabelSpace.from_json(CAMVID_11.to_json() | change)
    assert words in str(caught.value)


def test_a_space_of_doubled_names_is_refused():
    with pytest.raises(ValueError, match="different names"):
        LabelSpace("x", (LabelClass("Sky", (0, 0, 0)), LabelClass("Sky", (1, 1, 1))))


def test_camvid_32_to_11_is_the_table_of_segnet():
    ids = camvid_ids(CAMVID_11)
    by_class = {name: {raw for raw, index in ids.items() if index == i} for i, name in enumerate(CAMVID_11.class_names)}
    assert by_class == {
        "Sky": {"Sky"},
        "Building": {"Building", "Wall"},
        "Pole": {"Column_Pole"},
        "Road": {"Road", "LaneMkgsDriv", "LaneMkgsNonDriv", "RoadShoulder"},
        "Pavement": {"Sidewalk", "ParkingBlock"},
        "Tree": {"Tree", "VegetationMisc"},
        "SignSymbol": {"SignSymbol", "Misc_Text", "TrafficLight"},
        "Fence": {"Fence"},
        "Car": {"Car", "SUVPickupTruck", "Truck_Bus"},
        "Pedestrian": {"Pedestrian"},
        "Bicyclist": {"Bicyclist", "MotorcycleScooter"},
    }
    assert {name for name, index in ids.items() if index == 255} == CAMVID_COLORS.keys() - CAMVID_32_TO_11.keys()


def test_camvid_32_ignores_void_alone():
    ids = camvid_ids(CAMVID_32)
    assert [name for name, index in ids.items() if index == 255] == ["Void"]
    assert sorted(ids.values()) == [*range(31), 255]


def test_another_space_is_no_space_of_camvid():
    with pytest.raises(ValueError, match="cityscapes-19"):
        camvid_ids(CITYSCAPES_19)


def test_cityscapes_tables_lead_from_raw_ids_to_train_ids():
    expected = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13}
    expected |= {27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    assert {raw: int(index) for raw, index in enumerate(CITYSCAPES_RAW_TO_19) if index != 255} == expected
    assert CITYSCAPES_19.class_names[13] == "car"
    assert CITYSCAPES_RAW_TO_30[4:34].tolist() == list(range(30))
    assert set(CITYSCAPES_RAW_TO_30[:4].tolist()) == {255}
    assert CITYSCAPES_30.class_names[CITYSCAPES_RAW_TO_30[33]] == "bicycle"
