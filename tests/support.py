"""What several test modules share: a tiny dataset that can be learnt in seconds, and a job spec for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roadbed.data.dataset import Dataset
from roadbed.data.encoding import decode_image, decode_mask, encode_image, encode_mask
from roadbed.data.labels import LabelClass, LabelSpace
from roadbed.data.prepare import PrepareOptions, prepare
from roadbed.data.sources import SampleRef
from roadbed.spec import TrainJob, parse_job
from roadbed.storage import Store, open_store

BLOCKS = LabelSpace(
    "blocks", (LabelClass("Red", (200, 0, 0)), LabelClass("Green", (0, 200, 0)), LabelClass("Blue", (0, 0, 200)))
)

SMALL_MODEL = "model.backbone=timm:test_efficientnet"
"""What a job is given where it does not matter what is trained: a step takes a third of the time."""


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class BlocksSource:
    """Frames of coloured blocks; the class of a pixel is the strongest channel, and a border is ignored."""

    kind = "blocks"
    label_space = BLOCKS
    problems: Sequence[str] = ()

    def __init__(self, *, train: int = 13, val: int = 5, size_px: int = 64) -> None:
        self._size_px = size_px
        self.splits: Mapping[str, Sequence[SampleRef]] = {
            split: [SampleRef(f"{split}_{number:03d}") for number in range(count)]
            for split, count in (("train", train), ("val", val))
        }

    def check(self, ref: SampleRef) -> list[str]:
        return []

    def read(self, ref: SampleRef) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(sum(ref.key.encode()))
        classes = rng.integers(0, 3, (4, 4)).repeat(self._size_px // 4, 0).repeat(self._size_px // 4, 1)
        image_HW3 = rng.integers(0, 90, (self._size_px, self._size_px, 3))
        image_HW3 += 140 * (classes[..., None] == np.arange(3))
        mask_HW = classes.astype(np.uint8)
        mask_HW[:2] = 255
        return image_HW3.astype(np.uint8), mask_HW

    @property
    def settings(self) -> str:
        return str(self._size_px)

    def digest(self, ref: SampleRef) -> str:
        return hashlib.sha256(ref.key.encode()).hexdigest()


class StoredSource(BlocksSource):
    """The blocks as frames and masks in a store: `write` puts them there, workers anywhere read them."""

    def __init__(self, store: Store, **counts: int) -> None:
        super().__init__(**counts)
        self._store = store

    def write(self) -> None:
        for refs in self.splits.values():
            for ref in refs:
                image_HW3, mask_HW = super().read(ref)
                self._store.put(f"{ref.key}.png", encode_image(image_HW3, encoding="png"))
                self._store.put(f"{ref.key}.mask.png", encode_mask(mask_HW))

    def read(self, ref: SampleRef) -> tuple[np.ndarray, np.ndarray]:
        image, mask = self._files(ref)
        return decode_image(image), decode_mask(mask)

    def digest(self, ref: SampleRef) -> str:
        return hashlib.sha256(b"".join(self._files(ref))).hexdigest()

    def _files(self, ref: SampleRef) -> list[bytes]:
        return [self._store.get(f"{ref.key}{suffix}") for suffix in (".png", ".mask.png")]


def blocks_dataset(uri: str, **counts: int) -> Dataset:
    """The prepared tiny dataset at `uri`, four samples to a shard."""
    return prepare(BlocksSource(**counts), open_store(uri), options=PrepareOptions(samples_per_shard=4))


def blocks_job(root: str | Path, *overrides: str, name: str = "blocks") -> TrainJob:
    """A job that trains a small model on the tiny dataset at ROOT/blocks, with runs and models under ROOT."""
    root_uri = str(root) if "://" in str(root) else f"file://{root}"
    values: dict[str, Any] = {
        "train": "{epochs: 2, global_batch: 4, micro_batch: 2, learning_rate: 0.01, precision: fp32, seed: 1}",
        "data": f"{{uri: '{root_uri}/blocks', crop_px: [64, 64], prefetch_batches: 2}}",
        "model": "{weights: none, head_channels: 16, dropout: 0.0, batch_norm: frozen}",
        "output": f"{{store: '{root_uri}', checkpoint_steps: 2, record_samples: true}}",
    }
    text = f"kind: train\nname: {name}\n" + "".join(f"{key}: {value}\n" for key, value in values.items())
    return parse_job(text, origin="test", overrides=overrides)
