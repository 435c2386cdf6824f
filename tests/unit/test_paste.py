"""Rare classes of another frame, pasted upon a crop."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from roadbed.data.augment import Augmenter, training_transforms
from roadbed.data.dataset import Dataset
from roadbed.data.loader import Batch, Loader
from roadbed.data.order import EpochOrder, augmentation_seed
from roadbed.data.paste import Paste
from roadbed.spec import DataSpec
from support import blocks_dataset

GLOBAL_BATCH, SEED = 4, 3


def dataset(tmp_path: Path) -> Dataset:
    return blocks_dataset(f"file://{tmp_path}/blocks", train=13, val=2)


def spec(made: Dataset, probability: float, share: float = 0.5) -> DataSpec:
    return DataSpec(uri=made.uri, crop_px=(64, 64), paste_probability=probability, paste_share=share)


def batches(made: Dataset, asked: DataSpec, *, num_ranks: int = 1) -> list[list[Batch]]:
    """By rank, the batches of an epoch."""
    found = []
    for rank in range(num_ranks):
        with Loader(
            made.split("train"), digest=made.digest, spec=asked, rank=rank, num_ranks=num_ranks, num_threads=2
        ) as loader:
            augment = Augmenter(training_transforms(asked))
            turns = loader.training_batches(augment, epoch=0, first_batch=0, seed=SEED, global_batch=GLOBAL_BATCH)
            found.append(list(turns))
    return found


def test_what_is_pasted_is_the_partners_rare_classes_and_nothing_else(tmp_path: Path) -> None:
    made = dataset(tmp_path)
    class_pixels = made.split("train").class_pixels
    rare = int(class_pixels.argmin())
    share = float(np.sort(class_pixels)[:2].mean() / class_pixels.sum())  # between the rarest class and the next
    (plain,), (pasted,) = batches(made, spec(made, 0.0)), batches(made, spec(made, 1.0, share))
    crops = {
        sample: (image_HW3, mask_HW)
        for batch in plain
        for sample, image_HW3, mask_HW in zip(batch.samples, batch.images_BHW3, batch.masks_BHW, strict=True)
    }
    order = EpochOrder(
        made.split("train").shard_sizes,
        digest=made.digest, seed=SEED, epoch=0, global_batch=GLOBAL_BATCH, window_shards=spec(made, 0.0).window_shards,
    )  # fmt: skip
    num_pasted = 0
    for batch in pasted:
        partners = order.partners(batch.number, range(GLOBAL_BATCH)).tolist()
        for place, (sample, partner) in enumerate(zip(batch.samples, partners, strict=True)):
            is_rare_HW = crops[partner][1] == rare
            num_pasted += int(is_rare_HW.sum())
            expected = [np.where(is_rare_HW[..., None], crops[partner][0], crops[sample][0])]
            np.testing.assert_array_equal(batch.images_BHW3[place], expected[0])
            np.testing.assert_array_equal(
                batch.masks_BHW[place], np.where(is_rare_HW, crops[partner][1], crops[sample][1])
            )
    assert num_pasted > 0


def test_the_number_of_ranks_changes_no_pixel(tmp_path: Path) -> None:
    made = dataset(tmp_path)
    (alone,) = batches(made, spec(made, 0.5))
    shares = batches(made, spec(made, 0.5), num_ranks=3)
    for number, batch in enumerate(alone):
        joined = np.concatenate([rank[number].images_BHW3 for rank in shares])
        np.testing.assert_array_equal(joined, batch.images_BHW3)


def test_every_sample_is_a_partner_once_and_never_its_own() -> None:
    order = EpochOrder([4, 4, 3, 5, 1], digest="ab" * 32, seed=1, epoch=2, global_batch=3, window_shards=2)
    pairs = [
        (sample, partner)
        for number in range(order.num_batches)
        for sample, partner in zip(order.batch(number, range(3)), order.partners(number, range(3)), strict=True)
    ]
    assert Counter(partner for _, partner in pairs) == Counter(range(17))
    assert sum(bool(sample == partner) for sample, partner in pairs) <= 1  # the window of one sample


def test_it_happens_as_often_as_asked_and_independently_of_the_augmentation() -> None:
    paste = Paste(0.3, np.zeros(256, np.uint8))
    seeds = [augmentation_seed("ab" * 32, seed=1, epoch=0, sample=sample) for sample in range(2000)]
    assert 0.26 < np.mean([paste.happens(seed) for seed in seeds]) < 0.34
    assert Paste.of(DataSpec(uri="s3://bucket/x"), np.array([1, 2])) is None
