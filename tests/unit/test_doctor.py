"""The doctor: a table of planted defects, each one change to a clean folder, found with its file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from roadbed.data.doctor import CHECKS, Diagnosis, examine
from roadbed.data.doctor.recognise import recognise
from roadbed.data.labels import CAMVID_11
from roadbed.data.sources.folder import FolderSource
from roadbed.data.sources.folder_splits import Splitting
from roadbed.data.sources.painted import paint_folder

COUNTS = {"train": 10, "val": 5}
SIZE_PX = (120, 160)
FRAME, MASK = "images/train/train_000003.png", "masks/train/train_000003.png"
OTHER_FRAME, OTHER_MASK = "images/train/train_000007.png", "masks/train/train_000007.png"
VAL_FRAME, VAL_MASK = "images/val/val_000002.png", "masks/val/val_000002.png"


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("doctor")
    paint_folder(folder, COUNTS, arrangement="folder", size_px=SIZE_PX, seed=1)
    return folder


@pytest.fixture
def folder(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "own"))


def diagnose(folder: Path) -> Diagnosis:
    return examine(recognise(str(folder)), num_threads=1)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).copy()


def save(pixels: np.ndarray, path: Path, **options) -> None:
    Image.fromarray(pixels).save(path, **options)


def change(name: str, how: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """The picture at a place as `how` makes it from itself."""
    return lambda folder: save(np.ascontiguousarray(how(pixels(folder / name))), folder / name)


def change_all(pattern: str, how: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        for path in folder.glob(pattern):
            save(np.ascontiguousarray(how(pixels(path))), path)

    return do


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def rename(name: str, other: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).rename(folder / other) and None


def copy(name: str, other: str) -> Callable[[Path], None]:
    return lambda folder: shutil.copy(folder / name, folder / other) and None


def both(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        for one in changes:
            one(folder)

    return do


def cut_short(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-2000]) and None


def empty(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(b"") and None


def turned_by_exif(folder: Path) -> None:
    image = Image.open(folder / FRAME)
    image.load()
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(folder / FRAME, exif=exif)


def converted(name: str, mode: str) -> Callable[[Path], None]:
    return lambda folder: Image.open(folder / name).convert(mode).save(folder / name)


def frame_of_16_bits(folder: Path) -> None:
    cv2.imwrite(str(folder / FRAME), pixels(folder / FRAME).astype(np.uint16) * 257)


def colours_of(folder: Path, name: str) -> np.ndarray:
    return CAMVID_11.colorize(pixels(folder / name))


def as_colours(folder: Path) -> None:
    """All masks as colours, and a classes.yaml that says so: as clean as before."""
    for path in folder.glob("masks/*/*.png"):
        save(CAMVID_11.colorize(pixels(path)), path)
    text = (folder / "classes.yaml").read_text().replace("masks: ids\n", "ignore: {colors: ['#000000']}\n")
    (folder / "classes.yaml").write_text(text)


def smooth(values: np.ndarray, times: float = 1.0) -> np.ndarray:
    return cv2.GaussianBlur(values, (0, 0), times)


def halved_and_enlarged(mask_HW: np.ndarray) -> np.ndarray:
    """Through half the size and back, as an editor does it."""
    height, width = mask_HW.shape
    small = cv2.resize(mask_HW, (width // 2, height // 2), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def without_void(mask_HW: np.ndarray) -> np.ndarray:
    return np.where(mask_HW == 255, np.uint8(0), mask_HW)


def as_jpeg(name: str) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        save(pixels(folder / name), (folder / name).with_suffix(".jpg"))
        (folder / name).unlink()

    return do


def through_jpeg(folder: Path) -> None:
    """Colours that were a JPEG once, and are PNG now."""
    as_colours(folder)
    data = cv2.imencode(".jpg", pixels(folder / MASK), (cv2.IMWRITE_JPEG_QUALITY, 80))[1]
    save(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), folder / MASK)


def palettes(folder: Path) -> None:
    """Palette files, in one of which numbers are dealt otherwise."""
    for path in folder.glob("masks/*/*.png"):
        image = Image.fromarray(pixels(path))
        colors = CAMVID_11.palette_N3.copy()
        if path.name in MASK:
            colors[[3, 0]] = colors[[0, 3]]
        image.putpalette(colors.ravel().tolist())
        image.save(path)


def speckled(mask_HW: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.where(rng.random(mask_HW.shape) < 0.03, np.uint8(8), mask_HW)


def moved(right: int, down: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda mask_HW: np.roll(mask_HW, (down, right), (0, 1))


def swapped(folder: Path) -> None:
    first, second = pixels(folder / MASK), pixels(folder / OTHER_MASK)
    save(second, folder / MASK)
    save(first, folder / OTHER_MASK)


def clouds(mask_HW: np.ndarray) -> np.ndarray:
    """Blots of several classes that are not in the frame."""
    noise_HW = cv2.GaussianBlur(np.random.default_rng(0).random(mask_HW.shape), (0, 0), 6)
    return np.digitize(noise_HW, np.quantile(noise_HW, (0.2, 0.4, 0.6, 0.8))).astype(np.uint8)


def one_too_far(folder: Path) -> None:
    """Every mask of training lies beside the frame after its own."""
    names = [f"train_{number:06d}.png" for number in range(COUNTS["train"])]
    masks = {name: pixels(folder / "masks/train" / name) for name in names}
    for name, before in zip(names, [names[-1], *names[:-1]], strict=True):
        save(masks[before], folder / "masks/train" / name)


def void_over(share: float) -> Callable[[np.ndarray], np.ndarray]:
    def do(mask_HW: np.ndarray) -> np.ndarray:
        mask_HW[: round(share * len(mask_HW))] = 255
        return mask_HW

    return do


def without(number: int, pattern: str) -> Callable[[Path], None]:
    """Pixels of a class become the road's."""
    return change_all(pattern, lambda mask_HW: np.where(mask_HW == number, np.uint8(3), mask_HW))


