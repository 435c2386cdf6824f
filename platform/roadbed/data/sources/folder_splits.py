"""Which frame of a folder belongs to which split: by folders, by lists, or by shares of whole sequences.

Neighbouring frames of one drive are near-duplicates. Where shares are asked for, a sequence goes to one split as a
whole. Only where there are too few sequences for that are they cut, into contiguous blocks, and notes name the borders.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from roadbed.data.sources import natural_order
from roadbed.data.sources.split_lists import TRAIN_SPLIT, ListedName, assign_listed
from roadbed.errors import DataError, UsageError

SPLIT_FOLDERS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
SPLIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
# The last number that is a word or ends one, and what is before it: the 8 of leftImg8bit is none. In the file's name,
# not in its folders.
BEFORE_NUMBER = re.compile(r"(.*)(?<!\d)\d+(?=[ ._\-]|$)[^/]*$", re.DOTALL)
SEPARATORS = " ._-/"
# From this share of sequences with a single frame on, names probably tell no sequences.
MANY_SINGLE_FRAMES = 0.9


@dataclass(frozen=True)
class Splitting:
    """How to split: by `listed` names, else by shares (0..1 of all frames), else by folders named train, val, test.

    `group_by`: a regular expression whose first group is the sequence of a frame's name (default: the name up to its
    last number). Raises UsageError for what cannot be meant.
    """

    listed: tuple[ListedName, ...] = ()
    val_share: float = 0.0
    test_share: float = 0.0
    seed: int = 0
    group_by: str | None = None

    def __post_init__(self) -> None:
        shares = (self.val_share, self.test_share)
        # Asked this way round, nan is refused too.
        if not (all(0 <= share < 1 for share in shares) and sum(shares) < 1):
            raise UsageError(
                f"--val-share {self.val_share} --test-share {self.test_share}: shares are 0 or more, and leave some "
                "frames for training: together less than 1"
            )
        if self.listed and self.shares:
            raise UsageError("splits come from lists or from shares; give --split-file or --list, or --val-share")
        if self.group_by is not None:
            try:
                num_groups = re.compile(self.group_by).groups
            except re.error as error:
                raise UsageError(f"--group-by {self.group_by!r}: not a regular expression: {error}") from None
            if num_groups == 0:
                raise UsageError(f"--group-by {self.group_by!r}: needs a group that names the sequence, as in '^(.*)_'")

    @property
    def shares(self) -> dict[str, float]:
        """The shares that are asked for, by split."""
        return {split: share for split, share in (("val", self.val_share), ("test", self.test_share)) if share}

    def sequence(self, name: str) -> str:
        """The sequence that a frame's name belongs to. Raises DataError if `group_by` does not find one."""
        if self.group_by is None:
            before = BEFORE_NUMBER.match(name)
            return before[1].rstrip(SEPARATORS) if before else name
        match = re.search(self.group_by, name)
        if match is None or match[1] is None:
            raise DataError(f"--group-by {self.group_by!r}: finds no sequence in the name {name!r}; widen the pattern")
        return match[1]


@dataclass
class SplitPlan:
    """Names of frames by split, what is wrong (a line each), and what somebody should know (a line each)."""

    splits: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan_splits(names: Collection[str], splitting: Splitting) -> SplitPlan:
    """The split of every name. Raises UsageError if nothing says how to split."""
    plan = SplitPlan()
    if splitting.listed:
        split_of = _by_lists(names, splitting.listed, plan.problems)
    elif splitting.shares:
        split_of = _by_shares(names, splitting, plan.notes)
    else:
        split_of = _by_folders(names, plan.problems)
    for name in sorted(split_of, key=natural_order):
        plan.splits.setdefault(split_of[name], []).append(name)
    if splitting.group_by is not None and not splitting.shares:
        _note_shared_sequences(split_of, splitting, plan.notes)
    plan.splits = dict(sorted(plan.splits.items(), key=lambda item: _rank(item[0])))
    return plan


