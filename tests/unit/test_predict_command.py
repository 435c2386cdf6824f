"""`roadbed predict`: pictures and videos through a real network; what is there is left, what is bad is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from roadbed.data.labels import CAMVID_11
from roadbed.errors import DataError, StoreError
from roadbed.inference.predictor import Predictor
from roadbed.prediction.video import VideoReader, write_video
from roadbed.registry import Registry
from roadbed.report.overlay import overlay
from roadbed.storage import open_store
from serving_support import publish, saved

Roadbed = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with versions of road, the third of which was scored on mirrored frames too."""
    root = tmp_path_factory.mktemp("store")
    registry = Registry(open_store(str(root)))
    for seed in (0, 1):
        publish(registry, seed=seed)
    publish(registry, spec={"train": {"eval_flip": True}})
    return root


@pytest.fixture(scope="module")
def predictor(root: Path) -> Predictor:
    return Predictor.load(Registry(open_store(str(root))).resolve("road:1"))


def picture(seed: int) -> np.ndarray:
    """Blocks of colour, which videos keep as well as pictures do."""
    blocks_hw3 = np.random.default_rng(seed).integers(0, 256, (3, 4, 3)).astype(np.uint8)
    return blocks_hw3.repeat(16, axis=0).repeat(16, axis=1)


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Three pictures in two folders."""
    for number, key in enumerate(("a.png", "day/a.png", "day/b.png")):
        path = tmp_path / "drive" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(saved(picture(number)))
    return tmp_path / "drive"


def run(roadbed: Roadbed, root: Path, *words: object, status: int = 0) -> tuple[dict[str, Any], str]:
    found, out, err = roadbed("predict", "road:1", *words, "--store", root, "--engine", "torch", "--json")
    assert found == status, err
    return json.loads(out) if out else {}, err


def files(folder: Path) -> list[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return sorted(path.as_posix() for path in found)


def ids(path: Path) -> np.ndarray:
    with Image.open(path) as mask:
        assert mask.mode == "P"
        return np.asarray(mask)


class TestPictures:
    def test_sub_folders_come_again(self, roadbed: Roadbed, root: Path, drive: Path, predictor: Predictor) -> None:
        out = drive.parent / "out"
        told, _ = run(roadbed, root, drive, "-o", out, "--write", "masks,overlays,side-by-side")
        assert (told["pictures"], told["already_there"], told["failed"]) == (3, 0, [])
        assert told["output"] == str(out)
        assert told["engine"].startswith("torch ")
        assert files(out) == [
            *(f"a.{what}.png" for what in ("mask", "overlay", "side")),
            *(f"day/{name}.{what}.png" for name in "ab" for what in ("mask", "overlay", "side")),
            "predictions.json",
        ]
        mask_HW = predictor.predict(picture(2))
        assert len(np.unique(mask_HW)) > 1, "a model of one answer would show little"
        assert np.array_equal(ids(out / "day" / "b.mask.png"), mask_HW)
        with Image.open(out / "day" / "b.overlay.png") as drawn:
            assert np.array_equal(np.asarray(drawn), overlay(picture(2), mask_HW, CAMVID_11))

    def test_it_goes_on_where_it_was(self, roadbed: Roadbed, root: Path, drive: Path) -> None:
        out = drive.parent / "out"
        run(roadbed, root, drive, "-o", out)
        whole = {key: (out / key).read_bytes() for key in files(out)}
        (out / "a.mask.png").unlink()
        (out / "day" / "a.overlay.png").unlink()
        (out / "day" / "b.overlay.png").write_bytes(b"left as it is")
        told, _ = run(roadbed, root, drive, "-o", out)
        assert (told["pictures"], told["already_there"]) == (2, 1)
        assert (out / "day" / "b.overlay.png").read_bytes() == b"left as it is"
        told, _ = run(roadbed, root, drive, "-o", out, "--overwrite")
        assert told["pictures"] == 3
        assert {key: (out / key).read_bytes() for key in files(out)} == whole
        status, told_people, _ = roadbed("predict", "road:1", drive, "-o", out, "--store", root, "--engine", "torch")
        assert (status, told_people.split(" (")[0]) == (0, f"nothing new, 3 of the inputs were there already: {out}")

    def test_a_mask_that_is_there_is_drawn_and_not_computed_again(
        self, roadbed: Roadbed, root: Path, drive: Path
    ) -> None:
        out = drive.parent / "out"
        run(roadbed, root, drive / "a.png", "-o", out, "--write", "masks")
        sky = Image.fromarray(np.zeros((48, 64), np.uint8), mode="P")
        sky.save(out / "a.mask.png")
        run(roadbed, root, drive / "a.png", "-o", out)
        with Image.open(out / "a.overlay.png") as drawn:
            assert np.array_equal(np.asarray(drawn), overlay(picture(0), np.zeros((48, 64), np.uint8), CAMVID_11))

    @pytest.mark.parametrize(
        ("mask", "expected"),
        [
            (saved(Image.new("P", (8, 4))), "out/a.mask.png: is 8x4, its image is 64x48 now; delete it"),
            (b"junk", "out/a.mask.png: is damaged (cannot identify image file"),
        ],
    )
    def test_a_mask_that_cannot_be_that_of_its_image(
        self, roadbed: Roadbed, root: Path, drive: Path, mask: bytes, expected: str
    ) -> None:
        out = drive.parent / "out"
        run(roadbed, root, drive / "a.png", "-o", out, "--write", "masks")
        (out / "a.mask.png").write_bytes(mask)
        assert expected in run(roadbed, root, drive / "a.png", "-o", out, status=1)[1]

    def test_another_version_or_other_options(self, roadbed: Roadbed, root: Path, drive: Path) -> None:
        out = drive.parent / "out"
        run(roadbed, root, drive, "-o", out)
        _, err = run(roadbed, root, drive, "-o", out, "--tile", "64x64", status=2)
        assert "what is there was made otherwise (tile None, now 64x64); name another output, or let --overwrite" in err
        status, _, err = roadbed("predict", "road:2", drive, "-o", out, "--store", root, "--engine", "torch")
        assert (status, "model road:1, now road:2; version " in err) == (2, True)

    def test_it_looks_as_often_as_the_version_was_scored(self, roadbed: Roadbed, root: Path, drive: Path) -> None:
        out = drive.parent / "out"
        words = ("predict", "road:3", drive / "a.png", "-o", out, "--store", root)
        for more, views in (((), "1,flip"), (("--fast", "--overwrite"), "1")):
            status, _, err = roadbed(*words, *more)
            assert (status, "`roadbed models export road:3` makes one" in err) == (0, True)
            assert json.loads((out / "predictions.json").read_text())["made_with"]["views"] == views

    def test_bad_pictures_are_named_and_the_others_done(self, roadbed: Roadbed, root: Path, drive: Path) -> None:
        (drive / "cut.png").write_bytes(saved(picture(0))[:60])
        (drive / "notes.jpg").write_text("to do")
        (drive / "gone.png").symlink_to(drive / "nowhere.png")
        out = drive.parent / "out"
        told, err = run(roadbed, root, drive, "-o", out, status=1)
        assert told["pictures"] == 3
        assert [failed["input"] for failed in told["failed"]] == [
            f"file://{drive}/{name}" for name in ("cut.png", "gone.png", "notes.jpg")
        ]
        assert "error: 3 of 6 inputs could not be predicted:\n" in err
        assert f"{drive}/cut.png: is damaged or cut short" in err
        assert f"{drive}/notes.jpg: is not an image" in err
        assert f"{drive}/gone.png: there is no such object" in err
        assert len([key for key in files(out) if key.endswith(".mask.png")]) == 3

    def test_workers_elsewhere_reach_no_folder(
        self, roadbed: Roadbed, root: Path, drive: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RAY_ADDRESS", "ray.example:10001")
        words = ("s3://b/drive", "-o", drive.parent / "out", "--store", "s3://b", "--workers", 2)
        status, _, err = roadbed("predict", "road:1", *words)
        assert status == 2
        assert f"{drive.parent}/out: workers on the Ray cluster at ray.example:10001 cannot reach a folder" in err


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten frames, ten a second."""
    write_video((picture(number) for number in range(10)), tmp_path / "clip.avi", rate=10)
    return tmp_path / "clip.avi"


