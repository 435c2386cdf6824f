"""`roadbed data init`: what it finds in folders of one's own, and what it writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from own_folders import classes, frames, masks_of, names, opened, save
from roadbed.data.doctor import examine
from roadbed.data.doctor.recognise import recognise
from roadbed.data.label_lists import COCO_STUFF_NAMES, VOC_NAMES, voc_color
from roadbed.data.labels import CAMVID_11, CAMVID_COLORS
from roadbed.data.proposal.propose import Wishes, propose
from roadbed.data.sources.painted import paint_folder
from roadbed.errors import DataError, UsageError
from roadbed.registry import Registry
from roadbed.spec import ModelSpec, load_job
from roadbed.storage import open_store


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("proposal")
    paint_folder(folder, {"train": 10, "val": 5}, arrangement="folder", size_px=(120, 160), seed=1)
    (folder / "classes.yaml").unlink()
    return folder


@pytest.fixture
def folder(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "My Roads"))


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
    propose(tmp_path, Wishes(name="odd"))
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
    proposal = propose(tmp_path, Wishes(name="voc"))
    assert names(tmp_path) == list(VOC_NAMES)
    assert classes(tmp_path).classes[15].color == (192, 128, 128)
    assert classes(tmp_path).ignore.ids == (255,)
    assert any("Pascal VOC" in note for note in proposal.notes)


def test_colours_of_pascal_voc(tmp_path):
    colors = np.array([voc_color(number) for number in range(256)], np.uint8)
    masks_of(tmp_path, colors[[[0, 15, 255, 7]] * 4], names=frames(tmp_path))
    propose(tmp_path, Wishes(name="voc"))
    assert names(tmp_path) == list(VOC_NAMES)
    assert classes(tmp_path).ignore.colors == ((224, 224, 192),)


def test_the_numbers_of_coco_stuff(tmp_path):
    masks_of(tmp_path, [[0, 2, 9, 148, 156, 255, 181]] * 4, names=frames(tmp_path))
    proposal = propose(tmp_path, Wishes(name="stuff"))
    assert names(tmp_path) == ["person", "car", "traffic light", "road", "sky-other", "wood"]
    assert classes(tmp_path).classes[3].ids == (148,)
    assert any("COCO-Stuff" in note for note in proposal.notes)
    assert len(COCO_STUFF_NAMES) == 171


def test_a_palette_of_other_classes(tmp_path):
    palette = np.array([(number, 255 - number, 7) for number in range(256)])
    masks_of(tmp_path, [[0, 1, 2, 2]] * 4, palette=palette, names=frames(tmp_path))
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nroad:1,254,7::\nsky:2,253,7::\n")
    propose(tmp_path, Wishes(name="own"))
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
    propose(tmp_path, Wishes(name="own"))
    assert classes(tmp_path).kind == "colors"
    assert sorted(names(tmp_path)) == ["color_00ff07", "color_01fe07"]


def test_masks_of_0_and_255(tmp_path):
    masks_of(tmp_path, [[0, 255]] * 4, names=frames(tmp_path))
    proposal = propose(tmp_path, Wishes(name="two"))
    assert [(e.name, e.ids) for e in classes(tmp_path).classes] == [("background", (0,)), ("class_255", (255,))]
    assert classes(tmp_path).ignore.ids == ()
    assert any("0 and 255 alone" in note for note in proposal.notes)


def test_masks_that_cannot_be_used_are_told(tmp_path):
    found = frames(tmp_path)
    masks_of(tmp_path, [[0, 1]] * 4, names=found)
    (tmp_path / "masks" / f"{found[2]}.png").write_bytes(b"")
    save([[[1, 2, 3]]], tmp_path / "masks" / f"{found[3]}.png")
    (tmp_path / "masks" / f"{found[4]}.png").unlink()
    notes = "\n".join(propose(tmp_path, Wishes(name="own")).notes)
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
    proposal = propose(tmp_path, Wishes(name="own"))
    assert (proposal.layout.images, proposal.layout.masks, proposal.layout.mask_suffix) == (".", ".", "_mask")
    assert "--mask-suffix _mask" in proposal.steps[1]
    assert sum(len(refs) for refs in opened(proposal).splits.values()) == 6


def test_whole_drives_are_held_out(tmp_path):
    found = frames(tmp_path)
    masks_of(tmp_path, [[0, 1]] * 4, names=found)
    proposal = propose(tmp_path, Wishes(name="own", val_share=0.5))
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
    proposal = propose(tmp_path, Wishes(name="own"))
    source = opened(proposal)
    assert {split: [ref.key for ref in refs] for split, refs in source.splits.items()} == {
        "train": found[:5],
        "val": found[5:],
    }
    assert "splits are those of the lists train.txt, val.txt" in proposal.notes


@pytest.mark.parametrize(("arrangement", "known"), [("segnet", "camvid"), ("cityscapes", "cityscapes")])
def test_arrangements_that_are_known(tmp_path, arrangement, known):
    paint_folder(tmp_path, {"train": 1}, arrangement=arrangement, size_px=(64, 80))
    with pytest.raises(UsageError, match=rf"`roadbed data prepare {known} {tmp_path} DEST` reads it as it is"):
        propose(tmp_path)


def test_what_holds_nothing(tmp_path):
    with pytest.raises(UsageError, match="there is no such folder"):
        propose(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no frames, for there are no PNG or JPEG files in images/"):
        propose(tmp_path)
    frames(tmp_path)
    with pytest.raises(UsageError, match=r"frames in images/, but no masks in masks/, .* no polygons of labelme"):
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


def test_a_job_that_goes_on_from_a_version(roadbed, folder, tmp_path):
    registry = Registry(open_store(str(tmp_path / "store")))
    model = ModelSpec(backbone="efficientnet_lite1", head_channels=64).model_dump(mode="json") | {"weights": "none"}
    registry.publish("road", {"model.safetensors": b"weights"}, {"model": model})
    words = ("data", "init", folder, "--from", "road:1", "--store", tmp_path / "store")
    status, _, err = roadbed(*words)
    assert status == 0, err
    job = load_job(folder / "train.yaml", ())
    assert (job.model.weights, job.model.new_classifier) == ("road:1", True)
    assert (job.model.backbone, job.model.head_channels) == ("efficientnet_lite1", 64)
    assert job.train.learning_rate == 0.001
    status, _, err = roadbed(*words[:3], "--from", "road@champion", *words[5:])
    assert status == 1
    assert "road@champion" in err
