"""All pairs together: the rows that the looks left, with the split of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from roadbed.data.doctor.findings import UNLABELLED
from roadbed.data.doctor.look import Looks
from roadbed.data.doctor.subject import Subject


@dataclass(frozen=True)
class Whole:
    """All rows of a subject with the split of each, and what else the looks brought."""

    subject: Subject
    looks: Looks

    @cached_property
    def splits(self) -> Mapping[str, np.ndarray]:
        """The positions of the pairs of each split."""
        names = np.array([pair.split for pair in self.subject.pairs])
        return {split: np.flatnonzero(names == split) for split in self.subject.splits}

    def frame(self, position: int) -> str:
        """Where the frame of a pair lies."""
        return self.subject.places(self.subject.pairs[position])[0]

    def mask(self, position: int) -> str:
        """Where the mask of a pair lies."""
        return self.subject.places(self.subject.pairs[position])[1]

    def class_pixels(self, split: str) -> np.ndarray:
        """Pixels by class, int64 (K,)."""
        return np.asarray(self.looks.rows_N["class_pixels"][self.splits[split]].sum(axis=0))

    def unlabelled(self, split: str) -> int:
        """Ignored pixels."""
        return int(self.looks.rows_N["unlabelled"][self.splits[split]].sum())


def class_shares(whole: Whole) -> dict[str, dict[str, float]]:
    """By split, the share of each class in all pixels of usable masks, and of what is unlabelled."""
    names = (*whole.subject.label_space.class_names, UNLABELLED)
    shares = {}
    for split in whole.subject.splits:
        pixels = [*whole.class_pixels(split).tolist(), whole.unlabelled(split)]
        shares[split] = {name: count / max(sum(pixels), 1) for name, count in zip(names, pixels, strict=True)}
    return shares
