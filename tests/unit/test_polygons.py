"""Masks drawn from the polygons of labelme, CVAT and COCO's kind."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from own_folders import classes, frames, names, opened
from roadbed.data.doctor.recognise import recognise
from roadbed.data.proposal.propose import Wishes, propose
from roadbed.errors import DataError, UsageError


def labelme(path: Path, *shapes: dict, size_px: tuple[int, int] = (60, 80)) -> None:
    values = {"shapes": shapes, "imageHeight": size_px[0], "imageWidth": size_px[1], "imagePath": f"{path.stem}.png"}
    path.write_text(json.dumps(values))


def shape(label: str, points: list, kind: str = "polygon", **more: object) -> dict:
    return {"label": label, "points": points, "shape_type": kind, **more}


def bitmap(height: int, width: int) -> str:
    stream = io.BytesIO()
    Image.fromarray(np.full((height, width), 255, np.uint8)).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def test_polygons_of_labelme(tmp_path):
    found = frames(tmp_path)
    for name in found:
        labelme(
            tmp_path / "images" / f"{name}.json",
            shape("road", [[0, 30], [79, 30], [79, 59], [0, 59]]),
            shape("car", [[10, 35], [19, 44]], "rectangle"),
            shape("sign", [[50, 10], [50, 15]], "circle"),
            shape("__ignore__", [[0, 0], [5, 0], [5, 5], [0, 5]]),
            shape("pole", [[70, 20], [73, 29]], "mask", mask=bitmap(10, 4)),
            shape("lane", [[0, 0], [9, 9]], "line"),
        )
    proposal = propose(tmp_path, Wishes(name="own"))
    assert proposal.written == ("masks/", "classes.yaml", "splits.txt", "train.yaml")
    assert names(tmp_path) == ["car", "pole", "road", "sign"]
    mask_HW = np.asarray(Image.open(tmp_path / "masks" / f"{found[0]}.png"))
    assert mask_HW.shape == (60, 80)
    assert (mask_HW[31:59, 20:] == 2).all()
    assert (mask_HW[35:45, 10:20] == 0).all()
    assert (mask_HW[34, 10:20] == 2).all()
    assert (mask_HW[20:30, 70:74] == 1).all()
    assert (mask_HW == 1).sum() == 40
    assert mask_HW[10, 50] == 3
    assert mask_HW[2, 2] == mask_HW[20, 20] == 255
    assert (mask_HW == 3).sum() == pytest.approx(np.pi * 25, rel=0.25)
    assert "shapes without an area, left out: 6 of line" in proposal.notes
    assert sum(len(refs) for refs in opened(proposal).splits.values()) == 6


def test_a_class_for_what_no_polygon_covers(tmp_path):
    for name in frames(tmp_path):
        labelme(tmp_path / "images" / f"{name}.json", shape("car", [[10, 35], [19, 44]], "rectangle"))
    propose(tmp_path, Wishes(name="own", rest="background"))
    assert names(tmp_path) == ["car", "background"]
    assert set(np.unique(np.asarray(Image.open(tmp_path / "masks" / "north_000.png")))) == {0, 1}
    with pytest.raises(UsageError, match=r"--rest other: .*masks holds masks already"):
        propose(tmp_path, Wishes(name="own", rest="other"))


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><labels>
<label><name>road</name><color>#804080</color></label><label><name>car</name><color>#00008e</color></label>
<label><name>void</name><color>#000000</color></label></labels></task></meta>
{images}</annotations>"""
IMAGE = """<image id="{number}" name="{name}.png" width="80" height="60">
<box label="car" xtl="10.0" ytl="35.0" xbr="19.0" ybr="44.0" z_order="1"></box>
<polygon label="road" points="0,30;79,30;79,59;0,59" z_order="0"></polygon>
<polyline label="road" points="0,30;79,30" z_order="0"></polyline>
<ellipse label="car" cx="40" cy="10" rx="6" ry="3" z_order="0"></ellipse>
<mask label="void" rle="2, 3, 1, 4" left="70" top="50" width="5" height="2" z_order="2"></mask>
</image>"""


def cvat(folder: Path, image: str = IMAGE) -> list[str]:
    found = frames(folder)
    images = "".join(image.format(number=number, name=name) for number, name in enumerate(found))
    (folder / "annotations.xml").write_text(CVAT.format(images=images))
    return found


def test_polygons_of_cvat(tmp_path):
    found = cvat(tmp_path)
    proposal = propose(tmp_path, Wishes(name="own"))
    assert [(entry.name, entry.color) for entry in classes(tmp_path).classes] == [
        ("road", (128, 64, 128)),
        ("car", (0, 0, 142)),
    ]
    mask_HW = np.asarray(Image.open(tmp_path / "masks" / f"{found[-1]}.png"))
    assert (mask_HW[35:45, 10:20] == 1).all()
    assert mask_HW[10, 40] == 1
    assert mask_HW[50, 70:75].tolist() == [0, 0, 255, 255, 255]
    assert mask_HW[51, 70:75].tolist() == [0, 255, 255, 255, 255]
    assert mask_HW[5, 5] == 255
    assert "shapes without an area, left out: 6 of polyline" in proposal.notes
    assert "masks/: 6 masks drawn from annotations.xml; what no shape covers is ignored" in proposal.notes


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0,30;79,30;79,59;0,59", "0,30;79,30", "a polygon of road has 2 points"),
        ('ybr="44.0"', 'ybr="44.0" rotation="30.0"', "a box of car is turned; draw it as a polygon"),
        ('ry="3"', 'ry="3" rotation="30.0"', "an ellipse of car is turned; draw it as a polygon"),
        ("2, 3, 1, 4", "2, 3, 1", "a mask of void has runs of 6 pixels for 5x2"),
        ('width="80"', "", "KeyError 'width'"),
    ],
)
def test_shapes_of_cvat_that_cannot_be_meant(tmp_path, old, new, said):
    cvat(tmp_path, IMAGE.replace(old, new))
    with pytest.raises(DataError, match=rf"annotations.xml: image north_000.png: .*{said}"):
        propose(tmp_path)


