"""What `roadbed bench order` measures: figures that a full permutation and orders made by hand must give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roadbed.bench.order import Samples, full_batches, measure_mixing, samples_of, synthetic_samples
from roadbed.bench.order_plots import draw_mixing
from support import blocks_dataset

TOWN = synthetic_samples(40, shard_samples=50, sequence_frames=60)


def test_a_row_for_each_window_and_the_full_permutation_last() -> None:
    rows = measure_mixing(TOWN, global_batch=8, windows=(1, 4, 40, 100))
    assert [(row.window_shards, row.is_full) for row in rows] == [(1, False), (4, False), (40, True)]


def test_a_full_permutation_is_as_good_as_random() -> None:
    full = measure_mixing(TOWN, global_batch=8, windows=())[0]
    assert full.batch_deviation == pytest.approx(1, abs=0.1)
    assert full.drift == pytest.approx(1, abs=0.25)
    # The median distance of two random points of an epoch is 1 - sqrt(1/2) of it.
    assert full.apart_percent == pytest.approx(29.3, abs=2)


def test_a_small_window_keeps_neighbours_together_and_drifts() -> None:
    one, full = measure_mixing(TOWN, global_batch=8, windows=(1,))
    assert one.apart_percent < full.apart_percent / 2
    assert one.drift > 1.5 * full.drift


def test_the_shares_of_a_hand_made_dataset() -> None:
    """Two shards of two samples, one batch of all four: everything is near, and the batch is the dataset."""
    samples = Samples((2, 2), np.array([0, 0, 1, 1]), np.array([[0.0], [1.0], [2.0], [3.0]]), "ab" * 32)
    assert sorted(full_batches(samples, global_batch=4, window_shards=1, epoch=0)[0]) == [0, 1, 2, 3]
    pairs = measure_mixing(samples, global_batch=2, windows=(1,))[0]
    assert (pairs.near_percent, pairs.sequences) == (100, 2)


def test_sequences_and_classes_of_a_prepared_split(tmp_path: Path) -> None:
    dataset = blocks_dataset(f"file://{tmp_path}")
    samples = samples_of(dataset.split("train"), num_classes=3, digest=dataset.digest)
    assert samples.sequences_N.tolist() == [0] * 13
    assert samples.values_NK.shape == (13, 3)
    # Two of 64 rows are ignored.
    assert samples.values_NK.sum(axis=1) == pytest.approx([62 / 64] * 13)


def test_the_picture_has_a_panel_for_each_row(tmp_path: Path) -> None:
    rows = measure_mixing(TOWN, global_batch=8, windows=(1, 4))
    draw_mixing(TOWN, rows, tmp_path / "mixing.png", global_batch=8)
    with Image.open(tmp_path / "mixing.png") as picture:
        assert picture.width == 900
