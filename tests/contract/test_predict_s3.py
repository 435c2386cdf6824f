"""`roadbed predict` from and to s3://: the bytes that it writes into a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from roadbed.errors import UsageError
from roadbed.prediction import find_inputs
from roadbed.prediction.video import write_video
from roadbed.registry import Registry
from roadbed.storage import open_store
from serving_support import pixels, publish, saved

pytestmark = pytest.mark.s3

ROOT = "s3://roadbed/predict"


@pytest.fixture(scope="module")
def drive(s3_server: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures and a video in a folder, the same under s3://, and a version in a registry there."""
    folder = tmp_path_factory.mktemp("drive")
    (folder / "day").mkdir()
    for number, key in enumerate(("a.png", "day/a.png")):
        (folder / key).write_bytes(saved(pixels() + number))
    write_video((pixels() + number for number in range(5)), folder / "day" / "clip.avi", rate=10)
    store = open_store(f"{ROOT}/drive")
    for path in folder.rglob("*.*"):
        store.upload(path, path.relative_to(folder).as_posix())
    publish(Registry(open_store(ROOT)))
    return folder


def names(*asked: str) -> list[str]:
    return [one.name for one in find_inputs(asked)[0]]


def test_objects_prefixes_and_globs(drive: Path) -> None:
    assert names(f"{ROOT}/drive") == names(f"{ROOT}/drive/") == names(str(drive)) == ["a", "day/a", "day/clip"]
    assert names(f"{ROOT}/drive/day/a.png", f"{ROOT}/drive/day/clip.avi") == ["a", "clip"]
    for pattern in ("**/*.png", "d*/**"):
        assert names(f"{ROOT}/drive/{pattern}") == names(f"{drive}/{pattern}")
    for asked in (f"{ROOT}/nothing", f"{ROOT}/drive/*.jpg"):
        with pytest.raises(UsageError, match="no pictures or videos there"):
            find_inputs([asked])


def test_the_bytes_are_those_of_folders(
    drive: Path, tmp_path: Path, roadbed: Callable[..., tuple[int, str, str]]
) -> None:
    words = ("--store", ROOT, "--write", "masks,overlays,side-by-side", "--json")
    assert roadbed("predict", "road:1", drive, "-o", tmp_path, *words)[0] == 0
    told = []
    for _ in range(2):
        status, out, err = roadbed("predict", "road:1", f"{ROOT}/drive", "-o", f"{ROOT}/out", *words)
        assert status == 0, err
        told.append(json.loads(out))
    assert [(one["pictures"], one["frames"], one["videos"], one["already_there"]) for one in told] == [
        (2, 5, 1, 0),
        (0, 0, 0, 3),
    ]
    store = open_store(f"{ROOT}/out")
    keys = [item.key for item in store.list()]
    assert len(keys) == 2 * 3 + 5 + 2 + 1
    for key in keys:
        if key != "predictions.json":
            assert store.get(key) == (tmp_path / key).read_bytes(), key