def test_files_of_cvat_that_cannot_be_read(tmp_path):
    cvat(tmp_path)
    path = tmp_path / "annotations.xml"
    text = path.read_text()
    path.write_text(text[:-20])
    with pytest.raises(DataError, match="not XML"):
        propose(tmp_path)
    path.write_text(text.replace("<annotations>", "<!DOCTYPE a><annotations>"))
    with pytest.raises(DataError, match="holds a DOCTYPE, which CVAT does not write"):
        propose(tmp_path)
    path.write_text(CVAT.format(images=""))
    with pytest.raises(DataError, match=r'no frame in it; export as "CVAT for images 1\.1"'):
        propose(tmp_path)
    path.write_text(text.replace("north_000.png", "../north_000.png"))
    with pytest.raises(DataError, match=r"the frame ../north_000 lies outside of the folder"):
        propose(tmp_path)
    path.write_text(text.replace("north_000.png", "north_001.png"))
    with pytest.raises(DataError, match="two drawings of the frame north_001; keep one of them"):
        propose(tmp_path)
    path.write_text(
        CVAT.format(images='<image name="north_000.png" width="8" height="6"></image>').replace("label>", "l>")
    )
    with pytest.raises(DataError, match="0 labels in its polygons"):
        propose(tmp_path)


@pytest.mark.parametrize(
    ("faulty", "said"),
    [
        (shape("road", [[0, 0], [1, 1]]), r"shape 1 \(road\) is a polygon of 2 points"),
        (shape("road", [[0, 0]], "rectangle"), r"shape 1 \(road\) is a rectangle of 1 points"),
        (shape("road", [[0, 0], [3, 3]], "mask", mask="?"), "shape 1: its mask is no PNG in base64"),
        (shape("", [[0, 0]]), "shapes.0.label: String should have at least 1 character"),
    ],
)
def test_shapes_of_labelme_that_cannot_be_meant(tmp_path, faulty, said):
    for name in frames(tmp_path):
        labelme(tmp_path / "images" / f"{name}.json", faulty)
    with pytest.raises(DataError, match=rf"north_000.json: {said}"):
        propose(tmp_path)


def test_the_doctor_takes_what_init_leaves(tmp_path):
    found = cvat(tmp_path)
    propose(tmp_path, Wishes(name="own", val_share=0.5))
    subject = recognise(str(tmp_path))
    assert subject.splits == {"train": 3, "val": 3}
    assert [pair.key for pair in subject.pairs if pair.split == "val"] in (found[:3], found[3:])
    assert "no-split" not in {fault.check for fault in subject.faults}


# COCO's kind.


def coco(folder: Path, *objects: dict, **more: object) -> list[str]:
    found = frames(folder)
    values = {
        "images": [{"id": n, "file_name": f"{name}.png", "height": 60, "width": 80} for n, name in enumerate(found)],
        "categories": [{"id": 7, "name": "road"}, {"id": 3, "name": "car"}],
        "annotations": [{"image_id": n, **one} for n in range(len(found)) for one in objects],
    }
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances.json").write_text(json.dumps(values | more))
    return found


CAR = {
    "category_id": 3,
    "segmentation": [[10, 35, 19, 35, 19, 44, 10, 44], [30, 35, 33, 35, 33, 38, 30, 38]],
    "area": 116,
}
ROAD = {"category_id": 7, "segmentation": [[0, 30, 79, 30, 79, 59, 0, 59]], "area": 2400}


def test_polygons_of_cocos_kind(tmp_path):
    runs = {"category_id": 3, "segmentation": {"counts": [60 * 70 + 10, 5, 60 * 10 - 15], "size": [60, 80]}, "area": 5}
    found = coco(tmp_path, CAR, ROAD, runs, {"category_id": 3, "segmentation": [], "area": 9})
    proposal = propose(tmp_path, Wishes(name="own"))
    assert names(tmp_path) == ["road", "car"]
    mask_HW = np.asarray(Image.open(tmp_path / "masks" / f"{found[2]}.png"))
    # The larger lies below, in whatever order they come.
    assert (mask_HW[35:45, 10:20] == 1).all()
    assert (mask_HW[35:39, 30:34] == 1).all()
    assert mask_HW[50, 50] == 0
    assert mask_HW[9:16, 70].tolist() == [255, 1, 1, 1, 1, 1, 255]
    assert "shapes without an area, left out: 6 of box" in proposal.notes
    assert "masks/: 6 masks drawn from annotations/instances.json; what no shape covers is ignored" in proposal.notes


@pytest.mark.parametrize(
    ("faulty", "said"),
    [
        ({**CAR, "category_id": 5}, "an annotation of image 0 and category 5, one of which the file does not have"),
        ({**CAR, "segmentation": [[1, 2, 3, 4]]}, "image 0: a polygon of car has no three points"),
        (
            {**CAR, "segmentation": {"counts": "abc", "size": [60, 80]}},
            "an outline in compressed runs",
        ),
        ({**CAR, "segmentation": {"counts": [3], "size": [60, 80]}}, "image 0: runs of 3 pixels for 80x60"),
        ({**CAR, "image_id": "first"}, r"annotations.0.image_id: Input should be a valid integer"),
    ],
)
def test_objects_of_coco_that_cannot_be_meant(tmp_path, faulty, said):
    coco(tmp_path, faulty)
    with pytest.raises(DataError, match=rf"instances.json: .*{said}"):
        propose(tmp_path)
