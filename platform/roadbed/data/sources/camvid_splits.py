"""Which frame of CamVid's original, unsplit arrangement belongs to which split. Reads split lists, no images.

The first of these rules that applies:

1. Text files beside the frames, `train.txt`, `val.txt` or `valid.txt`, `test.txt`, a frame's name or path a line.
   Without a train.txt, what the others do not name is for training.
2. The split of SegNet's arrangement, known by sequence and frame number: 367 train, 101 val, 233 test.
3. Frames of other names: each sequence (the name up to its last `_`) is cut, in frame order, into blocks of 60 % train,
   20 % val and 20 % test. Neighbouring frames are near-duplicates; blocks keep nearly all of them on one side.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from roadbed.data.sources import natural_order
from roadbed.data.sources.listing import Listing
from roadbed.data.sources.split_lists import ListedName, assign_listed

LISTS = {"train.txt": "train", "val.txt": "val", "valid.txt": "val", "test.txt": "test"}
SPLITS = ("train", "val", "test")
MASK_ENDING = re.compile("_[LP]$")
SEGNET_NAME = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)")
SEGNET_FIRST_TEST_FRAME = 8550
SEGNET_VAL_FRAMES = range(7959, 8160)
HELD_OUT_SHARE = 5


def assign_splits(
    listing: Listing, keys: Collection[str], problems: list[str], notes: list[str]
) -> dict[str, list[str]]:
    """The keys of each split that gets any, naturally sorted.

    What is wrong with split lists is added to `problems`; to `notes`, that frames were split by the third rule.
    """
    lists = {name: split for name, split in LISTS.items() if listing.has_file(name)}
    split_of = _by_lists(listing, lists, keys, problems) if lists else _by_sequence(keys, notes)
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for key in sorted(split_of, key=natural_order):
        splits[split_of[key]].append(key)
    return {split: names for split, names in splits.items() if names}


def segnet_split(key: str) -> str | None:
    """The split that SegNet's arrangement has this frame in; None for a name that is not CamVid's."""
    match = SEGNET_NAME.fullmatch(key)
    if match is None:
        return None
    sequence, frame = match[1], int(match[2])
    if sequence == "Seq05VD" or (sequence == "0001TP" and frame >= SEGNET_FIRST_TEST_FRAME):
        return "test"
    return "val" if sequence == "0016E5" and frame in SEGNET_VAL_FRAMES else "train"


def _by_lists(listing: Listing, lists: dict[str, str], keys: Collection[str], problems: list[str]) -> dict[str, str]:
    listed = [
        ListedName(split, MASK_ENDING.sub("", PurePosixPath(words[0]).stem), f"{listing.place(name)}: line {number}")
        for name, split in lists.items()
        for number, line in enumerate(listing.store.get(name).decode("utf-8-sig", errors="replace").splitlines(), 1)
        if (words := line.split())
    ]
    for name in sorted(lists.keys() - {item.place.partition(": line ")[0].rpartition("/")[2] for item in listed}):
        problems.append(f"{listing.place(name)}: names no frame; list some, or remove the file")
    return assign_listed(listed, keys, origin=", ".join(lists), problems=problems)


def _by_sequence(keys: Collection[str], notes: list[str]) -> dict[str, str]:
    split_of = {key: split for key in keys if (split := segnet_split(key))}
    sequences: dict[str, list[str]] = {}
    for key in sorted(set(keys) - split_of.keys(), key=natural_order):
        sequences.setdefault(key.rpartition("_")[0], []).append(key)
    if sequences:
        notes.append(
            f"WARNING: no lists say how to split {sum(map(len, sequences.values()))} frames whose names are not those "
            f"of CamVid's drives, so {len(sequences)} sequence(s) are cut into blocks of 60 % train, 20 % val, 20 % "
            "test. Frames at the borders are near-duplicates, and scores on them flatter; put train.txt, val.txt and "
            "test.txt beside the folders, a name a line"
        )
    for frames in sequences.values():
        num_held_out = len(frames) // HELD_OUT_SHARE
        first_val, first_test = len(frames) - 2 * num_held_out, len(frames) - num_held_out
        for position, key in enumerate(frames):
            split_of[key] = "train" if position < first_val else "val" if position < first_test else "test"
    return split_of
