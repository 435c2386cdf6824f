"""Cityscapes: layouts, classes, cities, frames whole, resized and as tiles, and everything that can be wrong."""

from __future__ import annotations

import pickle
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from roadbed.data.dataset import Dataset
from roadbed.data.labels import (
    CAMVID_11,
    CAMVID_COLORS,
    CITYSCAPES_19,
    CITYSCAPES_30,
    CITYSCAPES_RAW_TO_19,
    CITYSCAPES_RAW_TO_30,
)
from roadbed.data.sources.cityscapes import CityscapesSource
from roadbed.data.sources.cityscapes_frames import Framing, resize_pair, tile_starts
from roadbed.data.sources.painted import PaintedSource, paint_folder
from roadbed.data.sources.painted_layouts import CITYSCAPES_IDS
from roadbed.errors import DataError, UsageError

COUNTS = {"train": 4, "val": 2, "test": 1}
SIZE_PX = (64, 128)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cityscapes")
    paint_folder(folder, COUNTS, arrangement="cityscapes", size_px=SIZE_PX, with_train_ids=True)
    return folder


@pytest.fixture
def folder(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "cityscapes"))


def keys(source: CityscapesSource) -> dict[str, list[str]]:
    return {split: [ref.key for ref in refs] for split, refs in source.splits.items()}


def problems(source: CityscapesSource) -> list[str]:
    return [*source.problems, *(line for refs in source.splits.values() for ref in refs for line in source.check(ref))]


def mask_path(folder: Path, labels: str = "labelIds") -> Path:
    return folder / "gtFine" / "val" / "frankfurt" / f"frankfurt_000000_000000_gtFine_{labels}.png"


def frame_path(folder: Path) -> Path:
    return folder / "leftImg8bit" / "val" / "frankfurt" / "frankfurt_000000_000000_leftImg8bit.png"


@pytest.mark.parametrize(
    ("label_space", "labels", "table_256"),
    [
        (CITYSCAPES_19, "labelIds", CITYSCAPES_RAW_TO_19),
        (CITYSCAPES_30, "labelIds", CITYSCAPES_RAW_TO_30),
        (CITYSCAPES_19, "labelTrainIds", CITYSCAPES_RAW_TO_19),
    ],
)
def test_frames_and_masks_are_read_as_painted(original, label_space, labels, table_256):
    source = CityscapesSource(original, label_space=label_space, labels=labels)
    assert problems(source) == []
    assert keys(source) == {
        "train": ["aachen_000000_000000", "aachen_000000_000003", "bochum_000000_000001", "zurich_000000_000002"],
        "val": ["frankfurt_000000_000000", "munster_000000_000001"],
    }
    painted = PaintedSource(COUNTS, size_px=SIZE_PX)
    ids_N = np.array([CITYSCAPES_IDS.get(name, 0) for name in CAMVID_COLORS])
    for split, refs in source.splits.items():
        for ref in refs:
            image_HW3, raw_HW = painted.read_raw(painted.splits[split][int(ref.key[-6:])])
            found_HW3, found_HW = source.read(ref)
            assert (found_HW3 == image_HW3).all()
            assert (found_HW == table_256[ids_N[raw_HW]]).all()
            road = label_space.class_names.index("road")
            assert ((found_HW == road) == (ids_N[raw_HW] == 7)).all()


def test_what_is_left_out_is_said(original):
    assert CityscapesSource(original).notes == ("left out: test (1 frames), as its masks are dummies",)
    notes = CityscapesSource(original, splits=["train"]).notes
    assert notes == ("left out: test (1 frames), as its masks are dummies", "left out: val (2 frames)")
    source = CityscapesSource(original, cities=["aachen"])
    assert source.notes[1] == "left out: val, where none of the cities asked for has a pair of frame and mask"
    assert keys(source) == {"train": ["aachen_000000_000000", "aachen_000000_000003"]}


