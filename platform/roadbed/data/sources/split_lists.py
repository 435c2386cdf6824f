"""Splits that somebody listed: names of frames, each with the split that it belongs to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from roadbed.data.sources import natural_order

TRAIN_SPLIT = "train"


@dataclass(frozen=True)
class ListedName:
    """A frame's name in a list; `place` says where it stands, as in "train.txt: line 3"."""

    split: str
    name: str
    place: str


def assign_listed(
    listed: Sequence[ListedName], keys: Collection[str], *, origin: str, problems: list[str]
) -> dict[str, str]:
    """The split of every key. Without a list for training, what no list names is for training.

    Names that are no key, names in two splits, and keys in no split are added to `problems`; `origin` names the lists.
    """
    split_of: dict[str, str] = {}
    for item in listed:
        if item.name not in keys:
            problems.append(f"{item.place} names {item.name}, which is no pair of frame and mask here")
        elif split_of.setdefault(item.name, item.split) != item.split:
            problems.append(f"{item.place} names {item.name}, which is in split {split_of[item.name]} already")
    unlisted = sorted(set(keys) - split_of.keys(), key=natural_order)
    if not any(item.split == TRAIN_SPLIT for item in listed):
        return split_of | dict.fromkeys(unlisted, TRAIN_SPLIT)
    if unlisted:
        problems.append(
            f"frames that stand in none of {origin}: {len(unlisted)}, the first {unlisted[0]}; list or remove them"
        )
    return split_of
