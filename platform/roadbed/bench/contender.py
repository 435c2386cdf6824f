"""One contender of `roadbed bench loader` in a process of its own: `python -m roadbed.bench.contender SETTINGS.json`.

Makes the contender, then runs through its epochs and prints a line of JSON for each: seconds, CPU seconds of this
process and its workers, images, and whether every key came exactly once. Starting Python and importing is not counted;
starting workers and reading the first shard is.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from roadbed.bench import rivals
from roadbed.bench.tree import cpu_seconds
from roadbed.data.augment import Augmenter, training_transforms
from roadbed.data.cache import ShardCache
from roadbed.data.dataset import Dataset
from roadbed.data.loader import Loader, Normalization
from roadbed.spec import DataSpec

Epoch = Iterable[tuple[list[str], Any]]
"""Batches: the keys of the samples, and what a training step would get."""


@dataclass(frozen=True)
class Settings:
    """What a contender is asked to do. `scratch` is an empty folder of its own, for caches."""

    name: str
    dataset_uri: str
    files_uri: str
    litdata_uri: str
    scratch: str
    batch_size: int
    num_workers: int
    rival_decoders: str
    num_epochs: int

    @property
    def spec(self) -> DataSpec:
        """Crops of 240x320, as the notebook's; everything else as it comes."""
        return DataSpec(uri=self.dataset_uri)


def main(path: str) -> None:
    """Run the contender that the settings file at `path` names."""
    settings = Settings(**json.loads(Path(path).read_text(encoding="utf-8")))
    cv2.setNumThreads(0)
    dataset = Dataset.open(settings.dataset_uri)
    keys = sorted(dataset.split("train").key(sample) for sample in range(dataset.split("train").num_samples))
    epoch_of = CONTENDERS[settings.name](settings, dataset)
    for number in range(settings.num_epochs):
        print(json.dumps(_run(epoch_of, number, keys)), flush=True)  # noqa: T201


def _run(epoch_of: Callable[[int], Epoch], number: int, keys: list[str]) -> dict[str, Any]:
    began, cpu_began = time.perf_counter(), cpu_seconds(os.getpid())
    seen: list[str] = []
    digest = hashlib.sha256()
    for batch_keys, images in epoch_of(number):
        seen += batch_keys
        digest.update(np.asarray(images).reshape(-1)[:: 1 << 16].tobytes())  # a training step would look at the pixels
    seconds, cpu = time.perf_counter() - began, cpu_seconds(os.getpid()) - cpu_began
    return {
        "seconds": seconds,
        "cpu_s": cpu,
        "num_images": len(seen),
        "is_every_key_once": sorted(seen) == keys,
        "pixels": digest.hexdigest()[:16],
    }


def _roadbed(settings: Settings, dataset: Dataset, normalization: Normalization | None) -> Callable[[int], Epoch]:
    split = Dataset.open(dataset.uri).split("train")  # with its index still to be fetched, as part of the first epoch
    loader = Loader(
        split,
        digest=dataset.digest,
        spec=settings.spec,
        rank=0,
        num_ranks=1,
        num_threads=settings.num_workers,
        cache=ShardCache(Path(settings.scratch) / "cache", max_bytes=settings.spec.cache_mb * 1_000_000),
        normalization=normalization,
    )
    augment = Augmenter(training_transforms(settings.spec))

    def epoch(number: int) -> Epoch:
        for batch in loader.training_batches(
            augment, epoch=number, first_batch=0, seed=1, global_batch=settings.batch_size
        ):
            yield [split.key(sample) for sample in batch.samples], batch.images_BHW3

    return epoch


def _rival(name: str) -> Callable[[Settings, Dataset], Callable[[int], Epoch]]:
    def make(settings: Settings, dataset: Dataset) -> Callable[[int], Epoch]:
        pipeline = rivals.Pipeline(
            settings.spec, dataset.channel_mean, dataset.channel_std, decoders=settings.rival_decoders
        )
        make_rival: Callable[..., Callable[[int], Epoch]] = getattr(rivals, name)
        return make_rival(settings, dataset, pipeline)

    return make


CONTENDERS: dict[str, Callable[[Settings, Dataset], Callable[[int], Epoch]]] = {
    "roadbed-uint8": lambda settings, dataset: _roadbed(settings, dataset, None),
    "roadbed-float32": lambda settings, dataset: _roadbed(
        settings, dataset, Normalization(dataset.channel_mean, dataset.channel_std)
    ),
    "litdata": _rival("litdata_epochs"),
    "webdataset": _rival("webdataset_epochs"),
    "boto3": _rival("boto3_epochs"),
    "memory": _rival("memory_epochs"),
}


def write_settings(settings: Settings, path: Path) -> None:
    """The file that `main` reads."""
    path.write_text(json.dumps(asdict(settings)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
