"""CamVid in its arrangements, and everything that can be wrong with a folder."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roadbed.cli import main
from roadbed.data.labels import CAMVID_11, CAMVID_32, CAMVID_COLORS, camvid_ids
from roadbed.data.prepare import prepare
from roadbed.data.sources.camvid import CamvidSource
from roadbed.data.sources.camvid_splits import segnet_split
from roadbed.data.sources.painted import PaintedSource, paint_folder
from roadbed.errors import DataError
from roadbed.storage import open_store

COUNTS = {"train": 3, "val": 2}
SIZE_PX = (64, 80)


@pytest.fixture(scope="module")
def segnet_original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("segnet")
    paint_folder(folder, COUNTS, size_px=SIZE_PX)
    return folder


@pytest.fixture(scope="module")
def colour_original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("colours")
    paint_folder(folder, COUNTS, arrangement="original", size_px=SIZE_PX)
    return folder


@pytest.fixture
def segnet(segnet_original, tmp_path) -> Path:
    return Path(shutil.copytree(segnet_original, tmp_path / "segnet"))


@pytest.fixture
def colours(colour_original, tmp_path) -> Path:
    return Path(shutil.copytree(colour_original, tmp_path / "colours"))


def problems(source: CamvidSource) -> list[str]:
    return [*source.problems, *(line for refs in source.splits.values() for ref in refs for line in source.check(ref))]


def assert_reads_as_painted(source: CamvidSource, label_space) -> None:
    painted = PaintedSource(COUNTS, size_px=SIZE_PX, label_space=label_space)
    assert problems(source) == []
    for split, refs in painted.splits.items():
        assert [ref.key for ref in source.splits[split]] == [ref.key for ref in refs]
        for found, wanted in zip(source.splits[split], refs, strict=True):
            for array, expected in zip(source.read(found), painted.read(wanted), strict=True):
                assert (array == expected).all()


def rename_as_kaggle(folder: Path) -> None:
    for split in COUNTS:
        (folder / split).mkdir()
        (folder / f"{split}_labels").mkdir()
        for name in (folder / f"{split}.txt").read_text().split():
            (folder / "701_StillsRaw_full" / name).rename(folder / split / name)
            mask = name.replace(".png", "_L.png")
            (folder / "LabeledApproved_full" / mask).rename(folder / f"{split}_labels" / mask)


def rename_as_fastai(folder: Path) -> None:
    (folder / "701_StillsRaw_full").rename(folder / "images")
    (folder / "labels").mkdir()
    names = list(CAMVID_COLORS)
    (folder / "codes.txt").write_text("\n".join(names))
    (folder / "val.txt").rename(folder / "valid.txt")
    (folder / "train.txt").unlink()
    colors = {color: index for index, color in enumerate(CAMVID_COLORS.values())}
    for path in (folder / "LabeledApproved_full").iterdir():
        raw_HW3 = np.asarray(Image.open(path))
        ids_HW = np.array([[colors[tuple(pixel)] for pixel in row] for row in raw_HW3.tolist()], np.uint8)
        Image.fromarray(ids_HW).save(folder / "labels" / path.name.replace("_L", "_P"))
    shutil.rmtree(folder / "LabeledApproved_full")


def test_segnets_arrangement(segnet):
    assert_reads_as_painted(CamvidSource(segnet), CAMVID_11)


@pytest.mark.parametrize("label_space", [CAMVID_11, CAMVID_32], ids=lambda space: space.name)
@pytest.mark.parametrize("rename", [lambda folder: None, rename_as_kaggle, rename_as_fastai])
def test_colour_arrangements(colours, rename, label_space):
    rename(colours)
    assert_reads_as_painted(CamvidSource(colours, label_space=label_space), label_space)


def test_colours_are_known_without_label_colors(colours):
    (colours / "label_colors.txt").unlink()
    assert_reads_as_painted(CamvidSource(colours), CAMVID_11)


def test_palette_masks_are_read(segnet, colours):
    mask = next((segnet / "trainannot").iterdir())
    image = Image.open(mask)
    image.putpalette(CAMVID_11.palette_N3.tobytes())
    image.save(mask)
    assert_reads_as_painted(CamvidSource(segnet), CAMVID_11)
    mask = next((colours / "LabeledApproved_full").iterdir())
    Image.open(mask).quantize(256).save(mask)
    assert problems(CamvidSource(colours)) == []


def test_files_that_are_no_images_do_not_matter(segnet):
    for name in (".DS_Store", "._train_000000.png", "Thumbs.db", "notes.txt"):
        (segnet / "train" / name).write_text("x")
    assert_reads_as_painted(CamvidSource(segnet), CAMVID_11)


def fingerprint(source: CamvidSource) -> str:
    refs = [(split, ref.key, source.digest(ref)) for split, refs in source.splits.items() for ref in refs]
    return f"{source.settings} {refs}"


def test_settings_and_digests_follow_contents_and_classes_and_not_the_place(segnet, colours, tmp_path):
    first = fingerprint(CamvidSource(segnet))
    assert fingerprint(CamvidSource(Path(shutil.copytree(segnet, tmp_path / "copy")))) == first
    prints = {first, *(fingerprint(CamvidSource(colours, label_space=space)) for space in (CAMVID_11, CAMVID_32))}
    mask = next((segnet / "valannot").iterdir())
    Image.fromarray(np.asarray(Image.open(mask))[::-1].copy()).save(mask)
    prints.add(fingerprint(CamvidSource(segnet)))
    lines = (colours / "label_colors.txt").read_text()
    (colours / "label_colors.txt").write_text(
        lines.replace("192 0 0", "1 2 3").replace("192 128 64\tChild", "1 2 3\tChild")
    )
    prints.add(fingerprint(CamvidSource(colours)))
    assert len(prints) == 5


def test_a_source_travels_to_other_processes(segnet, colours):
    for folder, label_space in ((segnet, CAMVID_11), (colours, CAMVID_32)):
        data = pickle.dumps(CamvidSource(folder, label_space=label_space))
        assert len(data) < 20_000, "16 MB of a colour table stay behind"
        assert_reads_as_painted(pickle.loads(data), label_space)


def test_linked_folders_are_followed(segnet, tmp_path):
    (segnet / "train").rename(tmp_path / "elsewhere")
    (segnet / "train").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(segnet)
    assert_reads_as_painted(CamvidSource(segnet), CAMVID_11)


# Splits of the original arrangement.


def test_the_split_of_segnet_is_known_by_name():
    expected = {
        "0001TP_006690": "train",
        "0001TP_008520": "train",
        "0001TP_008550": "test",
        "0001TP_010380": "test",
        "0006R0_f00930": "train",
        "0006R0_f03930": "train",
        "0016E5_00390": "train",
        "0016E5_07920": "train",
        "0016E5_07959": "val",
        "0016E5_08159": "val",
        "0016E5_08190": "train",
        "Seq05VD_f00000": "test",
        "Seq05VD_f05100": "test",
        "town_000001": None,
    }
    assert {key: segnet_split(key) for key in expected} == expected


def test_unknown_sequences_are_cut_into_blocks(colours):
    for name in ("train", "val"):
        (colours / f"{name}.txt").unlink()
    frames, masks = colours / "701_StillsRaw_full", colours / "LabeledApproved_full"
    for sequence, count in (("left", 10), ("right", 6)):
        for number in range(count):
            shutil.copy(frames / "train_000000.png", frames / f"{sequence}_{number}.png")
            shutil.copy(masks / "train_000000_L.png", masks / f"{sequence}_{number}_L.png")
    for path in (*frames.glob("*_00000?.png"), *masks.glob("*_00000?_L.png")):
        path.unlink()
    source = CamvidSource(colours)
    assert len(source.notes) == 1
    assert source.notes[0].startswith(
        "WARNING: no lists say how to split 16 frames whose names are not those of CamVid's drives, so 2 sequence(s) "
    )
    splits = {split: [ref.key for ref in refs] for split, refs in source.splits.items()}
    assert splits == {
        "train": [*(f"left_{n}" for n in range(6)), *(f"right_{n}" for n in range(4))],
        "val": ["left_6", "left_7", "right_4"],
        "test": ["left_8", "left_9", "right_5"],
    }


def test_faults_of_split_lists_are_named(colours):
    (colours / "val.txt").write_text("/SegNet/CamVid/val/val_000000.png /SegNet/x.png\ntrain_000001.png\nnobody.png\n")
    found = CamvidSource(colours).problems
    assert [line.removeprefix(f"{colours}/") for line in found] == [
        "val.txt: line 2 names train_000001, which is in split train already",
        "val.txt: line 3 names nobody, which is no pair of frame and mask here",
        "frames that stand in none of train.txt, val.txt: 1, the first val_000001; list or remove them",
    ]


def test_a_list_without_names_is_named_and_byte_order_marks_are_not_names(colours):
    for name in ("train.txt", "label_colors.txt"):
        (colours / name).write_text((colours / name).read_text(), encoding="utf-8-sig")
    assert_reads_as_painted(CamvidSource(colours), CAMVID_11)
    assert CamvidSource(colours).notes == ()
    (colours / "test.txt").touch()
    assert CamvidSource(colours).problems == (f"{colours}/test.txt: names no frame; list some, or remove the file",)


def test_the_command_line_says_how_frames_were_split(colours, tmp_path, capsys):
    for name in ("train", "val"):
        (colours / f"{name}.txt").unlink()
    main(["data", "prepare", "camvid", str(colours), str(tmp_path / "out")])
    assert "WARNING: no lists say how to split 5 frames" in capsys.readouterr().err


# What a folder that is not CamVid gets.


def test_a_folder_that_is_not_camvid_says_what_was_looked_for_and_found(tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    (tmp_path / "readme.txt").touch()
    with pytest.raises(DataError, match=f"{tmp_path}: not CamVid") as caught:
        CamvidSource(tmp_path)
    text = str(caught.value)
    assert "Looked for train/ with trainannot/ or train_labels/ beside it" in text
    assert "701_StillsRaw_full/ or images/ with LabeledApproved_full/ or labels/ beside it" in text
    assert text.endswith("found cats/, dogs/, readme.txt")


def test_a_folder_too_far_up_is_told_the_right_one(segnet):
    with pytest.raises(DataError, match=f"found segnet/; did you mean {segnet}\\?"):
        CamvidSource(segnet.parent)


@pytest.mark.parametrize(("make", "words"), [(Path.touch, "is a file, not a folder"), (Path.exists, "no such folder")])
def test_no_folder(tmp_path, make, words):
    make(tmp_path / "camvid")
    with pytest.raises(DataError, match=words):
        CamvidSource(tmp_path / "camvid")


def test_an_empty_folder_and_a_full_one(tmp_path):
    with pytest.raises(DataError, match="found an empty folder"):
        CamvidSource(tmp_path)
    for number in range(12):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(DataError, match=r"\.\.\. \(12 in all\)"):
        CamvidSource(tmp_path)


def test_index_masks_have_no_32_classes(segnet):
    with pytest.raises(DataError, match=r"its masks hold the 11 classes .* camvid-32 was asked for; use --classes 11"):
        CamvidSource(segnet, label_space=CAMVID_32)


# What is wrong with pairs and files: every one is named.


def test_missing_masks_and_frames_are_named(segnet):
    (segnet / "trainannot" / "train_000001.png").unlink()
    (segnet / "val" / "val_000000.png").unlink()
    assert CamvidSource(segnet).problems == (
        f"{segnet}/train/train_000001.png: no mask for it in trainannot/",
        f"{segnet}/valannot/val_000000.png: no frame for it in val/",
    )


def test_a_split_without_masks_is_named(segnet):
    shutil.rmtree(segnet / "valannot")
    assert CamvidSource(segnet).problems == (f"{segnet}/val: no masks beside it, neither valannot/ nor val_labels/",)


def test_files_that_are_not_read_and_links_to_nowhere_are_named(segnet):
    for folder in ("val", "valannot"):
        (segnet / folder / "val_000001.png").rename(segnet / folder / "val_000001.bmp")
    (segnet / "test").symlink_to("gone")
    (segnet / "train" / "train_000001.png").unlink()
    (segnet / "train" / "train_000001.png").symlink_to("gone")
    assert [line.removeprefix(f"{segnet}/").partition("; ")[0] for line in problems(CamvidSource(segnet))] == [
        "test: a link to gone, where nothing is",
        "train/train_000001.png: a link to gone, where nothing is",
        "val/val_000001.bmp: .bmp files are not read",
        "valannot/val_000001.bmp: .bmp files are not read",
    ]
    for path in segnet.glob("*annot"):
        shutil.rmtree(path)
        path.symlink_to("gone")
    with pytest.raises(DataError, match=r"not CamVid(.|\n)*trainannot: a link to gone, where nothing is"):
        CamvidSource(segnet)


def test_two_files_of_one_name_are_named(colours):
    masks = colours / "LabeledApproved_full"
    shutil.copy(masks / "val_000001_L.png", masks / "val_000001.png")
    assert CamvidSource(colours).problems == (
        f"{masks}/val_000001_L.png: val_000001.png has the same name; keep one of them",
    )


def test_a_mask_of_another_size_is_named(segnet):
    path = segnet / "trainannot" / "train_000002.png"
    Image.open(path).resize((40, 64)).save(path)
    source = CamvidSource(segnet)
    expected = f"{path}: the mask is 40x64, its frame train_000002.png is 80x64"
    assert problems(source) == [expected]
    with pytest.raises(DataError, match=expected):
        source.read(source.splits["train"][2])


def test_unknown_ids_are_named_with_their_pixels(segnet):
    path = segnet / "valannot" / "val_000001.png"
    mask_HW = np.asarray(Image.open(path)).copy()
    mask_HW[0, :5], mask_HW[1, :2] = 12, 77
    Image.fromarray(mask_HW).save(path)
    expected = (
        f"{path}: unknown id 12 (5 pixels), 77 (2 pixels); nearest to 12 is 11, unlabelled; "
        "ids are 0..10, and 11 for unlabelled"
    )
    assert problems(CamvidSource(segnet)) == [expected]


def test_unknown_colours_are_named_with_their_pixels(colours):
    path = colours / "LabeledApproved_full" / "val_000001_L.png"
    mask_HW3 = np.asarray(Image.open(path)).copy()
    mask_HW3[0, :7] = (127, 64, 128)
    Image.fromarray(mask_HW3).save(path)
    expected = (
        f"{path}: unknown colour (127, 64, 128) (7 pixels); nearest to (127, 64, 128) is (128, 64, 128), Road; "
        f"known are those of {colours}/label_colors.txt"
    )
    assert problems(CamvidSource(colours)) == [expected]


def test_many_unknown_values_are_cut_short(segnet):
    path = segnet / "valannot" / "val_000000.png"
    Image.fromarray(np.arange(64 * 80, dtype=np.uint64).reshape(64, 80).astype(np.uint8)).save(path)
    assert "20 pixels) and 239 more; nearest to 12 is 11" in problems(CamvidSource(segnet))[0]


def test_colours_where_ids_are_expected(segnet, colours):
    shutil.copy(colours / "LabeledApproved_full" / "val_000001_L.png", segnet / "valannot" / "val_000001.png")
    found = problems(CamvidSource(segnet))
    assert len(found) == 1
    assert "expected a mask of class ids (grey or palette), this one has mode RGB; colour masks belong in" in found[0]


def test_ids_where_colours_are_expected(segnet, colours):
    shutil.copy(segnet / "valannot" / "val_000001.png", colours / "LabeledApproved_full" / "val_000001_L.png")
    assert "expected a mask of RGB colours, this one has mode L" in problems(CamvidSource(colours))[0]


def test_a_mask_in_jpeg_is_refused(segnet):
    path = segnet / "trainannot" / "train_000000.png"
    Image.open(path).save(path, "JPEG")
    assert problems(CamvidSource(segnet)) == [
        f"{path}: a mask in JPEG may have lost its exact values; export masks as PNG"
    ]


@pytest.mark.parametrize("keep", [0, 10, 40, 500])
def test_a_file_that_was_cut_short(segnet, keep):
    path = segnet / "train" / "train_000001.png"
    path.write_bytes(path.read_bytes()[:keep])
    found = problems(CamvidSource(segnet))
    assert len(found) == 1
    assert found[0].startswith(
        (f"{path}: cannot be read as an image ({keep} bytes; ", f"{path}: not an image ({keep} bytes)")
    )


@pytest.mark.parametrize("position", [20, 30, 45, 60, 900, 2000])
def test_a_file_with_a_changed_byte_is_read_or_named(segnet, position):
    path = segnet / "train" / "train_000001.png"
    data = bytearray(path.read_bytes())
    data[position] ^= 0x55
    path.write_bytes(data)
    assert all(str(path) in line for line in problems(CamvidSource(segnet)))


def test_a_file_that_vanishes(segnet):
    source = CamvidSource(segnet)
    (segnet / "train" / "train_000001.png").unlink()
    assert problems(source) == [f"{segnet}/train/train_000001.png: the file has vanished; run the preparation again"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("128 0 0", "line 33 is '128 0 0'; expected `R G B<TAB>Name`"),
        ("300 0 0\tCar", "line 33 is '300 0 0\\tCar'; expected"),
        ("9 9 9\tBuilding2", "line 33 names 'Building2', which is no CamVid class; did you mean Building?"),
        ("9 9 9\tQqqq", "which is no CamVid class; the classes are Animal, Archway"),
        ("128 0 0\tCar", "line 33 gives Car the colour (128, 0, 0), which another class has already"),
    ],
)
def test_faults_of_label_colors_are_named(colours, line, words):
    with (colours / "label_colors.txt").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match="label_colors") as caught:
        CamvidSource(colours)
    assert words in str(caught.value)


@pytest.mark.parametrize(("text", "words"), [("", "0 class names; expected"), ("Car\nCat\n", "line 2 names 'Cat'")])
def test_faults_of_codes_are_named(colours, text, words):
    (colours / "codes.txt").write_text(text)
    with pytest.raises(DataError, match="codes") as caught:
        CamvidSource(colours)
    assert words in str(caught.value)


def test_nothing_is_published_of_a_folder_with_problems(segnet, tmp_path):
    (segnet / "trainannot" / "train_000001.png").unlink()
    path = segnet / "val" / "val_000000.png"
    path.write_bytes(b"")
    with pytest.raises(DataError, match="camvid: 2 problems, nothing was published"):
        prepare(CamvidSource(segnet), open_store(str(tmp_path / "out")))
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_every_name_has_an_id_in_both_spaces():
    for space in (CAMVID_11, CAMVID_32):
        assert camvid_ids(space).keys() == CAMVID_COLORS.keys()
