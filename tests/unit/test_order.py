"""The lanes contract, over generated datasets, batches, ranks and stop points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadbed.data.order import EpochOrder, augmentation_seed, batches_of_rank, lanes_of_rank

DIGEST = "c0ffee00" * 8
FIRST_BATCH = [581, 499, 478, 368, 782, 930, 896, 1234]
FIRST_SEED = 1747339173

shard_sizes = st.lists(st.integers(1, 9), min_size=1, max_size=12)
orders = st.builds(
    EpochOrder,
    shard_sizes,
    digest=st.just(DIGEST),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 3),
    global_batch=st.integers(1, 10),
    window_shards=st.integers(1, 5),
)


def global_batches(order: EpochOrder, num_ranks: int, batches: range) -> list[list[int]]:
    """Each global batch as `num_ranks` ranks draw it together."""
    lanes = [lanes_of_rank(rank, num_ranks=num_ranks, num_lanes=order.num_lanes) for rank in range(num_ranks)]
    return [[int(sample) for own in lanes for sample in order.batch(number, own)] for number in batches]


@settings(max_examples=400, deadline=None)
@given(order=orders)
def test_an_epoch_holds_every_sample_once(order: EpochOrder) -> None:
    drawn = [sample for batch in global_batches(order, 1, range(order.num_batches)) for sample in batch]
    assert sorted(drawn) == list(range(order.num_samples))


@settings(max_examples=400, deadline=None)
@given(order=orders, data=st.data())
def test_killed_anywhere_and_resumed_with_other_ranks_it_goes_on_exactly(
    order: EpochOrder, data: st.DataObject
) -> None:
    before = data.draw(st.integers(1, order.num_lanes), label="ranks before")
    after = data.draw(st.integers(1, order.num_lanes), label="ranks after")
    stop = data.draw(st.integers(0, order.num_batches), label="next batch")
    whole = global_batches(order, 1, range(order.num_batches))
    assert (
        global_batches(order, before, range(stop)) + global_batches(order, after, range(stop, order.num_batches))
        == whole
    )


@settings(max_examples=200, deadline=None)
@given(order=orders)
def test_only_the_last_batch_is_short(order: EpochOrder) -> None:
    sizes = [len(batch) for batch in global_batches(order, 1, range(order.num_batches))]
    assert all(size == order.num_lanes for size in sizes[:-1])
    assert 1 <= sizes[-1] <= order.num_lanes


@given(num_ranks=st.integers(1, 40), num_lanes=st.integers(1, 200))
def test_lanes_are_shared_out_evenly_and_once(num_ranks: int, num_lanes: int) -> None:
    shares = [lanes_of_rank(rank, num_ranks=num_ranks, num_lanes=num_lanes) for rank in range(num_ranks)]
    assert [lane for share in shares for lane in share] == list(range(num_lanes))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(num_ranks=st.integers(1, 9), num_samples=st.integers(0, 60), batch_size=st.integers(1, 9))
def test_evaluation_batches_do_not_depend_on_the_ranks(num_ranks: int, num_samples: int, batch_size: int) -> None:
    def batches(ranks: int) -> list[range]:
        return [
            batch
            for rank in range(ranks)
            for batch in batches_of_rank(rank, num_ranks=ranks, num_samples=num_samples, batch_size=batch_size)
        ]

    assert batches(num_ranks) == batches(1)
    assert [sample for batch in batches(num_ranks) for sample in batch] == list(range(num_samples))


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