def _by_lists(names: Collection[str], by_hand: Sequence[ListedName], problems: list[str]) -> dict[str, str]:
    known = _by_last_part(names)
    listed = [ListedName(item.split, known(item.name), item.place) for item in by_hand]
    split_of = assign_listed(listed, names, origin="the lists", problems=problems)
    unlisted = split_of.keys() - {item.name for item in listed}
    held_out = sorted((name for name in unlisted if _folder_split(name) not in (None, TRAIN_SPLIT)), key=natural_order)
    if held_out:
        problems.append(
            f"frames that no list names, in folders of other splits than {TRAIN_SPLIT}: {len(held_out)}, the first "
            f"{held_out[0]}; without a list for {TRAIN_SPLIT} they would be trained on: list or remove them"
        )
    return split_of


def _by_last_part(names: Collection[str]) -> Callable[[str], str]:
    """Lists may name a frame in full, or by the end of its path (whole parts of it) where that is unique."""
    full = set(names)
    short: dict[str, list[str]] = {}
    for name in names:
        short.setdefault(name.rpartition("/")[2], []).append(name)

    def find(name: str) -> str:
        candidates = [
            full_name for full_name in short.get(name.rpartition("/")[2], []) if f"/{full_name}".endswith(f"/{name}")
        ]
        return candidates[0] if name not in full and len(candidates) == 1 else name

    return find


def _by_folders(names: Collection[str], problems: list[str]) -> dict[str, str]:
    split_of = {}
    outside = []
    for name in names:
        split = _folder_split(name)
        if split is None:
            outside.append(name)
        else:
            split_of[name] = split
    if not split_of:
        raise UsageError(
            "nothing says which frames are for training: put them in train/ and val/, or give --val-share 0.2, "
            "--split-file FILE, or --list train=FILE --list val=FILE"
        )
    if outside:
        first = min(outside, key=natural_order)
        problems.append(f"frames in no folder of a split: {len(outside)}, the first {first}; move or remove them")
    return split_of


def _folder_split(name: str) -> str | None:
    """The split of the folder that a frame lies below, None if that is no split's."""
    top, slash, _ = name.partition("/")
    return SPLIT_FOLDERS.get(top.lower()) if slash else None


def _by_shares(names: Collection[str], splitting: Splitting, notes: list[str]) -> dict[str, str]:
    _check_no_split_folders(names)
    sequences: dict[str, list[str]] = {}
    for name in sorted(names, key=natural_order):
        sequences.setdefault(splitting.sequence(name), []).append(name)
    if len(sequences) <= len(splitting.shares):
        return _in_blocks(sequences, splitting, notes)
    _note_single_frames(sequences, notes)
    split_of_sequence = _share_out({name: len(frames) for name, frames in sequences.items()}, splitting)
    for split, share in splitting.shares.items():
        chosen = [name for name, found in split_of_sequence.items() if found == split]
        count = sum(len(sequences[name]) for name in chosen)
        notes.append(
            f"{split}: {len(chosen)} of {len(sequences)} sequences, {count} of {len(names)} frames "
            f"({100 * count / len(names):.1f} %, asked for {100 * share:.1f} %)"
        )
    return {name: split_of_sequence[sequence] for sequence, frames in sequences.items() for name in frames}


def _check_no_split_folders(names: Collection[str]) -> None:
    """Raises UsageError if folders say already which frames are for testing: shares would train on them."""
    found = sorted({name.partition("/")[0] for name in names if _folder_split(name)})
    if found:
        raise UsageError(
            f"--val-share and --test-share would deal the frames of {', '.join(f'{top}/' for top in found)} anew; "
            "leave the shares out to split by these folders, or give one of them alone, as in "
            f"--images DIR/{found[-1]} --masks DIR/{found[-1]}, to share out its frames"
        )


