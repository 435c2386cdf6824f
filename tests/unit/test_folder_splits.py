"""Splits of a folder: by folders, by lists, and by shares that keep sequences whole."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadbed.data.sources.folder import read_list, read_split_file, read_text
from roadbed.data.sources.folder_splits import Splitting, plan_splits
from roadbed.data.sources.split_lists import ListedName
from roadbed.errors import DataError, UsageError

FIXED_VAL = ["drive0", "drive18", "drive4", "drive5", "drive8", "drive9"]


def drives(**counts: int) -> list[str]:
    return [f"{drive}_{number:06d}" for drive, count in counts.items() for number in range(count)]


def test_folders_of_splits():
    plan = plan_splits(["Training/a", "valid/x/b", "test/c", "other/d", "e"], Splitting())
    assert plan.splits == {"train": ["Training/a"], "val": ["valid/x/b"], "test": ["test/c"]}
    assert plan.problems == ["frames in no folder of a split: 2, the first e; move or remove them"]


def test_shares_keep_sequences_whole():
    names = drives(**{f"drive{number}": 10 + number for number in range(20)})
    plan = plan_splits(names, Splitting(val_share=0.2, test_share=0.1, seed=3))
    assert sorted(name for found in plan.splits.values() for name in found) == sorted(names)
    drives_of = {split: {name.partition("_")[0] for name in found} for split, found in plan.splits.items()}
    assert sum(len(found) for found in drives_of.values()) == 20
    assert 0.17 < len(plan.splits["val"]) / len(names) < 0.23
    assert 0.07 < len(plan.splits["test"]) / len(names) < 0.13
    assert plan.notes[0].startswith(
        f"val: {len(drives_of['val'])} of 20 sequences, {len(plan.splits['val'])} of 390 fr"
    )
    assert list(plan.splits) == ["train", "val", "test"]


def test_shares_follow_the_seed_and_not_the_order_of_files():
    names = drives(**{f"drive{number}": 10 for number in range(20)})
    chosen = [plan_splits(given, Splitting(val_share=0.3, seed=1)).splits for given in (names, names[::-1])]
    assert chosen[0] == chosen[1]
    assert plan_splits(names, Splitting(val_share=0.3, seed=2)).splits != chosen[0]
    # Fixed for ever: the same folder prepared again must not deal its frames anew.
    assert sorted({name.partition("_")[0] for name in chosen[0]["val"]}) == FIXED_VAL


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=15),
    st.floats(0.01, 0.49),
    st.floats(0, 0.49),
    st.integers(0, 5),
)
def test_every_frame_has_one_split_and_sequences_are_whole(sizes, val_share, test_share, seed):
    names = drives(**{f"drive{number}x": size for number, size in enumerate(sizes)})
    splitting = Splitting(val_share=val_share, test_share=test_share, seed=seed)
    if len(sizes) <= len(splitting.shares) and max(sizes) <= len(splitting.shares):
        with pytest.raises(UsageError, match=r"frames are too few, .* would be empty"):
            plan_splits(names, splitting)
        return
    plan = plan_splits(names, splitting)
    assert set(plan.splits) == {"train", *splitting.shares}
    assert Counter(name for found in plan.splits.values() for name in found) == Counter(names)
    assert plan.splits["train"]
    if len(sizes) > len(splitting.shares):
        drives_of = [{name.partition("_")[0] for name in found} for found in plan.splits.values()]
        assert sum(len(found) for found in drives_of) == len(sizes)


def test_one_sequence_is_cut_into_blocks_and_says_so():
    names = [f"{number:06d}" for number in range(20)]
    plan = plan_splits(names, Splitting(val_share=0.2, test_share=0.1))
    assert {split: (found[0], found[-1]) for split, found in plan.splits.items()} == {
        "train": ("000000", "000013"),
        "val": ("000014", "000017"),
        "test": ("000018", "000019"),
    }
    assert plan.notes[0].startswith("WARNING: all 20 frames are 1 sequence(s) by their names, too few to keep")
    assert plan.notes[1:] == [
        "border: train ends with 000013, val begins with 000014",
        "border: val ends with 000017, test begins with 000018",
    ]


@pytest.mark.parametrize(
    ("name", "group_by", "sequence"),
    [
        ("seq01_000123", None, "seq01"),
        ("seqA/000123", None, "seqA"),
        ("000123", None, ""),
        ("a-12.5", None, "a-12"),
        ("kitchen", None, "kitchen"),
        ("a_0000_left", None, "a"),
        ("frame0007.right", None, "frame"),
        ("aachen_000000_000019_leftImg8bit", None, "aachen_000000"),
        ("seq1/kitchen", None, "seq1/kitchen"),
        ("seq1/12_left", None, "seq1"),
        ("day2/cam1_17_left", "^(.*)_[0-9]+_", "day2/cam1"),
    ],
)
def test_sequences_by_name(name, group_by, sequence):
    assert Splitting(group_by=group_by).sequence(name) == sequence


def test_sequences_in_two_splits_are_said_when_asked_for():
    names = [f"{split}/drive_{number}" for number, split in enumerate(["train", "val"])]
    assert plan_splits(names, Splitting()).notes == []
    plan = plan_splits(names, Splitting(group_by="/(.*)_"))
    assert plan.notes == [
        "WARNING: sequences in more than one split: 1, the first 'drive' (train, val); "
        "near-duplicates leak from one to the other"
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"val_share": -0.1}, "--val-share -0.1 --test-share 0.0: shares are 0 or more"),
        ({"val_share": float("nan")}, "--val-share nan --test-share 0.0: shares are 0 or more"),
        ({"test_share": float("inf")}, "--test-share inf: shares are 0 or more"),
        ({"val_share": 0.6, "test_share": 0.4}, "together less than 1"),
        ({"group_by": "("}, r"--group-by '\(': not a regular expression"),
        ({"group_by": "abc"}, "--group-by 'abc': needs a group that names the sequence"),
    ],
)
def test_splittings_that_cannot_be_meant(options, words):
    with pytest.raises(UsageError, match=words):
        Splitting(**options)


@pytest.mark.parametrize("top", ["train", "val", "Testing"])
def test_shares_do_not_deal_the_folders_of_splits_anew(top):
    names = [f"{top}/a_1", f"{top}/b_1", "more/c_1"]
    with pytest.raises(UsageError, match=f"deal the frames of {top}/ anew; leave the shares out .* --images DIR/{top}"):
        plan_splits(names, Splitting(val_share=0.3))


def test_sequences_of_one_frame_are_said():
    names = [f"drive_{number}x" for number in range(20)]
    plan = plan_splits(names, Splitting(val_share=0.2))
    assert plan.notes[0].startswith("WARNING: 20 of 20 sequences have one frame, as 'drive_0x' has drive_0x. If")
    assert plan.notes[0].endswith("name the sequences with --group-by")
    assert not any("WARNING" in note for note in plan_splits(drives(a=1, b=2, c=3), Splitting(val_share=0.2)).notes)


@pytest.mark.parametrize(
    ("names", "splitting", "words"),
    [
        (["a_1"], Splitting(val_share=0.2), "--val-share 0.2: 1 frames are too few, val would be empty"),
        (["a_1", "a_2"], Splitting(val_share=0.2, test_share=0.2), "--val-share 0.2: 2 frames are too few, val"),
        (["a_1"], Splitting(test_share=0.2), "--test-share 0.2: 1 frames are too few, test would be empty"),
    ],
)
def test_shares_that_come_out_empty(names, splitting, words):
    with pytest.raises(UsageError, match=words):
        plan_splits(names, splitting)


def test_listed_names_match_whole_ends_of_paths():
    names = ["x/seqA/003", "x/seqA/004"]
    listed = [ListedName("val", name, "l") for name in ("seqA/003", "seqB/003", "eqA/003", "004")]
    plan = plan_splits(names, Splitting(listed=tuple(listed)))
    assert plan.splits == {"val": names}
    assert plan.problems == [
        f"l names {name}, which is no pair of frame and mask here" for name in ("seqB/003", "eqA/003")
    ]


def test_frames_of_other_splits_folders_are_not_trained_on_unless_listed():
    names = ["Testing/a_1", "Testing/a_2", "train/b_1", "val/c_1", "val/c_2", "more/d_1", "test"]
    listed = (ListedName("val", "c_1", "l"), ListedName("test", "Testing/a_1", "l"))
    plan = plan_splits(names, Splitting(listed=listed))
    assert plan.problems == [
        "frames that no list names, in folders of other splits than train: 2, the first Testing/a_2; without a list "
        "for train they would be trained on: list or remove them"
    ]
    listed += (ListedName("test", "a_2", "l"), ListedName("val", "c_2", "l"))
    plan = plan_splits(names, Splitting(listed=listed))
    assert plan.problems == []
    assert plan.splits["train"] == ["more/d_1", "test", "train/b_1"]
    everything = tuple(ListedName("train", name, "l") for name in names)
    plan = plan_splits(names, Splitting(listed=everything))
    assert (list(plan.splits), plan.problems) == (["train"], [])


def test_a_pattern_that_finds_nothing():
    with pytest.raises(DataError, match="finds no sequence in the name 'b'; widen the pattern"):
        plan_splits(["a_1", "b"], Splitting(group_by="(.*)_", val_share=0.5))


def test_faults_of_lists_are_named(tmp_path):
    path = tmp_path / "splits.txt"
    for text in ("train\n", "tr:ain a\n", "trains/x a b"):
        path.write_text(f"train a\n{text}")
        with pytest.raises(UsageError, match=f"{path}: line 2 is .*; expected a split and a name"):
            read_split_file(str(path))
    with pytest.raises(UsageError, match="'a/b' is no name for a split"):
        read_list("a/b", str(path))
    path.write_text("# none\n\n")
    with pytest.raises(UsageError, match=f"--list val={path}: names no frame, so val would be empty; list some"):
        read_list("val", str(path))
    with pytest.raises(UsageError, match=f"--split-file {path}: names no frame; write lines `SPLIT NAME`"):
        read_split_file(str(path))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"splits.txt: not a text in UTF-8"):
        read_text(str(path))
    with pytest.raises(UsageError, match="splits come from lists or from shares"):
        Splitting(listed=read_list("val", str(_write(path, "a"))), val_share=0.5)


def test_lists_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "splits.txt"
    path.write_text("train a\n", encoding="utf-8-sig")
    assert read_split_file(str(path)) == (ListedName("train", "a", f"{path}: line 1"),)


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
