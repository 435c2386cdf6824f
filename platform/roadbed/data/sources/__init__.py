"""Sources: raw folders (or a painter) as pairs of frame and mask. What `prepare` reads; writes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from roadbed.data.labels import LabelSpace


@dataclass(frozen=True, slots=True)
class SampleRef:
    """A sample by its key, unique within its split. Sources add what they need to find it; there may be millions."""

    key: str


RefT = TypeVar("RefT", bound=SampleRef)


class Source(Protocol[RefT]):
    """Where samples come from. All methods may be called from several threads.

    Sources and refs pickle: they travel to worker processes, on other machines too. So a source holds Stores and keys,
    no open files. Workers ask for `digest`, `check` and `read` alone, and find `splits` empty.
    """

    @property
    def kind(self) -> str:
        """A word for dataset.json: camvid, painted, ..."""

    @property
    def label_space(self) -> LabelSpace:
        """The classes of the masks that `read` returns."""

    @property
    def splits(self) -> Mapping[str, Sequence[RefT]]:
        """The complete pairs of each split."""

    @property
    def problems(self) -> Sequence[str]:
        """What was wrong with the arrangement itself (a frame without its mask, ...), a line each."""

    @property
    def settings(self) -> str:
        """Everything besides the files that determines what `read` returns: tables, resizing, a seed, ...

        Where the files lie plays no part: a copy elsewhere gives the same dataset.
        """

    def digest(self, ref: RefT) -> str:
        """sha256 (hex) over the bytes of the files of a sample, or of what determines them.

        Asked twice per sample: for the fingerprint, and after `read`, by which a file that changed meanwhile is found.
        Raises DataError that names the file.
        """

    def check(self, ref: RefT) -> list[str]:
        """All that is wrong with a sample that `read` refused, a line each that names the file."""

    def read(self, ref: RefT) -> tuple[np.ndarray, np.ndarray]:
        """image_HW3 (uint8 RGB) and mask_HW (uint8, 0..K-1 or the ignore id). Raises DataError naming the file."""


def natural_order(name: str) -> tuple[list[str | int], str]:
    """Sorting key that puts frame2 before frame10; ties (01 and 1) are broken by the text itself."""
    words_and_numbers = re.split(r"(\d+)", name)
    return [int(part) if odd % 2 else part for odd, part in enumerate(words_and_numbers)], name
