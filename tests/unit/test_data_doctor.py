"""`roadbed data doctor` at the command line, all that it takes, its JSON and its page."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from roadbed.data.doctor import CHECKS, examine
from roadbed.data.doctor.recognise import recognise
from roadbed.data.prepare import PrepareOptions, prepare
from roadbed.data.sources.painted import PaintedSource, paint_folder
from roadbed.errors import DataError, UsageError
from roadbed.report.doctor import doctor_page
from roadbed.storage import open_store

COUNTS = {"train": 10, "val": 5}
SIZE_PX = (120, 160)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("doctor")
    paint_folder(folder, COUNTS, arrangement="folder", size_px=SIZE_PX, seed=1)
    return folder


@pytest.fixture
def folder(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "own"))


def make_empty(path: Path) -> None:
    Image.fromarray(np.full(SIZE_PX, 255, np.uint8)).save(path)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


# At the command line.


def test_a_clean_folder(roadbed, original):
    status, out, err = roadbed("data", "doctor", original, "--strict")
    assert status == 0, err
    assert out.splitlines() == [
        f"{original}  folder: 10 train, 5 val pairs",
        "errors: 0, warnings: 0, notes: 0; nothing odd was found",
    ]
    assert "doctor folder: 15/15" in err


def test_errors_and_warnings_at_the_command_line(roadbed, folder):
    empty, broken = folder / "masks/train/train_000002.png", folder / "images/val/val_000001.png"
    make_empty(empty)
    status, out, _ = roadbed("data", "doctor", folder)
    assert status == 0
    assert out.splitlines()[1:] == [
        "warning [mask-empty] masks without a labelled pixel: 1",
        f"  {empty}: every pixel is ignored",
        "    label them, or remove the pairs",
        "errors: 0, warnings: 1, notes: 0",
    ]
    assert roadbed("data", "doctor", folder, "--strict")[0] == 1
    assert roadbed("data", "doctor", folder, "--strict", "--skip", "mask-empty")[0] == 0
    cut_short(broken)
    status, out, _ = roadbed("data", "doctor", folder)
    assert status == 1
    assert f"  {broken}: " in out


def test_lists_are_bounded(roadbed, folder):
    for path in (folder / "masks/train").iterdir():
        make_empty(path)
    _, out, _ = roadbed("data", "doctor", folder, "--places", 3)
    assert "masks without a labelled pixel: 10" in out
    assert out.count("every pixel is ignored") == 3
    assert "... and 7 more" in out


def test_json(roadbed, folder, tmp_path):
    cut_short(folder / "images/val/val_000001.png")
    status, out, err = roadbed("data", "doctor", folder, "--json", "--page", tmp_path / "doctor.html")
    assert status == 1
    told = json.loads(out)
    assert (told["subject"], told["kind"], told["pairs"]) == (str(folder), "folder", COUNTS)
    assert (told["errors"], told["warnings"], told["notes"]) == (1, 0, 0)
    (finding,) = told["findings"]
    assert finding["check"] == "file-broken"
    assert finding["places"][0]["place"].endswith("val_000001.png")
    assert f"page: {tmp_path}/doctor.html" in err


def test_the_checks_are_printed(roadbed):
    status, out, _ = roadbed("data", "doctor", "--checks")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == list(CHECKS)


def test_what_cannot_be_meant(roadbed, original, tmp_path):
    def refusal(*words: object) -> str:
        status, _, err = roadbed("data", "doctor", *words)
        assert status == 2
        return err

    assert "name a folder or a uri" in refusal()
    assert "no check of this name; did you mean mask-empty?" in refusal(original, "--skip", "mask-emtpy")
    assert "`roadbed data doctor --checks` prints them" in refusal(original, "--skip", "xyz")
    assert "shares are 0 or more" in refusal(original, "--val-share", 2)


# What it takes.


def test_a_folder_without_classes(folder):
    (folder / "classes.yaml").unlink()
    with pytest.raises(UsageError, match=f"{folder}/classes.yaml: there is no such file.*`roadbed data init {folder}`"):
        recognise(str(folder))


def test_what_is_no_dataset(tmp_path):
    with pytest.raises(DataError, match="there is no such folder"):
        recognise(str(tmp_path / "nowhere"))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"")
    (tmp_path / "classes.yaml").write_text("classes: [road]")
    with pytest.raises(UsageError, match=r"no folder images/ or the like; it holds pictures/: name the folder by --im"):
        recognise(str(tmp_path))


def test_folders_by_other_names(roadbed, folder):
    for old, new in (("images", "photos"), ("masks", "truth"), ("classes.yaml", "names.yaml")):
        (folder / old).rename(folder / new)
    places = ("--images", folder / "photos", "--masks", folder / "truth", "--classes", folder / "names.yaml")
    status, out, err = roadbed("data", "doctor", folder, *places)
    assert status == 0, err
    assert "nothing odd was found" in out


def test_shares_are_those_of_prepare(roadbed, original, tmp_path):
    for kind in ("images", "masks"):
        shutil.copytree(original / kind / "train", tmp_path / kind)
    shutil.copy(original / "classes.yaml", tmp_path)
    status, out, err = roadbed("data", "doctor", tmp_path, "--val-share", 0.3, "--skip", "class-unscored")
    assert status == 0, err
    assert "folder: 7 train, 3 val pairs" in out
    _, out, _ = roadbed("data", "doctor", tmp_path)
    assert "note [no-split]" in out
    assert "folder: 8 train, 2 val pairs" in out


def test_sequences_by_a_pattern(roadbed, folder):
    """One that names the drive in the frame's name, and one that wants the folder of the split."""
    for kind in ("images", "masks"):
        for number, path in enumerate(sorted((folder / kind).glob("*/*.png"))):
            path.rename(path.with_name(f"{number:04d}-drive{number // 6}.png"))
    status, out, err = roadbed("data", "doctor", folder, "--strict")
    assert status == 0, err
    status, out, _ = roadbed("data", "doctor", folder, "--strict", "--group-by", "-(drive.)")
    assert status == 1
    assert "drive1: is in train, val" in out
    assert roadbed("data", "doctor", folder, "--group-by", "^(train|val)/")[0] == 0