def _note_single_frames(sequences: Mapping[str, Sequence[str]], notes: list[str]) -> None:
    num_single = sum(len(frames) == 1 for frames in sequences.values())
    if num_single >= MANY_SINGLE_FRAMES * len(sequences):
        name, (frame, *_) = next((name, frames) for name, frames in sequences.items() if len(frames) == 1)
        notes.append(
            f"WARNING: {num_single} of {len(sequences)} sequences have one frame, as {name!r} has {frame}. If frames "
            "are of drives, near-duplicates get into different splits, and scores flatter; name the sequences with "
            "--group-by"
        )


def _share_out(sizes: Mapping[str, int], splitting: Splitting) -> dict[str, str]:
    """The split of each sequence: in an order that hangs on seed and name alone, taken while that comes nearer."""
    remaining = sorted(sizes, key=lambda name: hashlib.sha256(f"{splitting.seed}\n{name}".encode()).digest())
    split_of = {}
    for num_done, (split, share) in enumerate(splitting.shares.items(), 1):
        wanted = share * sum(sizes.values())
        num_spare = len(remaining) - (len(splitting.shares) - num_done) - 1
        taken: list[str] = []
        count = 0
        for name in remaining:
            if len(taken) < num_spare and abs(count + sizes[name] - wanted) < abs(count - wanted):
                taken.append(name)
                count += sizes[name]
        taken = taken or [min(remaining, key=lambda name: sizes[name])]
        split_of.update(dict.fromkeys(taken, split))
        remaining = [name for name in remaining if name not in split_of]
    return split_of | dict.fromkeys(remaining, TRAIN_SPLIT)


def _in_blocks(sequences: Mapping[str, Sequence[str]], splitting: Splitting, notes: list[str]) -> dict[str, str]:
    num_frames = sum(len(frames) for frames in sequences.values())
    notes.append(
        f"WARNING: all {num_frames} frames are {len(sequences)} sequence(s) by their names, too few to keep sequences "
        "whole, so they are cut into blocks. Frames at the borders are near-duplicates, and scores on them flatter; "
        "name the sequences with --group-by, or list the splits"
    )
    split_of = {}
    for frames in sequences.values():
        borders = [(len(frames), "")]
        for split, share in reversed(splitting.shares.items()):
            size = max(round(share * len(frames)), 1)
            borders.insert(0, (max(borders[0][0] - size, 1), split))
        previous = TRAIN_SPLIT
        split_of.update(dict.fromkeys(frames, TRAIN_SPLIT))
        for (first, split), (end, _) in pairwise(borders):
            if first < end:
                split_of.update(dict.fromkeys(frames[first:end], split))
                notes.append(f"border: {previous} ends with {frames[first - 1]}, {split} begins with {frames[first]}")
                previous = split
    _check_none_empty(split_of, splitting)
    return split_of


def _check_none_empty(split_of: Mapping[str, str], splitting: Splitting) -> None:
    for split, share in splitting.shares.items():
        if split not in split_of.values():
            raise UsageError(
                f"--{split}-share {share}: {len(split_of)} frames are too few, {split} would be empty; "
                "leave it out, or add frames"
            )


def _note_shared_sequences(split_of: Mapping[str, str], splitting: Splitting, notes: list[str]) -> None:
    found: dict[str, set[str]] = {}
    for name, split in split_of.items():
        found.setdefault(splitting.sequence(name), set()).add(split)
    shared = sorted((name for name, splits in found.items() if len(splits) > 1), key=natural_order)
    if shared:
        splits = ", ".join(sorted(found[shared[0]], key=_rank))
        notes.append(
            f"WARNING: sequences in more than one split: {len(shared)}, the first {shared[0]!r} ({splits}); "
            "near-duplicates leak from one to the other"
        )


def _rank(split: str) -> tuple[int, str]:
    order = ("train", "val", "test")
    return (order.index(split) if split in order else len(order)), split
