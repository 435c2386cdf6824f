"""Evaluation by Ray tasks, from an s3:// store: the same integers by two workers as by one, and as by threads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadbed.registry import Registry
from roadbed.storage import open_store
from serving_support import publish

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