@pytest.mark.parametrize("arrangement", ["segnet", "original"])
def test_camvid_in_its_arrangements(tmp_path, arrangement):
    paint_folder(tmp_path, COUNTS, arrangement=arrangement, size_px=SIZE_PX, seed=1)
    subject = recognise(str(tmp_path))
    assert subject.kind == "camvid"
    assert examine(subject).findings == ()
    masks = "valannot" if arrangement == "segnet" else "LabeledApproved_full"
    path = next((tmp_path / masks).glob("val_000003*"))
    cut_short(path)
    (finding,) = examine(subject).findings
    assert [(fault.check, fault.place) for fault in finding.faults] == [("file-broken", str(path))]


def test_cityscapes(tmp_path):
    paint_folder(tmp_path, {"train": 4, "val": 2}, arrangement="cityscapes", size_px=SIZE_PX, seed=1)
    subject = recognise(str(tmp_path))
    path = next(tmp_path.glob("leftImg8bit/val/*/*.png"))
    cut_short(path)
    findings = {finding.check: finding for finding in examine(subject).findings}
    assert subject.kind == "cityscapes"
    assert findings["file-broken"].faults[0].place == str(path)
    # The painted town has no trains, and the like.
    assert set(findings) <= {"file-broken", "class-absent", "class-unscored", "class-rare", "class-shift"}


@pytest.mark.parametrize("encoding", ["png", "zstd"])
def test_a_prepared_dataset(roadbed, tmp_path, encoding):
    options = PrepareOptions(samples_per_shard=4, image_encoding=encoding, mask_encoding=encoding)
    prepare(PaintedSource(COUNTS, size_px=SIZE_PX, seed=1), open_store(str(tmp_path)), options=options)
    status, out, err = roadbed("data", "doctor", tmp_path, "--strict")
    assert status == 0, err
    assert f"file://{tmp_path}  dataset: 10 train, 5 val pairs" in out
    (shard,) = tmp_path.glob("*/val-000001.tar")
    data = bytearray(shard.read_bytes())
    data[1600] ^= 1
    shard.write_bytes(data)
    status, out, _ = roadbed("data", "doctor", tmp_path)
    assert status == 1
    assert f"file://{tmp_path}: val/val_000004: " in out
    assert "is not what the index says" in out


def test_no_pair_at_all(original):
    subject = recognise(str(original))
    with pytest.raises(DataError, match="no pair of frame and mask"):
        examine(type(subject)(**{**vars(subject), "pairs": []}))


def test_threads_change_nothing(folder):
    for number in (1, 4, 8):
        make_empty(folder / f"masks/train/train_00000{number}.png")
    subject = recognise(str(folder))
    assert examine(subject, num_threads=1) == examine(subject, num_threads=4)


# The page.


