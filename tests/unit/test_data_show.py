"""`roadbed data` at the command line, and the contact sheet."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from roadbed.data.dataset import Dataset
from roadbed.data.labels import CAMVID_11
from roadbed.data.prepare import prepare
from roadbed.data.sheet import blend, draw_sheet, spread
from roadbed.data.sources.painted import PaintedSource, paint_folder
from roadbed.storage import open_store


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return prepare(PaintedSource({"train": 5, "val": 0}, size_px=(64, 80)), open_store(str(tmp_path / "town")))


def test_painted_is_prepared_reused_and_shown(roadbed, tmp_path):
    words = ("data", "prepare", "painted", tmp_path / "town", "--train", 3, "--val", 2, "--size", "80x64")
    status, out, err = roadbed(*words)
    digest = Dataset.open(str(tmp_path / "town")).digest
    assert status == 0, err
    assert out == f"file://{tmp_path}/town: 3 train, 2 val samples prepared; digest {digest}\n"
    assert "prepare painted: 5/5" in err
    status, out, _ = roadbed(*words)
    assert "already prepared, used as it is" in out
    status, out, _ = roadbed("data", "show", tmp_path / "town")
    lines = out.splitlines()
    assert lines[:2] == [f"file://{tmp_path}/town", f"digest {digest}"]
    assert [line.split()[:3] for line in lines[4:7]] == [
        ["split", "samples", "shards"],
        ["train", "3", "1"],
        ["val", "2", "1"],
    ]
    assert [line.split()[0] for line in lines[9:]] == [*CAMVID_11.class_names, "ignored"]
    for column in (-2, -4):
        assert sum(float(line.split()[column]) for line in lines[9:]) == pytest.approx(100, abs=0.1)


def test_camvid_is_prepared_with_all_its_options(roadbed, tmp_path):
    paint_folder(tmp_path / "src", {"train": 3, "val": 1}, arrangement="original", size_px=(64, 80))
    options = ("--classes", 32, "--image-encoding", "png", "--samples-per-shard", 2, "--threads", 1)
    status, _, err = roadbed("data", "prepare", "camvid", tmp_path / "src", tmp_path / "out", *options)
    assert status == 0, err
    dataset = Dataset.open(str(tmp_path / "out"))
    assert dataset.label_space.name == "camvid-32"
    assert dataset.split("train").shard_sizes == [2, 1]
    status, _, err = roadbed("data", "prepare", "camvid", tmp_path / "src", tmp_path / "out")
    assert status == 1
    assert "another dataset is here (classes are camvid-32, asked for camvid-11" in err
    status, _, err = roadbed("data", "prepare", "camvid", tmp_path / "src", tmp_path / "out", "--replace")
    assert status == 0, err


def test_a_sheet_of_a_split_is_written(roadbed, dataset, tmp_path):
    status, out, err = roadbed(
        "data", "show", dataset.uri, "--sheet", tmp_path / "new" / "sheet.png", "--split", "train"
    )
    assert status == 0, err
    assert out.endswith(f"contact sheet of train: {tmp_path}/new/sheet.png\n")
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        assert sheet.size[0] == draw_sheet(dataset, dataset.split("train")).size[0]


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("show", "{}/none"), 1, "no dataset here"),
        (("show", "{}/town", "--split", "test"), 2, "no split 'test'; it has train, val"),
        (("show", "{}/town", "--sheet", "x.jpg"), 2, "--sheet x.jpg: the sheet is a PNG file"),
        (("show", "ftp://x/y"), 2, "not ftp://"),
        (("prepare", "painted", "{}/a", "--size", "480"), 2, "'480' is not a size; write WIDTHxHEIGHT"),
        (("prepare", "painted", "{}/a", "--size", "20x9000"), 2, "20x9000 cannot be painted"),
        (("prepare", "painted", "{}/a", "--train", "0"), 2, "--train"),
        (("prepare", "camvid", "{}/none", "{}/a"), 1, "there is no such folder"),
        (("prepare", "camvid", "{}", "{}/a"), 1, "not CamVid"),
        (("prepare", "camvid", "{}", "{}/a", "--classes", "12"), 2, "'12' is not one of"),
    ],
)
def test_what_cannot_be_done_is_one_clear_error(roadbed, dataset, tmp_path, words, status, text):
    found, _, err = roadbed("data", *(word.replace("{}", str(tmp_path)) for word in words))
    assert found == status
    assert text in err
    assert "Traceback" not in err


def test_the_sheet_shows_frames_blends_and_a_legend(dataset):
    sheet = np.asarray(draw_sheet(dataset, dataset.split("train"), num_samples=4, num_columns=2))
    for name, color in zip(CAMVID_11.class_names, CAMVID_11.palette_N3, strict=False):
        assert (sheet == color).all(axis=-1).sum() > 200, name
    assert sheet.shape[1] > 1200


def test_a_sheet_of_an_empty_split_is_a_legend(dataset):
    sheet = np.asarray(draw_sheet(dataset, dataset.split("val")))
    assert (sheet == CAMVID_11.palette_N3[0]).all(axis=-1).any()


def test_a_blend_keeps_the_frame_where_nothing_is_labelled():
    image_HW3 = np.full((2, 2, 3), 100, np.uint8)
    mask_HW = np.array([[3, 255], [3, 255]], np.uint8)
    assert blend(image_HW3, mask_HW, CAMVID_11)[0].tolist() == [[117, 78, 117], [40, 40, 40]]


def test_samples_are_spread_evenly():
    assert spread(100, 4) == [12, 37, 62, 87]
    assert spread(2, 5) == [0, 1]
    assert spread(0, 5) == []