def hardly(number: int) -> Callable[[Path], None]:
    """Of a class, a pixel is left for training."""

    def leave_one(folder: Path) -> None:
        mask_HW = pixels(folder / MASK)
        mask_HW[0, 0] = number
        save(mask_HW, folder / MASK)

    return both(without(number, "masks/train/*.png"), leave_one)


def mostly_sky(mask_HW: np.ndarray) -> np.ndarray:
    return np.where((mask_HW == 3) | (mask_HW == 1), np.uint8(0), mask_HW)


def recompressed(folder: Path) -> None:
    """A frame of training in val, through JPEG, a little brighter and smaller."""
    image = Image.open(folder / FRAME).resize((140, 104), Image.Resampling.BICUBIC)
    image = Image.fromarray(np.clip(np.asarray(image).astype(np.int16) + 12, 0, 255).astype(np.uint8))
    image.resize((160, 120)).save(folder / "images/val/val_000009.jpg", quality=60)
    shutil.copy(folder / MASK, folder / "masks/val/val_000009.png")


def drives(folder: Path) -> None:
    """Names of drives, one of which is in two splits."""
    for kind in ("images", "masks"):
        for number, path in enumerate(sorted((folder / kind).glob("*/*.png"))):
            drive = "north" if number < 7 else "south" if number < 12 else "east"
            path.rename(path.with_name(f"{drive}_{number:04d}.png"))


def without_split_folders(folder: Path) -> None:
    for kind in ("images", "masks"):
        for path in list((folder / kind).glob("*/*.png")):
            path.rename(folder / kind / path.name)
        for path in list((folder / kind).iterdir()):
            if path.is_dir():
                path.rmdir()


@dataclass(frozen=True)
class Planted:
    """A defect: the change that makes it, the check that finds it, and what its places or details name.

    `besides` are checks that the same change sets off, rightly.
    """

    name: str
    check: str
    change: Callable[[Path], object]
    named: tuple[str, ...]
    besides: frozenset[str] = frozenset()


