"""What `roadbed predict` takes for its inputs, their names, and what it finds in a folder of predictions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from roadbed.errors import UsageError
from roadbed.prediction import Input, claim, find_inputs, parse_writes
from roadbed.prediction.inputs import _matches
from roadbed.storage import Store, get_json, open_store

MADE_WITH = {"model": "road:1", "engine": "torch"}


def touch(folder: Path, *keys: str) -> Path:
    for key in keys:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def names(*asked: object) -> list[str]:
    return [one.name for one in find_inputs([str(text) for text in asked])[0]]


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    return touch(tmp_path / "drive", "b10.png", "b9.jpg", "day/a.JPEG", "day/clip.MOV", "notes.txt", ".hidden.png")


class TestInputs:
    def test_a_folder_is_all_that_is_below_it(self, drive: Path) -> None:
        assert names(drive) == ["b9", "b10", "day/a", "day/clip"]
        inputs, num_left_out = find_inputs([f"file://{drive}/day"])
        assert [(one.name, one.is_video) for one in inputs] == [("a", False), ("clip", True)]
        assert (inputs[0].place, num_left_out) == (f"{drive}/day/a.JPEG", 0)
        assert find_inputs([str(drive)])[1] == 1

    def test_a_file_that_is_named_is_taken_whatever_its_suffix(self, drive: Path) -> None:
        assert names(drive / "notes.txt", drive / "day" / "a.JPEG") == ["notes", "a"]

    def test_a_glob_keeps_the_folders_after_its_fixed_part(self, drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert names(f"{drive}/*.png") == ["b10"]
        assert names(f"{drive}/**/*") == ["b9", "b10", "day/a", "day/clip"]
        assert names(f"{drive}/d*/a.*") == ["day/a"]
        monkeypatch.chdir(drive)
        assert names("**/*.[pj]*") == ["b9", "b10"]
        assert names(touch(drive, "odd[1].png") / "odd[1].png") == ["odd[1]"]

    @pytest.mark.parametrize(
        ("key", "pattern", "fits"),
        [
            ("a.png", "*.png", True),
            ("day/a.png", "*.png", False),
            ("a.png", "**/*.png", True),
            ("x/y/a.png", "**/*.png", True),
            ("x/y/a.png", "x/**", True),
            ("x/y/a.png", "x/*/b*", False),
            ("x/y/a.png", "[xz]/**/a.???", True),
        ],
    )
    def test_globs_of_keys(self, key: str, pattern: str, fits: bool) -> None:
        assert _matches(key.split("/"), pattern.split("/")) is fits

    def test_predictions_are_no_inputs(self, tmp_path: Path) -> None:
        folder = touch(tmp_path, "a.png", "a.mask.png", "a.overlay.png", "a.side.png", "v.mp4", "v.overlay.mp4")
        assert names(touch(folder, "v/000000.mask.png")) == ["a", "v"]

    def test_what_is_asked_for_twice_is_taken_once(self, drive: Path) -> None:
        assert names(drive, f"{drive}/*.png", drive / "b9.jpg") == ["b9", "b10", "day/a", "day/clip"]

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ("none.png", "none.png: no such file or folder"),
            ("", "'': no such file or folder"),
            ("none/*.png", r"none/\*\.png: no pictures or videos there \(looked for \.avi, "),
            ("text", "text: no pictures or videos there; of its 1 files none is one"),
        ],
    )
    def test_nothing_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, expected: str) -> None:
        touch(tmp_path, "text/notes.txt")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UsageError, match=expected):
            find_inputs([asked])

    @pytest.mark.parametrize(
        ("keys", "asked", "expected"),
        [
            (["a.png", "a.jpg"], ["."], "a.jpg and .*a.png would both be written to a.mask.png"),
            (["day/a.png", "night/a.png"], ["day", "night"], "day/a.png and .*night/a.png would both be written to a"),
            (["v.mp4", "v/000001.png"], ["."], "v.mp4 and .*v/000001.png would both be written to v/000001.mask.png"),
        ],
    )
    def test_two_of_which_the_same_would_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: list[str], asked: list[str], expected: str
    ) -> None:
        touch(tmp_path, *keys)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UsageError, match=expected):
            find_inputs(asked)

    def test_frames_beside_their_video(self, tmp_path: Path) -> None:
        assert names(touch(tmp_path, "v.mp4", "v/frame_1.png", "w.png", "w/000001.png")) == [
            "v",
            "v/frame_1",
            "w",
            "w/000001",
        ]


def test_what_to_write() -> None:
    assert parse_writes("side-by-side, masks") == ("masks", "side-by-side")
    with pytest.raises(UsageError, match="'mask' cannot be written; there are masks, overlays, side-by-side"):
        parse_writes("mask,overlays")


class TestClaim:
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return open_store(str(tmp_path / "out"))

    @staticmethod
    def taken(
        store: Store, keys: Iterable[str] = ("a.png",), *, root: str = "s3://b", overwrite: bool = False, **changes: str
    ) -> set[str]:
        inputs = [Input(root, key) for key in keys]
        return claim(store, MADE_WITH | changes, inputs, overwrite=overwrite)

    def test_inputs_come_on_top_of_each_other(self, store: Store) -> None:
        assert self.taken(store) == set()
        store.put("a.mask.png", b"")
        assert self.taken(store, ["b.png"]) == {"a.mask.png", "predictions.json"}
        assert self.taken(store) == {"a.mask.png", "predictions.json"}
        assert get_json(store, "predictions.json") == {
            "made_with": MADE_WITH,
            "inputs": {"a": "s3://b/a.png", "b": "s3://b/b.png"},
        }

    def test_predictions_that_were_made_otherwise(self, store: Store) -> None:
        self.taken(store)
        with pytest.raises(UsageError, match=r"made otherwise \(model road:1, now road:2\); name another output, or"):
            self.taken(store, model="road:2")

    def test_another_file_of_the_same_name(self, store: Store) -> None:
        self.taken(store)
        with pytest.raises(UsageError, match=r"a\.mask\.png is that of s3://b/a\.png, not of s3://c/a\.png; name"):
            self.taken(store, root="s3://c")

    def test_predictions_without_a_record(self, store: Store) -> None:
        store.put("a.mask.png", b"")
        assert self.taken(store, ["other.png"]) == {"a.mask.png"}
        store.delete("predictions.json")
        with pytest.raises(UsageError, match=r"out/a\.mask\.png: is there already, and without predictions\.json"):
            self.taken(store)

    def test_overwriting_deletes_what_was_predicted_and_nothing_else(self, store: Store) -> None:
        self.taken(store, ["a.png", "v.mp4"])
        ours = ["a.mask.png", "a.side.png", "v/000000.mask.png", "v.overlay.mp4", "c.overlay.png"]
        others = ["x.mask.png", "x/000000.mask.png", "v/000000.png", "a.png"]
        for key in [*ours, *others]:
            store.put(key, b"")
        assert self.taken(store, ["c.png"], overwrite=True, model="road:2") == {*others, "predictions.json"}
        assert {item.key for item in store.list()} == {*others, "predictions.json"}
        assert get_json(store, "predictions.json")["inputs"] == {"c": "s3://b/c.png"}