def test_a_split_that_was_asked_for_has_pairs(folder):
    def refusal(where=""):
        return (
            f"--splits: val has no pair of frame and mask{where}; looked for CITY/CITY_SEQUENCE_FRAME_leftImg8bit.png "
            f"in {folder}/leftImg8bit/val/ and CITY/CITY_SEQUENCE_FRAME_gtFine_labelIds.png in {folder}/gtFine/val/; "
            "put them there, or name the splits that have some"
        )

    with pytest.raises(UsageError) as caught:
        CityscapesSource(folder, splits=["train", "val"], cities=["aachen"])
    assert str(caught.value) == refusal(" in aachen")
    for path in [*folder.rglob("val/*/*.png")]:
        path.rename(path.with_suffix(".txt"))
    for splits in (None, ["train", "val"]):
        with pytest.raises(UsageError) as caught:
            CityscapesSource(folder, splits=splits)
        assert str(caught.value) == refusal()
    assert keys(CityscapesSource(folder, splits=["train"])).keys() == {"train"}


def test_packed_archives_are_recognised(folder):
    expected = keys(CityscapesSource(folder))
    for name in ("leftImg8bit", "gtFine"):
        (folder / f"{name}_trainvaltest").mkdir()
        (folder / name).rename(folder / f"{name}_trainvaltest" / name)
    assert keys(CityscapesSource(folder)) == expected


def test_any_cities(original):
    source = CityscapesSource(original, cities=["zurich", "munster"])
    assert keys(source) == {"train": ["zurich_000000_000002"], "val": ["munster_000000_000001"]}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"cities": ["zürich"]}, UsageError, "no city 'zürich' in train, val; did you mean zurich\\? There are aachen"),
        ({"cities": ["qqq"]}, UsageError, "no city 'qqq' in train, val; There are aachen, bochum, frankfurt, munster"),
        ({"splits": ["train", "test"]}, UsageError, "--splits train,test: the masks .* test are dummies"),
        ({"splits": ["trian"]}, UsageError, "no trian/ in .*leftImg8bit; there are test, train, val"),
        (
            {"label_space": CITYSCAPES_30, "labels": "labelTrainIds"},
            UsageError,
            "the 19 evaluated classes alone; use labelIds for 30",
        ),
        ({"label_space": CAMVID_11}, ValueError, "camvid-11 is not a label space of Cityscapes"),
        ({"framing": Framing(tile_px=(64, 129))}, UsageError, "--tiles 129x64: larger than the frames, 128x64"),
    ],
)
def test_what_cannot_be_had_is_refused(original, options, error, words):
    with pytest.raises(error, match=words):
        CityscapesSource(original, **options)


