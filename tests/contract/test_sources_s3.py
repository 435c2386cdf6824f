"""The same files in a folder and below an s3:// prefix make the same source: splits, digests, pixels, words."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadbed.data.doctor import examine
from roadbed.data.doctor.recognise import recognise
from roadbed.data.sources.camvid import CamvidSource
from roadbed.data.sources.cityscapes import CityscapesSource
from roadbed.data.sources.cityscapes_frames import Framing
from roadbed.data.sources.folder import FolderSource, read_split_file
from roadbed.data.sources.folder_splits import Splitting
from roadbed.data.sources.painted import Arrangement, paint_folder
from roadbed.errors import DataError
from roadbed.storage import open_store

pytestmark = pytest.mark.s3

COUNTS = {"train": 3, "val": 2}


def open_folder(src: str) -> FolderSource:
    return FolderSource(
        f"{src}/images",
        f"{src}/masks",
        f"{src}/classes.yaml",
        splitting=Splitting(listed=read_split_file(f"{src}/splits.txt")),
    )


SOURCES: dict[Arrangement, Callable[[str], Any]] = {
    "segnet": CamvidSource,
    "original": CamvidSource,
    "cityscapes": lambda src: CityscapesSource(src, framing=Framing(tile_px=(40, 48))),
    "folder": open_folder,
}


def both_places(tmp_path: Path, arrangement: Arrangement) -> tuple[str, str]:
    folder, uri = tmp_path / "src", f"s3://roadbed/sources/{tmp_path.name}"
    paint_folder(folder, COUNTS, arrangement=arrangement, size_px=(64, 80))
    lines = "".join(f"{split} {split}_{number:06d}\n" for split, count in COUNTS.items() for number in range(count))
    (folder / "splits.txt").write_text(lines)
    store = open_store(uri)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        store.put(path.relative_to(folder).as_posix(), path.read_bytes())
    return str(folder), uri


@pytest.mark.parametrize("arrangement", SOURCES)
def test_a_folder_and_a_prefix_are_the_same_source(s3_server, tmp_path, arrangement):
    near, far = (SOURCES[arrangement](src) for src in both_places(tmp_path, arrangement))
    assert far.splits == near.splits
    assert sum(len(refs) for refs in far.splits.values()) >= 5
    assert (far.settings, far.problems, far.label_space) == (near.settings, near.problems, near.label_space)
    far = pickle.loads(pickle.dumps(far))
    for refs in near.splits.values():
        for ref in refs:
            assert far.digest(ref) == near.digest(ref)
            for array, expected in zip(far.read(ref), near.read(ref), strict=True):
                assert (array == expected).all()


def test_faults_name_the_whole_uri(s3_server, tmp_path):
    _, uri = both_places(tmp_path, "cityscapes")
    name = "munster_000000_000001"
    frame, mask = f"leftImg8bit/val/munster/{name}_leftImg8bit.png", f"gtFine/val/munster/{name}_gtFine_labelIds.png"
    store = open_store(uri)
    store.put(frame, b"x")
    source = CityscapesSource(uri)
    ref = source.splits["val"][1]
    assert source.check(ref) == [f"{uri}/{frame}: not an image (1 bytes); fetch it again"]
    store.delete(frame)
    with pytest.raises(DataError, match=f"{uri}/{frame}: the file has vanished; run the preparation again"):
        source.read(ref)
    assert CityscapesSource(uri).problems == (f"{uri}/{mask}: no frame for it in leftImg8bit/val/munster/",)
    with pytest.raises(DataError, match=f"{uri}: not CamVid.*found gtFine/, leftImg8bit/, splits.txt"):
        CamvidSource(uri)
    with pytest.raises(DataError, match=f"{uri}/none: not Cityscapes.*found an empty folder"):
        CityscapesSource(f"{uri}/none")


@pytest.mark.parametrize("arrangement", ["segnet", "cityscapes", "folder"])
def test_the_doctor_says_the_same_of_both(s3_server, tmp_path, arrangement):
    near, uri = both_places(tmp_path, arrangement)
    told = []
    for src in (near, uri):
        text = json.dumps(examine(recognise(src)).as_json(most_places=100))
        told.append(json.loads(text.replace(src, "SRC")))
    assert told[0] == told[1]
    assert "frame-tiny" in {finding["check"] for finding in told[0]["findings"]}