PLANTED = (
    # How files lie.
    Planted("a frame without a mask", "frame-alone", remove(MASK), (FRAME,)),
    Planted("a mask without a frame", "mask-alone", remove(FRAME), (MASK,)),
    Planted(
        "a mask of nearly the frame's name", "frame-alone", rename(MASK, "masks/train/train_00003.png"),
        (FRAME, "the nearest name is train_00003.png"), frozenset({"mask-alone"}),
    ),
    Planted(
        "a mask in another case", "name-case", rename(MASK, "masks/train/Train_000003.png"),
        (FRAME, "Train_000003.png"),
    ),
    Planted(
        "two names that differ in case", "name-case",
        both(copy(FRAME, "images/train/TRAIN_000003.png"), copy(MASK, "masks/train/TRAIN_000003.png")),
        ("train_000003.png",), frozenset({"duplicate"}),
    ),
    Planted("one name, two suffixes", "name-twice", copy(FRAME, FRAME.replace(".png", ".jpg")), ("train_000003",)),
    Planted("a TIFF", "file-format", copy(FRAME, "images/train/scan.tiff"), ("images/train/scan.tiff",)),
    Planted(
        "a link to nowhere", "link-broken",
        both(remove(FRAME), lambda folder: (folder / FRAME).symlink_to("gone.png")), (FRAME,),
    ),
    Planted(
        "a frame in no split", "split-missing",
        both(rename(FRAME, "images/stray.png"), rename(MASK, "masks/stray.png")), ("stray",),
    ),
    Planted("no split folders", "no-split", without_split_folders, ("--val-share 0.2",)),
    Planted(
        "nothing but training", "split-empty",
        lambda folder: [shutil.rmtree(folder / kind / "val") for kind in ("images", "masks")], ("val",),
    ),
    Planted(
        "nothing to train on", "split-empty",
        lambda folder: [shutil.rmtree(folder / kind / "train") for kind in ("images", "masks")],
        ("nothing to train on",),
    ),
    Planted("a drive in two splits", "split-sequence", drives, ("south",)),
    # Files.
    Planted("a frame cut short", "file-broken", cut_short(FRAME), (FRAME,)),
    Planted("an empty mask file", "file-broken", empty(MASK), (MASK, "an empty file")),
    Planted("a text for a frame", "file-broken", lambda folder: (folder / FRAME).write_text("moved"), (FRAME,)),
    Planted("a turned frame", "exif-rotation", turned_by_exif, (FRAME, "orientation 6")),
    Planted("a frame of 16 bits", "frame-16-bit", frame_of_16_bits, (FRAME,)),
    Planted("a frame with alpha", "frame-alpha", converted(FRAME, "RGBA"), (FRAME,)),
    Planted("a grey frame file", "frame-mode", converted(FRAME, "L"), (FRAME, "mode L")),
    Planted("a palette frame", "frame-mode", converted(FRAME, "P"), (FRAME, "mode P")),
    Planted(
        "a frame without colours", "frame-grey", both(converted(FRAME, "L"), converted(FRAME, "RGB")), (FRAME,)
    ),
    Planted(
        "a mask among the frames", "frame-few-colours", lambda folder: save(colours_of(folder, MASK), folder / FRAME),
        (FRAME, "colours"),
    ),
    Planted("a black frame", "frame-flat", change(FRAME, lambda image: image * 0), (FRAME,)),
    Planted("a frame in the dark", "frame-brightness", change(FRAME, lambda image: image // 8), (FRAME,)),
    Planted(
        "a dazzled frame", "frame-brightness",
        change(FRAME, lambda image: (255 - (255 - image.astype(np.int16)) // 7).astype(np.uint8)), (FRAME,),
    ),
    Planted(
        "a tiny frame", "frame-tiny",
        both(change(FRAME, lambda image: image[::2, ::2]), change(MASK, lambda mask: mask[::2, ::2])),
        (FRAME, "80x60"), frozenset({"size-mixed"}),
    ),
    Planted(
        "a frame of another size", "size-mixed",
        both(change(FRAME, lambda image: image[:-8]), change(MASK, lambda mask: mask[:-8])), (FRAME, "160x112"),
    ),
    # Masks.
    Planted(
        "a mask of 16 bits", "mask-16-bit",
        lambda folder: save(pixels(folder / MASK).astype(np.uint16), folder / MASK), (MASK,),
    ),
    Planted("a mask of three like channels", "mask-channels", converted(MASK, "RGB"), (MASK, "all channels alike")),
    Planted("a mask with alpha", "mask-channels", converted(MASK, "LA"), (MASK, "mode LA")),
    Planted(
        "colours for ids", "mask-kind", lambda folder: save(colours_of(folder, MASK), folder / MASK),
        (MASK, "colours, most of it"),
    ),
    Planted(
        "ids for colours", "mask-kind",
        both(as_colours, lambda folder: save(np.full(SIZE_PX, 3, np.uint8), folder / MASK)),
        (MASK, "grey numbers 3..3"),
    ),
    Planted("a frame among the masks", "mask-photo", copy(FRAME, MASK), (MASK,)),
    Planted(
        "a grey frame among the masks", "mask-photo",
        lambda folder: Image.open(folder / FRAME).convert("L").save(folder / MASK), (MASK,),
    ),
    Planted("a JPEG mask", "mask-lossy", as_jpeg(MASK), (MASK.replace(".png", ".jpg"),)),
    Planted("a mask that was JPEG", "mask-blended", through_jpeg, (MASK,)),
    Planted("anti-aliased colours", "mask-blended", both(as_colours, change(MASK, smooth)), (MASK,)),
    Planted(
        "ids resized with interpolation", "mask-blended",
        both(change(MASK, without_void), change(MASK, halved_and_enlarged)), (MASK, "of borders"),
    ),
    Planted(
        "a smoothed mask with void", "mask-blended",
        both(change(MASK, void_over(0.2)), change(MASK, smooth)), (MASK,),
    ),
    Planted(
        "an id of no class", "mask-unknown", change(MASK, lambda mask: np.where(mask == 8, np.uint8(42), mask)),
        (MASK, "unknown id 42"),
    ),
    Planted(
        "ids from 1 on", "mask-unknown", change_all("masks/*/*.png", lambda mask: np.where(mask < 11, mask + 1, mask)),
        (MASK, "unknown id 11", "ids may begin at 1"),
    ),
    Planted(
        "ids made visible", "mask-unknown",
        change_all("masks/*/*.png", lambda mask: np.where(mask < 11, mask * 20, mask)),
        (MASK, "all are multiples of 20"),
    ),
    Planted(
        "a colour of no class", "mask-unknown",
        both(as_colours, change(MASK, lambda mask: np.where((mask == (64, 0, 128)).all(2)[..., None], mask + 9, mask))),
        (MASK, "unknown colour"),
    ),
    Planted("palettes that differ", "mask-palette", palettes, (MASK, "in most files")),
    Planted("a mask of void", "mask-empty", change(MASK, lambda mask: mask * 0 + 255), (MASK,)),
    Planted(
        "a mask of void but for a pixel", "mask-empty",
        change(MASK, lambda mask: np.where(np.arange(mask.size).reshape(mask.shape) == 9, np.uint8(3), np.uint8(255))),
        (MASK, "all but 1 pixels"),
    ),
    Planted("a mask of one class", "mask-one-class", change(MASK, lambda mask: mask * 0), (MASK, "all Sky")),
    Planted("half a mask", "mask-void", change(MASK, void_over(0.6)), (MASK, "unlabelled")),
    Planted(
        "masks hardly begun", "void-share", change_all("masks/val/*.png", void_over(0.7)), ("val",),
        frozenset({"class-unscored", "class-shift"}),
    ),
    Planted("a speckled mask", "mask-speckle", change(MASK, speckled), (MASK, "single pixels")),
    # Pairs.
    Planted("a mask of half the size", "size-mismatch", change(MASK, lambda m: m[::2, ::2]), (MASK, "the same view")),
    Planted("a mask of another crop", "size-mismatch", change(MASK, lambda m: m[:, :-40]), (MASK, "another shape")),
    Planted("a turned mask", "size-mismatch", change(MASK, np.rot90), (MASK, "turned by a quarter")),
    Planted("a mask moved to the right", "mask-shifted", change(MASK, moved(8, 0)), (MASK, "to the left")),
    Planted("a mask moved down", "mask-shifted", change(MASK, moved(0, 6)), (MASK, "px up")),
    Planted(
        "all masks moved a little", "split-shifted", change_all("masks/train/*.png", moved(2, 0)), ("train", "2 px to"),
    ),
    Planted("a mirrored mask", "mask-mirrored", change(MASK, np.fliplr), (MASK, "left to right")),
    Planted("a mask upside down", "mask-mirrored", change(MASK, np.flipud), (MASK, "upside down")),
    Planted("two masks exchanged", "mask-swapped", swapped, (MASK, "train_000007", OTHER_MASK)),
    Planted("masks numbered one too far", "mask-swapped", one_too_far, (MASK, "fits the frame of train/train_000002")),
    Planted("a mask of nothing there", "mask-misfit", change(MASK, clouds), (MASK,)),
    # Across the dataset.
    Planted(
        "a frame of training in val", "duplicate-split",
        both(copy(FRAME, "images/val/val_000009.png"), copy(MASK, "masks/val/val_000009.png")), ("val_000009", FRAME),
    ),
    Planted("nearly a frame of training in val", "near-duplicate", recompressed, ("val_000009", FRAME)),
    Planted(
        "a frame twice in training", "duplicate",
        both(copy(FRAME, "images/train/train_000020.png"), copy(MASK, "masks/train/train_000020.png")),
        ("train_000020", FRAME),
    ),
    Planted(
        "a frame twice with two masks", "labels-differ",
        both(
            copy(FRAME, "images/train/train_000020.png"),
            lambda folder: save(np.where(pixels(folder / MASK) == 8, 3, pixels(folder / MASK)).astype(np.uint8),
                                folder / "masks/train/train_000020.png"),
        ),
        ("masks/train/train_000020",), frozenset({"duplicate"}),
    ),
    Planted("a class that is nowhere", "class-absent", without(10, "masks/*/*.png"), ("Bicyclist",)),
    Planted("a class with a pixel", "class-rare", hardly(10), ("Bicyclist",)),
    Planted("a class that val lacks", "class-unscored", without(10, "masks/val/*.png"), ("Bicyclist in val",)),
    Planted("a val of another town", "class-shift", change_all("masks/val/*.png", mostly_sky), ("val", "most of all"),
            frozenset({"class-unscored"})),
)  # fmt: skip


def test_a_clean_folder_is_silent(folder):
    diagnosis = diagnose(folder)
    assert [finding.as_json(3) for finding in diagnosis.findings] == []
    assert diagnosis.num_pairs == COUNTS
    assert diagnosis.kind == "folder"
    assert set(diagnosis.class_shares["val"]) == {*CAMVID_11.class_names, "unlabelled"}
    assert sum(diagnosis.class_shares["val"].values()) == pytest.approx(1)


def test_masks_of_colours_are_silent(folder):
    as_colours(folder)
    assert diagnose(folder).findings == ()
    for path in folder.glob("masks/*/*.png"):
        Image.open(path).quantize(256).save(path)
    assert diagnose(folder).findings == ()


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name.replace(" ", "-"))
def test_a_planted_defect_is_found_with_its_file(folder, planted):
    planted.change(folder)
    findings = {finding.check: finding for finding in diagnose(folder).findings}
    told = {check: [(f.place, f.detail) for f in finding.faults] for check, finding in findings.items()}
    assert set(findings) == {planted.check} | planted.besides, told
    text = "\n".join(f"{fault.place}: {fault.detail}" for fault in findings[planted.check].faults)
    for name in planted.named:
        assert name in text, told


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name.replace(" ", "-"))
def test_what_prepare_refuses_is_an_error(folder, planted):
    planted.change(folder)
    errors = [finding for finding in diagnose(folder).findings if finding.severity == "error"]
    places = {fault.place for finding in errors for fault in finding.faults}
    source = FolderSource(
        folder / "images", folder / "masks", folder / "classes.yaml",
        splitting=Splitting(val_share=0.2) if planted.check == "no-split" else None,
    )  # fmt: skip
    for refs in source.splits.values():
        for line in (line for ref in refs for line in source.check(ref)):
            assert any(line.startswith(f"{place}: ") for place in places), line
    assert errors or not source.problems


def test_every_check_has_a_planted_defect():
    assert {planted.check for planted in PLANTED} == CHECKS.keys() - {"arrangement"}
