"""`roadbed quickstart` and what comes after it, as a newcomer types it, on the painted town."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from roadbed.data.sources.painted import paint_folder

pytestmark = [pytest.mark.s3, pytest.mark.ray]

SPEC = str(Path(__file__).resolve().parents[2] / "jobs" / "camvid-quick.yaml")


class Newcomer:
    """Somebody in an empty folder, with settings of AWS in the environment that must not lead quickstart astray."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "ROADBED_LOCAL_DIR": str(folder / ".roadbed"),
            "HOME": str(folder),
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "PYTHONWARNINGS": "ignore",
        }
        self.environment = {name: value for name, value in self.environment.items() if not name.startswith("RAY_")}

    def types(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "roadbed", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    return Newcomer(tmp_path_factory.mktemp("newcomer"))


def mode_and_size(path: Path) -> tuple[str, tuple[int, int]]:
    with Image.open(path) as picture:
        return picture.mode, picture.size


def quickstart(newcomer: Newcomer) -> str:
    small = ("train.epochs=2", "data.crop_px=[96, 128]")
    settings = [word for setting in small for word in ("--set", setting)]
    return newcomer.types("quickstart", "--camvid", "painted", "--spec", SPEC, *settings)


@pytest.fixture(scope="module")
def first(newcomer: Newcomer) -> str:
    return quickstart(newcomer)


def test_it_goes_the_whole_way_and_says_which_data_it_used(newcomer: Newcomer, first: str) -> None:
    for said in ("data: a painted town", "train painted-quick: ", "champion        painted:1", "Pedestrian", "Next:"):
        assert said in first
    pictures = sorted(path.name for path in (newcomer.folder / "quickstart").iterdir())
    assert len(pictures) == 7
    assert "curves.png" in pictures
    for name in pictures:
        assert mode_and_size(newcomer.folder / "quickstart" / name)[1][0] > 400


def test_the_second_time_it_uses_what_is_there(newcomer: Newcomer, first: str) -> None:
    second = quickstart(newcomer)
    assert "train painted-quick: " not in second
    assert "champion        painted:1" in second


def test_the_notes_of_a_source_are_told(newcomer: Newcomer, tmp_path: Path) -> None:
    """Of frames that no list splits; one of them is no picture, so that it goes no further."""
    paint_folder(tmp_path, {"train": 6}, arrangement="original", size_px=(64, 80))
    (tmp_path / "train.txt").unlink()
    next((tmp_path / "701_StillsRaw_full").iterdir()).write_bytes(b"no picture")
    words = ("quickstart", "--camvid", str(tmp_path), "--spec", SPEC)
    said = newcomer.types(*words, status=1)
    assert said.index("WARNING: no lists say how to split 6 frames") < said.index("error: camvid: 1 problem")


def test_its_next_steps_work(newcomer: Newcomer, first: str, tmp_path: Path) -> None:
    picture = tmp_path / "street.png"
    Image.effect_noise((160, 120), 60).convert("RGB").save(picture)
    newcomer.environment.pop("AWS_ENDPOINT_URL")
    for name in [name for name in newcomer.environment if name.startswith("AWS_")]:
        newcomer.environment.pop(name)
    assert "painted:1  (champion)" in newcomer.types("models", "show", "painted@champion")
    newcomer.types("predict", "painted@champion", str(picture), "-o", "predictions")
    assert mode_and_size(newcomer.folder / "predictions" / "street.mask.png") == ("P", (160, 120))
    assert mode_and_size(newcomer.folder / "predictions" / "street.overlay.png") == ("RGB", (160, 120))
    assert "painted-quick" in newcomer.types("runs", "list")
    assert "epoch 2: mIoU" in newcomer.types("runs", "show", "painted-quick")
    assert "precision:" in newcomer.types("runs", "logs", "painted-quick")
    newcomer.types("runs", "curves", "painted-quick", "-o", "again.png")
    assert (newcomer.folder / "again.png").exists()
