"""Evaluation and prediction by Ray tasks, from s3://: the same by two workers as by one, and as by threads."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from roadbed.prediction import Making, ShotPredictor
from roadbed.prediction.shots import Failure, Shot
from roadbed.prediction.video import write_video
from roadbed.registry import Registry
from roadbed.storage import open_store
from serving_support import pixels, publish, saved

pytestmark = [pytest.mark.s3, pytest.mark.ray]

ROOT = "s3://roadbed/evaluate-ray"
Roadbed = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def store(ray_head: object) -> str:
    """A version that has learnt nothing."""
    publish(Registry(open_store(ROOT)))
    return ROOT


def evaluated(roadbed: Roadbed, folder: Path, name: str, *words: object, data: str = "town") -> dict[str, Any]:
    """What the command writes, but for times and for who worked."""
    path = folder / f"{name}.json"
    status, _, err = roadbed("evaluate", "road:1", f"{ROOT}/{data}", "--store", ROOT, "--json", path, *words)
    assert status == 0, err
    found: dict[str, Any] = json.loads(path.read_text())
    assert found.pop("timing")["workers"] == name
    return found


@pytest.mark.camvid
def test_real_frames_give_the_same_integers(store: str, roadbed: Roadbed, camvid_dir: Path, tmp_path: Path) -> None:
    """Of CamVid's val, as it is published; nine frames, so that two workers have unequal shares."""
    for split, number in (("train", 1), ("val", 9)):
        for folder in (camvid_dir / split, camvid_dir / f"{split}annot"):
            (tmp_path / "camvid" / folder.name).mkdir(parents=True)
            for path in sorted(folder.iterdir())[:number]:
                (tmp_path / "camvid" / folder.name / path.name).symlink_to(path.resolve())
    assert roadbed("data", "prepare", "camvid", tmp_path / "camvid", f"{ROOT}/camvid")[0] == 0
    one = evaluated(roadbed, tmp_path, "1 Ray worker", "--workers", 1, data="camvid")
    assert one["num_frames"] == 9
    assert sum(map(sum, one["confusion"]["counts"])) > 9 * 300 * 480
    assert one == evaluated(roadbed, tmp_path, "2 Ray workers", "--workers", 2, data="camvid")


def test_two_workers_count_what_one_counts(store: str, roadbed: Roadbed, tmp_path: Path) -> None:
    size = ("--train", 1, "--val", 7, "--size", "96x64")
    assert roadbed("data", "prepare", "painted", f"{ROOT}/town", *size)[0] == 0
    one = evaluated(roadbed, tmp_path, "1 Ray worker", "--workers", 1)
    two = evaluated(roadbed, tmp_path, "2 Ray workers", "--workers", 2)
    assert one["num_frames"] == 7
    assert one == two == evaluated(roadbed, tmp_path, "3 threads", "--threads", 3)
    status, _, err = roadbed("evaluate", "road:1", f"{ROOT}/town", "--store", ROOT, "--workers", 3)
    assert status == 2
    assert "this Ray cluster has 2 CPU; lower --workers" in err


class DyingPredictor(ShotPredictor):
    """The first worker that is given the third frame is killed after it has done its share."""

    def __init__(self, making: Making, mark: Path) -> None:
        super().__init__(making)
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return DyingPredictor, (self.making, self._mark)

    def __call__(self, shots: Sequence[Shot]) -> list[Failure]:
        failures = super().__call__(shots)
        if any(shot.frame == 2 for shot in shots) and not self._mark.exists():
            self._mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return failures


@pytest.fixture
def dying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`roadbed predict` has one worker that dies from now on, after which this file is there."""
    from ray import cloudpickle

    mark = tmp_path / "died"
    monkeypatch.setattr("roadbed.prediction.ShotPredictor", lambda making, ready: DyingPredictor(making, mark))
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests
    yield mark
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def written(uri: str) -> dict[str, bytes]:
    store = open_store(uri)
    return {item.key: store.get(item.key) for item in store.list() if item.key != "predictions.json"}


def test_two_workers_of_which_one_is_lost_predict_what_threads_predict(
    store: str, roadbed: Roadbed, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pictures = open_store(f"{ROOT}/drive")
    for number in range(3):
        pictures.put(f"day/{number}.png", saved(pixels() + number))
    write_video((pixels() + number for number in range(6)), tmp_path / "clip.avi", rate=10)
    pictures.upload(tmp_path / "clip.avi", "clip.avi")
    words = ("predict", "road:1", f"{ROOT}/drive", "--store", ROOT, "--engine", "torch", "--json")
    assert roadbed(*words, "-o", tmp_path / "out")[0] == 0
    expected = written(str(tmp_path / "out"))
    assert len(expected) == 3 * 2 + 6 + 1
    mark: Path = request.getfixturevalue("dying")
    status, out, err = roadbed(*words, "-o", f"{ROOT}/by-two", "--workers", 2)
    assert status == 0, err
    assert mark.exists()
    assert (json.loads(out)["pictures"], json.loads(out)["frames"], json.loads(out)["failed"]) == (3, 6, [])
    assert written(f"{ROOT}/by-two") == expected