def test_the_page_has_every_finding_with_pictures(folder):
    make_empty(folder / "masks/train/train_000002.png")
    shutil.copy(folder / "images/train/train_000003.png", folder / "masks/train/train_000003.png")
    shutil.copy(folder / "images/train/train_000005.png", folder / "images/val/val_000000.png")
    subject = recognise(str(folder))
    diagnosis = examine(subject)
    page = doctor_page(diagnosis, subject)
    for finding in diagnosis.findings:
        assert f'id="{finding.check}-{finding.severity}"' in page
    assert page.count("<img ") >= 2 * len(diagnosis.findings)
    assert len(re.findall(r'<img src="data:image/(?:png|jpeg);base64,[^"]+" alt="[^"]+">', page)) == page.count("<img ")
    assert "<script" not in page
    assert "http:" not in page.replace("http-equiv", "")
    assert len(page) < 1_000_000


def test_names_are_text_on_the_page(folder):
    name = "<img src=x onerror=alert(1)>&"
    for kind in ("images", "masks"):
        (folder / kind / "train/train_000002.png").rename(folder / kind / f"train/{name}.png")
    make_empty(folder / f"masks/train/{name}.png")
    subject = recognise(str(folder))
    page = doctor_page(examine(subject), subject)
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;" in page


def test_the_page_of_a_clean_folder(original):
    subject = recognise(str(original))
    page = doctor_page(examine(subject), subject)
    assert "Nothing odd was found." in page
    assert "Bicyclist" in page


# Real frames.


@pytest.mark.camvid
def test_real_camvid_is_silent_but_for_its_split(camvid_dir):
    """SegNet's val is a part of a drive of which train has frames before and after."""
    findings = examine(recognise(str(camvid_dir))).findings
    assert [(f.check, fault.place, fault.detail) for f in findings for fault in f.faults] == [
        ("split-sequence", "0016E5", "is in train, val")
    ]


def test_the_document_has_the_table_of_checks():
    text = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")
    rows = [tuple(cell.strip() for cell in line.split(" | ")) for line in text.splitlines() if line.startswith("| `")]
    told = [(row[0].strip("| `"), *row[1:3], row[3].removesuffix(" |")) for row in rows if len(row) == 4]
    assert told == [(check.id, check.severity, check.finds, check.fix) for check in CHECKS.values()]


# Whatever lies in a folder.


def odd_pictures() -> dict[str, bytes]:
    """Files in all modes that Pillow and OpenCV write, and some that only pretend."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 255, (120, 160, 3), np.uint8))
    with_clear = rgb.convert("P")
    with_clear.info["transparency"] = bytes(range(256))
    files = {}
    modes = [("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")]
    for kind, mode in [*modes, ("JPEG", "CMYK"), ("JPEG", "L"), ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "RGB")]:
        stream = io.BytesIO()
        rgb.convert(mode).save(stream, kind)
        files[f"{kind} {mode}"] = stream.getvalue()
    stream = io.BytesIO()
    with_clear.save(stream, "PNG")
    files["PNG P with transparency"] = stream.getvalue()
    for channels in ((), (3,), (4,)):
        pixels = rng.integers(0, 65535, (120, 160, *channels), np.uint16)
        files[f"PNG of 16 bits {channels}"] = cv2.imencode(".png", pixels)[1].tobytes()
    stream = io.BytesIO()
    rgb.save(stream, "PNG", save_all=True, append_images=[rgb.rotate(180)])
    files["moving PNG"] = stream.getvalue()
    files |= {"PNG of one pixel": cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes()}
    files |= {"zstd of nothing": b"\x28\xb5\x2f\xfd" + bytes(40), "a signature": b"\x89PNG\r\n\x1a\n"}
    return files


@pytest.mark.parametrize("which", ["images", "masks"])
def test_nothing_is_too_odd_to_be_told(folder, which):
    files = odd_pictures()
    for number, data in enumerate(files.values()):
        for kind in ("images", "masks"):
            path = folder / kind / f"train/odd_{number:03d}.png"
            path.write_bytes(data if kind == which else (folder / kind / "train/train_000000.png").read_bytes())
    subject = recognise(str(folder))
    diagnosis = examine(subject)
    told = {fault.place for finding in diagnosis.findings for fault in finding.faults}
    for number, name in enumerate(files):
        assert str(folder / which / f"train/odd_{number:03d}.png") in told or (which, name) in FINE, name
    assert doctor_page(diagnosis, subject).count("<img ") > 10


# What is a frame, whatever its suffix says.
FINE = {("images", name) for name in ("PNG RGB", "BMP RGB", "TIFF RGB", "moving PNG")}
