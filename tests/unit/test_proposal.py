"""`roadbed data init`: what it finds in folders of one's own, and what it writes."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roadbed.data.doctor import examine
from roadbed.data.doctor.recognise import FolderPlaces, recognise
from roadbed.data.label_lists import COCO_STUFF_NAMES, VOC_NAMES, voc_color
from roadbed.data.labels import CAMVID_11, CAMVID_COLORS
from roadbed.data.proposal.propose import Proposal, propose
from roadbed.data.sources.folder import FolderSource, read_split_file
from roadbed.data.sources.folder_classes import ClassesFile, parse_classes
from roadbed.data.sources.folder_splits import Splitting
from roadbed.data.sources.painted import paint_folder
from roadbed.errors import DataError, UsageError
from roadbed.spec import load_job


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("proposal")
    paint_folder(folder, {"train": 10, "val": 5}, arrangement="folder", size_px=(120, 160), seed=1)
    (folder / "classes.yaml").unlink()
    return folder


@pytest.fixture
def folder(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "My Roads"))


def classes(folder: Path) -> ClassesFile:
    return parse_classes((folder / "classes.yaml").read_text(), origin="classes.yaml")


def names(folder: Path) -> list[str]:
    return [entry.name for entry in classes(folder).classes]


def save(pixels: object, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def frames(folder: Path, num: int = 6, size_px: tuple[int, int] = (60, 80)) -> list[str]:
    """Frames of noise, of two drives; their names."""
    rng = np.random.default_rng(0)
    found = [f"{'north' if number < num // 2 else 'south'}_{number:03d}" for number in range(num)]
    for name in found:
        save(rng.integers(0, 255, (*size_px, 3)), folder / "images" / f"{name}.png")
    return found


def masks_of(folder: Path, values_HW: object, *, palette: np.ndarray | None = None, names: list[str]) -> None:
    for name in names:
        image = Image.fromarray(np.asarray(values_HW, np.uint8))
        if palette is not None:
            image.putpalette(palette.astype(np.uint8).ravel().tolist())
        (folder / "masks").mkdir(exist_ok=True)
        image.save(folder / "masks" / f"{name}.png")


def opened(proposal: Proposal) -> FolderSource:
    """The source that the proposed command of `data prepare` opens."""
    top, layout = proposal.top, proposal.layout
    splits = top / "splits.txt"
    splitting = Splitting(listed=read_split_file(str(splits))) if splits.exists() else None
    return FolderSource(
        top / layout.images, top / (layout.masks or ""), top / "classes.yaml", mask_suffix=layout.mask_suffix,
        splitting=splitting,
    )  # fmt: skip


# Ids and colours.


def test_ids_without_names(folder):
    proposal = propose(folder)
    assert proposal.written == ("classes.yaml", "train.yaml")
    assert names(folder) == [f"class_{number}" for number in range(11)]
    assert classes(folder).ignore.ids == (255,)
    assert any("nothing says them" in note for note in proposal.notes)
    assert "% of the pixels, in 15 masks" in (folder / "classes.yaml").read_text()
    source = opened(proposal)
    assert {split: len(refs) for split, refs in source.splits.items()} == {"train": 10, "val": 5}
    assert [line for refs in source.splits.values() for ref in refs for line in source.check(ref)] == []
    job = load_job(folder / "train.yaml", ())
    assert (job.name, job.data.uri) == ("my-roads", "s3://roadbed/datasets/my-roads")
    assert job.data.crop_px == (80, 112)
    assert job.output.register_as == "my-roads"


def test_what_is_there_is_left_as_it_is(folder):
    (folder / "classes.yaml").write_text("mine")
    (folder / "train.yaml").write_text("mine too")
    proposal = propose(folder)
    assert (proposal.written, proposal.kept) == ((), ("classes.yaml", "train.yaml"))
    assert (folder / "classes.yaml").read_text() == "mine"
    assert (folder / "train.yaml").read_text() == "mine too"
    assert not any("classes.yaml" in note for note in proposal.notes)


def test_the_proposal_pleases_the_doctor(folder):
    propose(folder)
    assert examine(recognise(str(folder))).findings == ()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("labels.txt", "".join(f"{name}\n" for name in CAMVID_11.class_names)),
        ("classes.txt", "".join(f"{number}: {name}\n" for number, name in enumerate(CAMVID_11.class_names))),
        ("codes.txt", "__ignore__\n" + "".join(f"{name}\n" for name in CAMVID_11.class_names)),
    ],
)
def test_ids_with_names_in_a_file(folder, file, text):
    (folder / file).write_text(text)
    proposal = propose(folder)
    assert names(folder) == list(CAMVID_11.class_names)
    assert f"classes.yaml: names are those of {file}" in proposal.notes


def test_names_that_yaml_takes_for_something_else(tmp_path):
    masks_of(tmp_path, [[0, 1], [2, 3]], names=frames(tmp_path))
    (tmp_path / "labels.txt").write_text("no\n17\nroad: wet\nVoid\n")
    propose(tmp_path, name="odd")
    assert names(tmp_path) == ["no", "17", "road: wet"]
    assert classes(tmp_path).ignore.ids == (3, 255)


def in_colours(folder: Path, colors: np.ndarray) -> None:
    for path in folder.glob("masks/*/*.png"):
        save(colors[np.asarray(Image.open(path))], path)


def camvid_colours() -> np.ndarray:
    return CAMVID_11.palette_N3.copy()


@pytest.mark.parametrize(
    ("file", "line", "head"),
    [
        ("labelmap.txt", "{name}:{0},{1},{2}::\n", "# label:color_rgb:parts:actions\n"),
        ("label_colors.txt", "{0} {1} {2}\t{name}\n", ""),
        ("class_dict.csv", "{name},{0},{1},{2}\n", "name,r,g,b\n"),
    ],
)
def test_colours_with_names_in_a_file(folder, file, line, head):
    in_colours(folder, camvid_colours())
    lines = "".join(line.format(*c.color, name=c.name) for c in CAMVID_11.classes)
    (folder / file).write_text(head + lines + line.format(0, 0, 0, name="Void"))
    proposal = propose(folder)
    assert names(folder) == list(CAMVID_11.class_names)
    assert classes(folder).kind == "colors"
    assert classes(folder).ignore.colors == ((0, 0, 0),)
    source = opened(proposal)
    assert [line for refs in source.splits.values() for ref in refs for line in source.check(ref)] == []


def test_colours_of_camvid(folder):
    palette = camvid_colours()
    palette[4] = CAMVID_COLORS["Sidewalk"]
    in_colours(folder, palette)
    proposal = propose(folder)
    assert names(folder) == [name for name in CAMVID_COLORS if name != "Void"]
    assert "classes.yaml: names are those of CamVid" in proposal.notes


def test_colours_that_nobody_knows(folder):
    palette = np.zeros((256, 3), np.uint8)
    palette[:11] = [(20 * number + 7, 9, 200) for number in range(11)]
    in_colours(folder, palette)
    image = np.asarray(Image.open(folder / "masks/train/train_000003.png")).copy()
    image[0, :5] = [(1, 2, number) for number in range(5)]
    save(image, folder / "masks/train/train_000003.png")
    proposal = propose(folder)
    assert sorted(names(folder)) == sorted(f"color_{20 * number + 7:02x}09c8" for number in range(11))
    notes = "\n".join(proposal.notes)
    assert "left out 5 colours" in notes or "left out 6 colours" in notes
    assert "nothing says them" in notes


def test_the_palette_of_pascal_voc(tmp_path):
    palette = np.array([voc_color(number) for number in range(256)])
    masks_of(tmp_path, [[0, 15, 255, 7]] * 4, palette=palette, names=frames(tmp_path))
    proposal = propose(tmp_path, name="voc")
    assert names(tmp_path) == list(VOC_NAMES)
    assert classes(tmp_path).classes[15].color == (192, 128, 128)
    assert classes(tmp_path).ignore.ids == (255,)
    assert any("Pascal VOC" in note for note in proposal.notes)


def test_colours_of_pascal_voc(tmp_path):
    colors = np.array([voc_color(number) for number in range(256)], np.uint8)
    masks_of(tmp_path, colors[[[0, 15, 255, 7]] * 4], names=frames(tmp_path))
    propose(tmp_path, name="voc")
    assert names(tmp_path) == list(VOC_NAMES)
    assert classes(tmp_path).ignore.colors == ((224, 224, 192),)


def test_the_numbers_of_coco_stuff(tmp_path):
    masks_of(tmp_path, [[0, 2, 9, 148, 156, 255, 181]] * 4, names=frames(tmp_path))
    proposal = propose(tmp_path, name="stuff")
    assert names(tmp_path) == ["person", "car", "traffic light", "road", "sky-other", "wood"]
    assert classes(tmp_path).classes[3].ids == (148,)
    assert any("COCO-Stuff" in note for note in proposal.notes)
    assert len(COCO_STUFF_NAMES) == 171


def test_a_palette_of_other_classes(tmp_path):
    palette = np.array([(number, 255 - number, 7) for number in range(256)])
    masks_of(tmp_path, [[0, 1, 2, 2]] * 4, palette=palette, names=frames(tmp_path))
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nroad:1,254,7::\nsky:2,253,7::\n")
    propose(tmp_path, name="own")
    assert [(e.name, e.color, e.ids) for e in classes(tmp_path).classes] == [
        ("road", (1, 254, 7), (1,)),
        ("sky", (2, 253, 7), (2,)),
        ("class_0", (0, 255, 7), (0,)),
    ]


def test_palettes_that_contradict_each_other_are_colours(tmp_path):
    found = frames(tmp_path)
    palette = np.array([(number, 255 - number, 7) for number in range(256)])
    masks_of(tmp_path, [[0, 1]] * 4, palette=palette, names=found[:3])
    masks_of(tmp_path, [[1, 0]] * 4, palette=palette[[1, 0, *range(2, 256)]], names=found[3:])
    propose(tmp_path, name="own")
    assert classes(tmp_path).kind == "colors"
    assert sorted(names(tmp_path)) == ["color_00ff07", "color_01fe07"]


def test_masks_of_0_and_255(tmp_path):
    masks_of(tmp_path, [[0, 255]] * 4, names=frames(tmp_path))
    proposal = propose(tmp_path, name="two")
    assert [(e.name, e.ids) for e in classes(tmp_path).classes] == [("background", (0,)), ("class_255", (255,))]
    assert classes(tmp_path).ignore.ids == ()
    assert any("0 and 255 alone" in note for note in proposal.notes)


def test_masks_that_cannot_be_used_are_told(tmp_path):
    found = frames(tmp_path)
    masks_of(tmp_path, [[0, 1]] * 4, names=found)
    (tmp_path / "masks" / f"{found[2]}.png").write_bytes(b"")
    save([[[1, 2, 3]]], tmp_path / "masks" / f"{found[3]}.png")
    (tmp_path / "masks" / f"{found[4]}.png").unlink()
    notes = "\n".join(propose(tmp_path, name="own").notes)
    assert f"masks that cannot be used: 2, the first {tmp_path}/masks/{found[2]}.png" in notes
    assert f"1 files have no partner, the first: {tmp_path}/images/{found[4]}.png" in notes


def test_no_mask_that_can_be_used(tmp_path):
    for name in frames(tmp_path):
        (tmp_path / "masks").mkdir(exist_ok=True)
        (tmp_path / "masks" / f"{name}.png").write_bytes(b"")
    with pytest.raises(DataError, match="neither this nor another mask can be read; export masks as PNG"):
        propose(tmp_path)


def test_masks_of_too_many_values(tmp_path):
    masks_of(tmp_path, np.arange(256).reshape(16, 16), names=frames(tmp_path))
    with pytest.raises(DataError, match="the masks hold 255 values that could be classes, at most 254 can be"):
        propose(tmp_path)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("labelmap.txt", "road:1,2\n"),
        ("label_colors.txt", "1 2 300 road\n"),
        ("class_dict.csv", "name,r,g,b\nroad,1,2,x9\nsky,1,2,3\n"),
    ],
)
def test_a_legend_that_cannot_be_read(folder, file, text):
    (folder / file).write_text(text)
    with pytest.raises(DataError, match=rf"{file}: line \d is '.*': expected a colour of three numbers within 0..255"):
        propose(folder)


# Layouts and splits.


def test_masks_beside_their_frames(tmp_path):
    for name in frames(tmp_path):
        (tmp_path / "images" / f"{name}.png").rename(tmp_path / f"{name}.png")
        save([[0, 1]] * 4, tmp_path / f"{name}_mask.png")
    (tmp_path / "images").rmdir()
    proposal = propose(tmp_path, name="own")
    assert (proposal.layout.images, proposal.layout.masks, proposal.layout.mask_suffix) == (".", ".", "_mask")
    assert "--mask-suffix _mask" in proposal.steps[1]
    assert sum(len(refs) for refs in opened(proposal).splits.values()) == 6


def test_whole_drives_are_held_out(tmp_path):
    found = frames(tmp_path)
    masks_of(tmp_path, [[0, 1]] * 4, names=found)
    proposal = propose(tmp_path, name="own", val_share=0.5)
    assert "splits.txt" in proposal.written
    lines = (tmp_path / "splits.txt").read_text().splitlines()
    splits = {tuple(sorted({line.split("_")[0].split()[1] for line in lines if line.startswith(split)}))
              for split in ("train", "val")}  # fmt: skip
    assert splits == {("north",), ("south",)}
    assert any(note.startswith("val: 1 of 2 sequences, 3 of 6 frames") for note in proposal.notes)


def test_lists_in_the_arrangement_of_pascal_voc(tmp_path):
    found = frames(tmp_path)
    masks_of(tmp_path, [[0, 1]] * 4, names=found)
    (tmp_path / "images").rename(tmp_path / "JPEGImages")
    (tmp_path / "masks").rename(tmp_path / "SegmentationClass")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("".join(f"{name}\n" for name in found[:5]))
    (lists / "val.txt").write_text(f"{found[5]}\n")
    proposal = propose(tmp_path, name="own")
    source = opened(proposal)
    assert {split: [ref.key for ref in refs] for split, refs in source.splits.items()} == {
        "train": found[:5],
        "val": found[5:],
    }
    assert "splits are those of the lists train.txt, val.txt" in proposal.notes


def test_what_holds_nothing(tmp_path):
    with pytest.raises(UsageError, match="there is no such folder"):
        propose(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no frames, for there are no PNG or JPEG files in images/"):
        propose(tmp_path)
    frames(tmp_path)
    with pytest.raises(UsageError, match=r"frames in images/, but no masks in masks/, .* no polygons of labelme"):
        propose(tmp_path)


# Polygons.


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
    proposal = propose(tmp_path, name="own")
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
    propose(tmp_path, name="own", rest="background")
    assert names(tmp_path) == ["car", "background"]
    assert set(np.unique(np.asarray(Image.open(tmp_path / "masks" / "north_000.png")))) == {0, 1}
    with pytest.raises(UsageError, match=r"--rest other: .*masks holds masks already"):
        propose(tmp_path, name="own", rest="other")


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
    proposal = propose(tmp_path, name="own")
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


# At the command line.


def test_init_and_what_it_says_next(roadbed, folder):
    status, out, err = roadbed("data", "init", folder)
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0] == f"{folder}: 15 pairs of frames in images/ and masks in masks/"
    assert lines[1].startswith("classes: class_0, class_1")
    assert lines[2] == "written: classes.yaml, train.yaml"
    assert "splits are the folders train/, val/ and so on" in err
    assert lines[3] == "next:"
    assert lines[4].startswith(f"  roadbed data doctor '{folder}' --images '{folder}/images' --masks '{folder}/masks'")
    assert lines[5].startswith("  roadbed data prepare folder s3://roadbed/datasets/my-roads --images ")
    assert lines[6] == f"  roadbed train '{folder}/train.yaml'"
    _, out, _ = roadbed("data", "init", folder)
    assert "there already, left as it is: classes.yaml, train.yaml" in out


def test_a_name_that_is_none(roadbed, folder):
    status, _, err = roadbed("data", "init", folder, "--name", "My Roads")
    assert status == 2
    assert "--name My Roads: a name has small letters, digits and dashes; try --name my-roads" in err


def test_the_doctor_takes_what_init_says(roadbed, tmp_path):
    found = cvat(tmp_path)
    proposal = propose(tmp_path, name="own")
    places = FolderPlaces(splitting=Splitting(listed=read_split_file(str(tmp_path / "splits.txt"))))
    assert recognise(str(tmp_path), places).splits == {"train": 3, "val": 3}
    assert len(found) == proposal.num_pairs
