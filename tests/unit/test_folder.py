"""Folders of one's own: masks, pairs, splits by folders and lists, and at the command line."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roadbed.data.dataset import Dataset
from roadbed.data.labels import CAMVID_11
from roadbed.data.sources.folder import FolderSource, read_list, read_split_file
from roadbed.data.sources.folder_splits import Splitting
from roadbed.data.sources.painted import PaintedSource, paint_folder
from roadbed.errors import DataError, UsageError

COUNTS = {"train": 4, "val": 2}
SIZE_PX = (64, 80)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("folder")
    paint_folder(folder, COUNTS, arrangement="folder", size_px=SIZE_PX)
    return folder


@pytest.fixture
def folder(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "own"))


def open_source(folder: Path, **options) -> FolderSource:
    return FolderSource(folder / "images", folder / "masks", folder / "classes.yaml", **options)


def keys(source: FolderSource) -> dict[str, list[str]]:
    return {split: [ref.key for ref in refs] for split, refs in source.splits.items()}


def problems(source: FolderSource) -> list[str]:
    return [*source.problems, *(line for refs in source.splits.values() for ref in refs for line in source.check(ref))]


def assert_reads_as_painted(source: FolderSource) -> None:
    painted = PaintedSource(COUNTS, size_px=SIZE_PX)
    assert problems(source) == []
    for split, refs in painted.splits.items():
        assert len(source.splits[split]) == len(refs)
        for found, wanted in zip(source.splits[split], refs, strict=True):
            for array, expected in zip(source.read(found), painted.read(wanted), strict=True):
                assert (array == expected).all()


def each_mask(folder: Path, change) -> None:
    for path in (folder / "masks").rglob("*.png"):
        image = change(Image.open(path))
        image.save(path)


# Masks.


def test_grey_masks_of_ids(folder):
    source = open_source(folder)
    assert_reads_as_painted(source)
    assert source.label_space.name == "painted"
    assert source.label_space.classes == CAMVID_11.classes
    assert keys(source)["val"] == ["val_000000", "val_000001"]
    assert_reads_as_painted(pickle.loads(pickle.dumps(source)))


def test_palette_masks_of_ids(folder):
    def with_palette(image):
        image.putpalette(bytes(range(256)) * 3)
        return image

    each_mask(folder, with_palette)
    assert_reads_as_painted(open_source(folder))


def colored(image: Image.Image) -> Image.Image:
    return Image.fromarray(CAMVID_11.colorize(np.asarray(image)))


def as_colors(folder: Path) -> None:
    text = (folder / "classes.yaml").read_text().replace("masks: ids\n", "ignore: {colors: ['#000000']}\n")
    (folder / "classes.yaml").write_text(text)


def test_masks_of_colours(folder):
    as_colors(folder)
    each_mask(folder, colored)
    assert_reads_as_painted(open_source(folder))
    each_mask(folder, lambda image: image.quantize(256))
    assert_reads_as_painted(open_source(folder))


def test_raw_ids_are_mapped(folder):
    lines = [
        f"- {{name: {c.name}, ids: [{2 * place + 100}, {2 * place + 101}]}}\n"
        for place, c in enumerate(CAMVID_11.classes)
    ]
    (folder / "classes.yaml").write_text("".join(lines))
    rng = np.random.default_rng(0)

    def scatter(image):
        mask_HW = np.asarray(image)
        raw_HW = 2 * mask_HW + 100 + rng.integers(0, 2, mask_HW.shape, np.uint8)
        return Image.fromarray(np.where(mask_HW == 255, mask_HW, raw_HW))

    each_mask(folder, scatter)
    assert_reads_as_painted(open_source(folder))


def change_pixels(path: Path, value, count: int = 4) -> None:
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, :count] = value
    Image.fromarray(pixels).save(path)


def test_unknown_ids_and_colours_are_named_with_the_nearest_class(folder):
    path = folder / "masks" / "val" / "val_000001.png"
    classes = folder / "classes.yaml"
    change_pixels(path, 14)
    expected = f"{path}: unknown id 14 (4 pixels); nearest to 14 is 10, Bicyclist; known are those of {classes}"
    assert problems(open_source(folder)) == [expected]
    change_pixels(path, 255)
    as_colors(folder)
    each_mask(folder, colored)
    change_pixels(path, (64, 0, 130))
    assert problems(open_source(folder)) == [
        f"{path}: unknown colour (64, 0, 130) (4 pixels); nearest to (64, 0, 130) is (64, 0, 128), Car; "
        f"known are those of {classes}"
    ]


def test_the_other_kind_of_masks(folder):
    classes = folder / "classes.yaml"
    as_colors(folder)
    found = problems(open_source(folder))
    assert len(found) == 6
    assert found[0].endswith(
        f"expected a mask of RGB colours, this one has mode L; if masks hold ids, write `masks: ids` in {classes}"
    )
    each_mask(folder, colored)
    classes.write_text(classes.read_text() + "masks: ids\n")
    assert problems(open_source(folder))[0].endswith(
        "expected a mask of class ids (grey or palette), this one has mode RGB; "
        f"if masks hold colours, write `masks: colors` in {classes} and give every class its color"
    )


# Pairs.


@pytest.mark.parametrize("ending", ["_mask", "_label", "_gt", "_L"])
def test_common_endings_of_masks(folder, ending):
    for path in (folder / "masks").rglob("*.png"):
        path.rename(path.with_stem(path.stem + ending))
    assert_reads_as_painted(open_source(folder))


def test_an_ending_of_ones_own(folder):
    for path in (folder / "masks").rglob("*.png"):
        shutil.copy(path, path.with_stem(path.stem + "_instances"))
        path.rename(path.with_stem(path.stem + "_semantic"))
    assert_reads_as_painted(open_source(folder, mask_suffix="_semantic"))
    assert_reads_as_painted(open_source(folder, mask_suffix="_semantic.PNG"))
    with pytest.raises(
        DataError, match=r"no frame has a mask in .*: the first frame is train/train_000000.png, the fir"
    ):
        open_source(folder)


def test_frames_and_masks_in_one_folder(folder):
    for path in (folder / "masks").rglob("*.png"):
        path.rename(folder / "images" / path.parent.name / f"{path.stem}_mask.png")
    with pytest.raises(UsageError, match=r"--images and --masks are both .*images; say what masks end with"):
        FolderSource(folder / "images", folder / "images", folder / "classes.yaml")
    source = FolderSource(folder / "images", folder / "images", folder / "classes.yaml", mask_suffix="_mask")
    assert_reads_as_painted(source)
    path = folder / "images" / "val" / "val_000001.png"
    shutil.copy(path, path.with_suffix(".jpg"))
    source = FolderSource(folder / "images", folder / "images", folder / "classes.yaml", mask_suffix="_mask")
    assert source.problems == (f"{path}: val/val_000001.jpg has the same name; keep one of them",)


def test_masks_inside_the_folder_of_frames(folder):
    (folder / "masks").rename(folder / "images" / "masks")
    source = FolderSource(folder / "images", folder / "images" / "masks", folder / "classes.yaml")
    assert_reads_as_painted(source)


def test_what_does_not_pair_up_is_named(folder):
    images, masks = folder / "images", folder / "masks"
    (masks / "train" / "train_000001.png").unlink()
    (images / "val" / "val_000000.png").unlink()
    shutil.copy(masks / "train" / "train_000002.png", masks / "train" / "train_000002_mask.png")
    shutil.copy(images / "val" / "val_000001.png", images / "val" / "val_000001.jpg")
    assert open_source(folder).problems == (
        f"{images}/val/val_000001.png: val/val_000001.jpg has the same name; keep one of them",
        f"{masks}/train/train_000002_mask.png: train/train_000002.png is a mask of the same frame; keep one of them",
        f"{images}/train/train_000001.png: no mask for it in {masks}",
        f"{masks}/val/val_000000.png: no frame for it in {images}",
    )


@pytest.mark.parametrize("suffix", [".bmp", ".TIF", ".tiff", ".webp", ".gif"])
def test_images_that_are_not_read_are_named(folder, suffix):
    frame, mask = (folder / name / "val" / "val_000001.png" for name in ("images", "masks"))
    frame.rename(frame.with_suffix(suffix))
    mask.rename(mask.with_suffix(suffix))
    fix = f"{suffix.lower()} files are not read; convert it to PNG, as with `magick IN OUT.png`, or remove it"
    assert open_source(folder).problems == tuple(f"{path.with_suffix(suffix)}: {fix}" for path in (frame, mask))
    for name in ("images", "masks"):
        for path in (folder / name).rglob("*.png"):
            path.rename(path.with_suffix(suffix))
    with pytest.raises(DataError, match=f"there are no frames, there are no masks(.|\n)*{suffix}: {suffix.lower()} f"):
        open_source(folder)


def test_images_besides_the_masks_do_not_matter(folder):
    for path in [*(folder / "masks").rglob("*.png")]:
        path.rename(path.with_stem(f"{path.stem}_ids"))
    (folder / "masks" / "val" / "look.gif").touch()
    assert_reads_as_painted(open_source(folder, mask_suffix="_ids"))


def test_links_to_nowhere_are_named_once(folder):
    (folder / "masks").rename(folder / "images" / "masks")
    images, masks = folder / "images", folder / "images" / "masks"
    for path in (masks / "val" / "val_000001.png", images / "more", masks / "more"):
        path.unlink(missing_ok=True)
        path.symlink_to("gone")
    source = FolderSource(images, masks, folder / "classes.yaml")
    words = "a link to gone, where nothing is; mend or remove the link"
    assert problems(source) == [
        f"{path}: {words}" for path in (images / "more", masks / "more", masks / "val" / "val_000001.png")
    ]
    path = next(path for path in masks.rglob("train*.png"))
    ref = next(ref for ref in source.splits["train"] if ref.key == path.stem)
    path.unlink()
    path.symlink_to("gone")
    assert source.check(ref) == [f"{path}: {words}"]
    for path in masks.rglob("*.png"):
        path.unlink()
        path.symlink_to("gone")
    with pytest.raises(DataError, match=f"images: no pair can be read\n{images}/more: a link to gone"):
        FolderSource(images, masks, folder / "classes.yaml")


def test_no_folder_and_no_files(folder, tmp_path):
    with pytest.raises(DataError, match="none: there is no such folder; give the folder that holds the masks"):
        FolderSource(folder / "images", tmp_path / "none", folder / "classes.yaml")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"there are no frames, the first mask is train/train_000000.png"):
        FolderSource(tmp_path / "empty", folder / "masks", folder / "classes.yaml")
    with pytest.raises(UsageError, match=rf"^{tmp_path}/none.yaml: there is no such file; check the path$"):
        FolderSource(folder / "images", folder / "masks", tmp_path / "none.yaml")


# Splits by folders and lists.


def test_nothing_says_how_to_split(folder):
    for name in ("images", "masks"):
        (folder / name / "train").rename(folder / name / "left")
        (folder / name / "val").rename(folder / name / "right")
    with pytest.raises(
        UsageError, match=r"put them in train/ and val/, or give --val-share 0.2, --split-file FILE, or"
    ):
        open_source(folder)


def test_a_split_file_and_lists(folder, tmp_path):
    lines = "# mine\n\ntrain train/train_000000.png\ntrain train_000001\nhold-out val_000000\n"
    (tmp_path / "splits.txt").write_text(lines)
    listed = read_split_file(str(tmp_path / "splits.txt"))
    source = open_source(folder, splitting=Splitting(listed=listed))
    assert keys(source) == {
        "train": ["train/train_000000", "train/train_000001"],
        "hold-out": ["val/val_000000"],
    }
    assert source.problems == (
        "frames that stand in none of the lists: 3, the first train/train_000002; list or remove them",
    )
    (tmp_path / "val.txt").write_text("val_000000\nval_000001\nnobody\n")
    source = open_source(folder, splitting=Splitting(listed=read_list("val", str(tmp_path / "val.txt"))))
    assert {split: len(names) for split, names in keys(source).items()} == {"train": 4, "val": 2}
    assert source.problems == (f"{tmp_path}/val.txt: line 3 names nobody, which is no pair of frame and mask here",)


# At the command line.


def words_of(folder: Path, dest: Path) -> tuple[object, ...]:
    sources = ("--images", folder / "images", "--masks", folder / "masks", "--classes", folder / "classes.yaml")
    return ("data", "prepare", "folder", dest, *sources)


def test_the_command_line(folder, tmp_path, roadbed):
    shares = ("--val-share", "0.3", "--group-by", "([a-z]*)_")
    status, _, err = roadbed(*words_of(folder, tmp_path / "out"), *shares)
    assert status == 2
    assert "would deal the frames of train/, val/ anew" in err
    flat = Path(shutil.copytree(folder, tmp_path / "flat"))
    for path in [*flat.rglob("*.png")]:
        path.rename(path.parents[1] / path.name)
    status, _, err = roadbed(*words_of(flat, tmp_path / "out"), *shares)
    assert status == 0, err
    assert "val: 1 of 2 sequences, 2 of 6 frames (33.3 %, asked for 30.0 %)" in err
    dataset = Dataset.open(str(tmp_path / "out"))
    assert dataset.label_space.class_names == CAMVID_11.class_names
    assert {name: split.num_samples for name, split in dataset.splits.items()} == {"train": 4, "val": 2}
    for name in COUNTS:
        (tmp_path / f"{name}.txt").write_text("".join(f"{name}_{n:06d}\n" for n in range(COUNTS[name])))
    lists = [word for name in COUNTS for word in ("--list", f"{name}={tmp_path / name}.txt")]
    status, _, err = roadbed(*words_of(folder, tmp_path / "lists"), *lists)
    assert status == 0, err
    assert Dataset.open(str(tmp_path / "lists")).split("val").key(0) == "val/val_000000"
    (tmp_path / "all.txt").write_text("".join(f"{n} {n}_{i:06d}\n" for n in COUNTS for i in range(COUNTS[n])))
    status, _, err = roadbed(*words_of(folder, tmp_path / "lists"), "--split-file", tmp_path / "all.txt")
    assert status == 0, err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--list", "train"), "'train': write SPLIT=FILE, as in train=train.txt"),
        (("--list", "a=b", "--list", "a=c"), "'a=c': a has the list b already; join the two files"),
        (("--val-share", "2"), "--val-share 2.0"),
        (("--val-share", "nan"), "--val-share nan"),
        (("--classes", "none.yaml"), "error: none.yaml: there is no such file; check the path"),
        (("--split-file", "none.txt"), "error: none.txt: there is no such file; check the path"),
    ],
)
def test_faults_at_the_command_line(folder, tmp_path, roadbed, options, words):
    status, _, err = roadbed(*words_of(folder, tmp_path / "out"), *options)
    assert status == 2
    assert words in err
