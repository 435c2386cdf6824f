"""The data that benchmarks run on: CamVid as often as wished, or the painted town where there is none."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roadbed.data.dataset import Dataset
from roadbed.data.parallel import Threads
from roadbed.data.prepare import PrepareOptions, prepare
from roadbed.data.sources import SampleRef, Source
from roadbed.data.sources.camvid import CamvidSource
from roadbed.data.sources.painted import PaintedSource
from roadbed.errors import DataError
from roadbed.storage import open_store

PAINTED_FRAMES = 64


@dataclass(frozen=True, slots=True)
class CopyRef(SampleRef):
    """A sample of another source under a key of its own."""

    ref: Any


class Copies:
    """The train split of `source`, `num_copies` times under different keys."""

    kind = "copies"
    problems: Sequence[str] = ()

    def __init__(self, source: Source[Any], num_copies: int) -> None:
        self._source = source
        self.label_space = source.label_space
        self.settings = f"{source.settings} {num_copies}"
        self.splits: Mapping[str, Sequence[CopyRef]] = {
            "train": [CopyRef(f"{ref.key}_{copy}", ref) for copy in range(num_copies) for ref in source.splits["train"]]
        }

    def digest(self, ref: CopyRef) -> str:
        """That of the sample itself."""
        return self._source.digest(ref.ref)

    def check(self, ref: CopyRef) -> list[str]:
        """What is wrong with the sample itself."""
        return self._source.check(ref.ref)

    def read(self, ref: CopyRef) -> tuple[np.ndarray, np.ndarray]:
        """The sample itself."""
        return self._source.read(ref.ref)


def bench_source(camvid: Path | None, *, num_copies: int) -> Copies:
    """CamVid in the folder `camvid`, or a painted town of the same frame size."""
    source = CamvidSource(camvid) if camvid else PaintedSource({"train": PAINTED_FRAMES})
    return Copies(source, num_copies)


def prepared(source: Source[Any], uri: str, options: PrepareOptions | None = None) -> Dataset:
    """The dataset of `source` at `uri`: the one that is there, or made anew in place of another benchmark's."""
    store, mapper = open_store(uri), Threads(os.cpu_count() or 1)
    try:
        return prepare(source, store, options=options, mapper=mapper)
    except DataError:
        return prepare(source, store, options=options, mapper=mapper, replace=True)