def test_missing_kinds_of_masks(folder):
    for path in folder.rglob("*labelTrainIds.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"labelTrainIds.png; use --labels labelIds, or make them with `csCreate"):
        CityscapesSource(folder, labels="labelTrainIds")
    for path in folder.rglob("*labelIds.png"):
        path.rename(path.with_name(path.name.replace("labelIds", "color")))
    with pytest.raises(DataError, match=r"gtFine: holds no masks .*; fetch the package gtFine_trainvaltest.zip"):
        CityscapesSource(folder)


def test_what_is_not_cityscapes(folder, tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path}: not Cityscapes.*found cityscapes/; did you mean {folder}\\?"):
        CityscapesSource(tmp_path)
    shutil.rmtree(folder / "gtFine")
    with pytest.raises(DataError, match=f"{folder}: not Cityscapes. Looked for .*; found leftImg8bit/$"):
        CityscapesSource(folder)
    with pytest.raises(DataError, match="none: there is no such folder; give the folder that holds leftImg8bit/ and"):
        CityscapesSource(tmp_path / "none")


def test_missing_masks_and_frames_are_named(folder):
    mask_path(folder).unlink()
    path = folder / "leftImg8bit" / "val" / "munster" / "munster_000000_000001_leftImg8bit.png"
    path.unlink()
    mask = folder / "gtFine" / "val" / "munster" / "munster_000000_000001_gtFine_labelIds.png"
    assert CityscapesSource(folder).problems == (
        f"{frame_path(folder)}: no mask for it, frankfurt_000000_000000_gtFine_labelIds.png in gtFine/val/frankfurt/",
        f"{mask}: no frame for it in leftImg8bit/val/munster/",
    )


@pytest.mark.parametrize(
    ("labels", "value", "words"),
    [
        ("labelIds", 40, "unknown id 40 (3 pixels); nearest to 40 is 33, bicycle; labelIds are 0..33"),
        ("labelTrainIds", 21, "unknown id 21 (3 pixels); nearest to 21 is 18, bicycle; labelTrainIds are 0..18"),
    ],
)
def test_unknown_ids_are_named(folder, labels, value, words):
    path = mask_path(folder, labels)
    mask_HW = np.asarray(Image.open(path)).copy()
    mask_HW[0, :3] = value
    Image.fromarray(mask_HW).save(path)
    found = problems(CityscapesSource(folder, labels=labels))
    assert len(found) == 1
    assert found[0].startswith(f"{path}: {words}")


# Frames as samples.


def test_resized_frames(original):
    source = CityscapesSource(original, framing=Framing(resize_px=(32, 64)))
    whole = CityscapesSource(original)
    ref = source.splits["val"][0]
    image_HW3, mask_HW = source.read(ref)
    assert (image_HW3.shape, mask_HW.shape) == ((32, 64, 3), (32, 64))
    whole_HW3, whole_HW = whole.read(whole.splits["val"][0])
    means_HW3 = whole_HW3.reshape(32, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(image_HW3 - means_HW3).max() <= 1
    assert (mask_HW == whole_HW[1::2, 1::2]).all()
    assert source.settings != whole.settings


def test_masks_are_resized_about_the_middle_of_pixels():
    mask_HW = np.repeat(np.arange(9, dtype=np.uint8), 3)[None].repeat(27, 0)
    _, resized_HW = resize_pair(np.zeros((27, 27, 3), np.uint8), mask_HW, (9, 9))
    assert (resized_HW[0] == np.arange(9)).all()
    image_HW3 = np.repeat(mask_HW[..., None], 3, -1)
    small_HW3, small_HW = resize_pair(image_HW3, mask_HW, (9, 9))
    assert (small_HW3[..., 0] == small_HW).all()


def test_tiles_are_cut_from_the_frame(original):
    source = CityscapesSource(original, framing=Framing(tile_px=(40, 50), overlap_px=5))
    whole = CityscapesSource(original)
    found = keys(source)["val"]
    assert found[:6] == [f"frankfurt_000000_000000/r{row}c{column}" for row in range(2) for column in range(3)]
    image_HW3, mask_HW = whole.read(whole.splits["val"][0])
    again_HW3 = np.zeros_like(image_HW3)
    for ref in source.splits["val"][:6]:
        tile_HW3, tile_HW = source.read(ref)
        window = (slice(ref.tile.top_px, ref.tile.top_px + 40), slice(ref.tile.left_px, ref.tile.left_px + 50))
        assert (tile_HW3 == image_HW3[window]).all()
        assert (tile_HW == mask_HW[window]).all()
        again_HW3[window] = tile_HW3
    assert (again_HW3 == image_HW3).all()
    assert problems(source) == []


def test_the_files_of_a_frame_are_read_once_for_its_tiles(folder):
    source = CityscapesSource(folder, framing=Framing(tile_px=(32, 32)))
    refs = source.splits["val"][:8]
    first = source.read(refs[0]), source.digest(refs[0])
    frame_path(folder).unlink()
    for ref in refs[1:]:
        assert source.read(ref)[0].shape == (32, 32, 3)
        assert source.digest(ref) == first[1]
    source.read(source.splits["val"][8])
    with pytest.raises(DataError, match="the file has vanished"):
        source.read(refs[0])


def test_a_tiled_source_travels_to_other_processes(original):
    source = CityscapesSource(original, framing=Framing(tile_px=(32, 32)))
    ref = source.splits["val"][3]
    image_HW3, mask_HW = source.read(ref)
    copied = pickle.loads(pickle.dumps(source))
    assert (copied.read(ref)[0] == image_HW3).all()
    assert (copied.read(ref)[1] == mask_HW).all()


def test_tiles_need_frames_of_one_size(folder):
    path = folder / "leftImg8bit" / "train" / "zurich" / "zurich_000000_000002_leftImg8bit.png"
    mask = folder / "gtFine" / "train" / "zurich" / "zurich_000000_000002_gtFine_labelIds.png"
    for file in (path, mask):
        Image.open(file).resize((100, 60), Image.Resampling.NEAREST).save(file)
    source = CityscapesSource(folder, framing=Framing(tile_px=(64, 128)))
    assert problems(source) == [
        f"{path}: is 100x60, the first frame 128x64; tiles need frames of one size, remove it or use --resize"
    ]


@settings(deadline=None)
@given(st.integers(1, 3000), st.data())
def test_tiles_cover_every_pixel(length_px, data):
    tile_px = data.draw(st.integers(1, length_px))
    overlap_px = data.draw(st.integers(0, tile_px - 1))
    starts = tile_starts(length_px, tile_px, overlap_px)
    assert starts[0] == 0
    assert starts[-1] == length_px - tile_px
    assert all(first < second for first, second in pairwise(starts))
    assert all(second - first <= tile_px - overlap_px for first, second in pairwise(starts))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resize_px": (2, 2), "tile_px": (2, 2)}, "give --resize or --tiles, not both"),
        ({"resize_px": (0, 4)}, "--resize 4x0: both sides must be 1 pixel or more"),
        ({"overlap_px": 8}, "--tile-overlap 8: whole frames do not overlap"),
        ({"tile_px": (64, 32), "overlap_px": 32}, "--tile-overlap 32: must be .* less than both sides .* 32x64"),
    ],
)
def test_framings_that_cannot_be_meant(options, words):
    with pytest.raises(UsageError, match=words):
        Framing(**options)


def test_the_command_line(original, tmp_path, roadbed):
    options = ("--cities", "aachen,munster", "--tiles", "64x64", "--classes", "30")
    status, _, err = roadbed("data", "prepare", "cityscapes", original, tmp_path / "out", *options)
    assert status == 0, err
    assert "left out: test (1 frames), as its masks are dummies" in err
    dataset = Dataset.open(str(tmp_path / "out"))
    assert dataset.label_space == CITYSCAPES_30
    assert {name: split.num_samples for name, split in dataset.splits.items()} == {"train": 4, "val": 2}
    assert dataset.split("val").key(1) == "munster_000000_000001/r0c1"
    status, _, err = roadbed("data", "prepare", "cityscapes", original, tmp_path / "out", "--tiles", "64")
    assert status == 2
    assert "'64' is not a size" in err


@pytest.mark.parametrize("option", ["--cities", "--splits"])
def test_options_that_name_nothing(original, tmp_path, roadbed, option):
    status, _, err = roadbed("data", "prepare", "cityscapes", original, tmp_path / "out", option, " , ")
    assert status == 2
    assert "' , ' names nothing; write words between commas, or leave it out" in err
    assert option in err


def test_files_that_are_not_read_and_links_to_nowhere_are_named(folder):
    frame, mask = frame_path(folder), mask_path(folder)
    frame.rename(frame.with_suffix(".tif"))
    mask.rename(mask.with_suffix(".tif"))
    (mask.parent / "look.gif").touch()
    (folder / "gtFine" / "train" / "ulm").symlink_to("gone")
    linked = folder / "leftImg8bit" / "train" / "aachen" / "aachen_000000_000000_leftImg8bit.png"
    linked.unlink()
    linked.symlink_to("gone")
    assert [line.removeprefix(f"{folder}/").partition("; ")[0] for line in problems(CityscapesSource(folder))] == [
        "gtFine/train/ulm: a link to gone, where nothing is",
        f"{linked.relative_to(folder)}: a link to gone, where nothing is",
        "gtFine/val/frankfurt/frankfurt_000000_000000_gtFine_labelIds.tif: .tif files are not read",
        "leftImg8bit/val/frankfurt/frankfurt_000000_000000_leftImg8bit.tif: .tif files are not read",
    ]
    assert CityscapesSource(folder, cities=["zurich", "munster"]).problems == ()


def test_a_folder_is_out_of_reach_for_workers_elsewhere(original, tmp_path, roadbed, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray.example:10001")
    status, _, err = roadbed("data", "prepare", "cityscapes", original, "s3://roadbed/x", "--workers", "2")
    assert status == 2
    assert f"{original}: workers on the Ray cluster at ray.example:10001 cannot read a folder of this machine" in err
