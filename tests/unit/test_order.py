"""Orders of fixed datasets: what may never change, and how well samples are mixed.

What holds for every dataset and any workers is tested in test_order_properties.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from roadbed.data.order import EpochOrder, augmentation_seed, batches_of_process, lanes_of_rank

DIGEST = "c0ffee00" * 8
FIRST_BATCH = [581, 499, 478, 368, 782, 930, 896, 1234]
FIRST_SEED = 3881856017
UNEVEN_SHARDS = [1 + number * number % 37 for number in range(53)]
UNEVEN_EPOCHS = {
    0: "b78de95067295640a9e4ab388ebcdb44f5864ae908dffa44bc71dbb1c89ad156",
    5: "2839ce38e7c4f475fd572e08a02c4fddc2a0e101c513c92d0e5d200d608b79f3",
}


def global_batches(order: EpochOrder, num_ranks: int, batches: range) -> list[list[int]]:
    """Each global batch as `num_ranks` ranks draw it together."""
    lanes = [lanes_of_rank(rank, num_ranks=num_ranks, num_lanes=order.num_lanes) for rank in range(num_ranks)]
    return [[int(sample) for own in lanes for sample in order.batch(number, own)] for number in batches]


def order(**changes: object) -> EpochOrder:
    settings_ = {"digest": DIGEST, "seed": 0, "epoch": 0, "global_batch": 8, "window_shards": 4} | changes
    return EpochOrder([32] * 40, **settings_)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"digest": "ab" * 32}])
def test_another_epoch_seed_or_dataset_is_another_order(change: dict[str, object]) -> None:
    first, other = (global_batches(made, 1, range(5)) for made in (order(), order(**change)))
    assert first != other


def test_the_order_is_fixed_for_ever() -> None:
    """A changed order breaks every run that is resumed; these numbers may never change."""
    assert order().batch(0, range(8)).tolist() == FIRST_BATCH
    assert augmentation_seed(DIGEST, seed=0, epoch=0, sample=0) == FIRST_SEED


@pytest.mark.parametrize("epoch", UNEVEN_EPOCHS)
def test_whole_epochs_of_uneven_shards_are_fixed_for_ever(epoch: int) -> None:
    made = EpochOrder(UNEVEN_SHARDS, digest=DIGEST, seed=3, epoch=epoch, global_batch=7, window_shards=3)
    drawn = [sample for batch in global_batches(made, 1, range(made.num_batches)) for sample in batch]
    assert hashlib.sha256(np.array(drawn, "<i8").tobytes()).hexdigest() == UNEVEN_EPOCHS[epoch]


def test_an_empty_split_has_no_batches() -> None:
    made = EpochOrder([], digest=DIGEST, seed=0, epoch=0, global_batch=8, window_shards=4)
    assert (made.num_samples, made.num_batches, made.batch(0, range(8)).tolist()) == (0, 0, [])


class Batches(IterableDataset):  # type: ignore[misc]
    """The global batches from `first` on, as torch's own DataLoader has them made by its workers."""

    def __init__(self, first: int) -> None:
        self._first = first

    def __iter__(self) -> Iterator[list[int]]:
        worker = get_worker_info()
        process, num_processes = (worker.id, worker.num_workers) if worker else (0, 1)
        made = order()
        numbers = batches_of_process(self._first, made.num_batches, process=process, num_processes=num_processes)
        return iter(global_batches(made, 1, numbers))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_num_workers_of_a_dataloader_does_not_change_the_order(num_workers: int) -> None:
    made = order()
    drawn = list(DataLoader(Batches(first=21), batch_size=None, num_workers=num_workers))
    assert drawn == global_batches(made, 1, range(21, made.num_batches))


def test_a_rank_reads_few_shards_at_a_time() -> None:
    made = order()
    for lane in range(8):
        shards = {int(made.batch(number, range(lane, lane + 1))[0]) // 32 for number in range(made.num_batches)}
        assert len(shards) <= 160 // 32 + 2 * 4


def test_samples_are_well_mixed() -> None:
    """Neighbours in the raw order (near-duplicates of a video) rarely share a batch."""
    made = order()
    batches = global_batches(made, 1, range(made.num_batches))
    close = sum(np.sum(np.diff(sorted(batch)) <= 8) for batch in batches)
    pairs = sum(len(batch) - 1 for batch in batches)
    assert close / pairs < 0.1