def frames(path: Path) -> list[np.ndarray]:
    """By OpenCV alone, one after the other."""
    capture = cv2.VideoCapture(str(path))
    found = []
    while (answer := capture.read())[0]:
        found.append(cv2.cvtColor(answer[1], cv2.COLOR_BGR2RGB))
    return found


class TestVideos:
    def test_masks_are_those_of_the_frames(
        self, roadbed: Roadbed, root: Path, clip: Path, predictor: Predictor
    ) -> None:
        out = clip.parent / "out"
        told, _ = run(roadbed, root, clip, "-o", out, "--every", 3, "--write", "overlays,side-by-side")
        assert (told["pictures"], told["frames"], told["videos"]) == (0, 4, 1)
        masks = [f"clip/{number:06d}.mask.png" for number in (0, 3, 6, 9)]
        assert files(out) == ["clip.overlay.mp4", "clip.side.mp4", *masks, "predictions.json"]
        seen = frames(clip)[::3]
        expected = [predictor.predict(frame) for frame in seen]
        assert [ids(out / key).tolist() for key in masks] == [mask.tolist() for mask in expected]
        drawn = frames(out / "clip.overlay.mp4")
        assert len(drawn) == 4
        assert VideoReader(out / "clip.overlay.mp4", "it").rate == pytest.approx(10 / 3, abs=0.01)
        for image, mask, found in zip(seen, expected, drawn, strict=True):
            assert np.abs(overlay(image, mask, CAMVID_11).astype(int) - found).mean() < 10

    def test_it_goes_on_with_the_frames_that_are_missing(self, roadbed: Roadbed, root: Path, clip: Path) -> None:
        out = clip.parent / "out"
        run(roadbed, root, clip, "-o", out)
        whole = {key: (out / key).read_bytes() for key in files(out)}
        for key in ("clip/000004.mask.png", "clip/000007.mask.png", "clip.overlay.mp4"):
            (out / key).unlink()
        told, _ = run(roadbed, root, clip, "-o", out)
        assert (told["frames"], told["videos"], told["already_there"]) == (2, 1, 0)
        assert {key: (out / key).read_bytes() for key in files(out)} == whole
        told, _ = run(roadbed, root, clip, "-o", out)
        assert (told["frames"], told["videos"], told["already_there"]) == (0, 0, 1)

    def test_masks_alone(self, roadbed: Roadbed, root: Path, clip: Path) -> None:
        out = clip.parent / "out"
        for num_frames in (10, 0):
            told, _ = run(roadbed, root, clip, "-o", out, "--write", "masks")
            assert (told["frames"], told["videos"], told["already_there"]) == (num_frames, 0, num_frames == 0)

    def test_what_is_no_video_and_one_that_is_cut_short(
        self, roadbed: Roadbed, root: Path, clip: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "videos"
        folder.mkdir()
        (folder / "junk.mp4").write_bytes(b"junk" * 100)
        write_video((picture(number % 10) for number in range(60)), tmp_path / "long.avi", rate=10)
        data = (tmp_path / "long.avi").read_bytes()
        (folder / "short.avi").write_bytes(data[: len(data) // 2])
        told, err = run(roadbed, root, folder, "-o", tmp_path / "out", status=1)
        assert 10 < told["frames"] < 50
        assert f"{folder}/short.avi: ends after {told['frames']} frames, its header tells of 60; it may be cut" in err
        assert f"1 of 2 inputs could not be predicted:\n  {folder}/junk.mp4: is not a video that can be read" in err

    def test_a_damaged_mask_of_a_frame(self, roadbed: Roadbed, root: Path, clip: Path) -> None:
        out = clip.parent / "out"
        run(roadbed, root, clip, "-o", out, "--write", "masks")
        (out / "clip" / "000003.mask.png").write_bytes(b"junk")
        told, err = run(roadbed, root, clip, "-o", out, status=1)
        assert (told["videos"], len(told["failed"])) == (0, 1)
        assert "out/clip/000003.mask.png: is damaged (cannot identify image file" in err
        assert not (out / "clip.overlay.mp4").exists()

    def test_a_video_without_frames(self, clip: Path) -> None:
        data = clip.read_bytes()
        clip.write_bytes(data[: data.index(b"movi") + 4])
        with pytest.raises(DataError, match="clip: no frame of this video can be decoded"):
            VideoReader(clip, "clip").count()

    def test_frames_are_found_in_any_order(self, clip: Path) -> None:
        reader, expected = VideoReader(clip, "clip"), frames(clip)
        for number in (3, 4, 8, 0, 9, 2):
            assert np.array_equal(reader.read(number), expected[number])
        assert reader.count() == reader.num_told == 10
        with pytest.raises(DataError, match="clip: frame 10 cannot be decoded; convert the video"):
            reader.read(10)

    def test_a_video_that_cannot_be_written(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"a video of 1 frames could not be written whole; check the free space"):
            write_video([picture(0)], tmp_path / "nowhere" / "video.mp4", rate=10)
