"""The lanes contract as properties of pure functions, for test_order_properties.py.

Every property takes the module whose functions it judges (`roadbed.data.order`, or a copy of it with a fault planted in
its source) and a case.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from hypothesis import strategies as st

DIGEST = "c0ffee00" * 8


@dataclass(frozen=True)
class Case:
    """A dataset, a run, and the workers before and after a stop at batch `stop`."""

    shard_sizes: tuple[int, ...]
    global_batch: int
    window_shards: int
    seed: int
    epoch: int
    ranks: tuple[int, int]
    processes: tuple[int, int]
    stop: int

    @property
    def num_samples(self) -> int:
        return sum(self.shard_sizes)

    @property
    def num_batches(self) -> int:
        return -(-self.num_samples // self.global_batch)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    shard_sizes = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=8)))
    global_batch = draw(st.integers(1, 12))
    num_ranks, num_processes = st.integers(1, global_batch), st.integers(1, 4)
    return Case(
        shard_sizes,
        global_batch,
        window_shards=draw(st.integers(1, 5)),
        seed=draw(st.integers(0, 3)),
        epoch=draw(st.integers(0, 3)),
        ranks=(draw(num_ranks), draw(num_ranks)),
        processes=(draw(num_processes), draw(num_processes)),
        stop=draw(st.integers(0, -(-sum(shard_sizes) // global_batch))),
    )


def epoch_order(order: Any, case: Case, epoch: int) -> Any:
    return order.EpochOrder(
        case.shard_sizes,
        digest=DIGEST,
        seed=case.seed,
        epoch=epoch,
        global_batch=case.global_batch,
        window_shards=case.window_shards,
    )


def batches_of(order: Any, case: Case, state: str, *, rank: int, num_ranks: int, num_processes: int) -> Iterator[Any]:
    """What one rank draws from `state` on: its processes know nothing of each other and are asked in turn."""
    at = json.loads(state)
    epoch = epoch_order(order, case, at["epoch"])
    lanes = order.lanes_of_rank(rank, num_ranks=num_ranks, num_lanes=case.global_batch)
    numbers = [
        iter(order.batches_of_process(at["batch"], epoch.num_batches, process=process, num_processes=num_processes))
        for process in range(num_processes)
    ]
    while numbers:
        for process in list(numbers):
            number = next(process, None)
            if number is None:
                numbers.remove(process)
            else:
                yield epoch.batch(number, lanes).tolist()


def global_batches(order: Any, case: Case, state: str, *, num_ranks: int, num_processes: int) -> list[list[int]]:
    """The rest of an epoch, as all ranks draw it together."""
    ranks = [
        batches_of(order, case, state, rank=rank, num_ranks=num_ranks, num_processes=num_processes)
        for rank in range(num_ranks)
    ]
    return [list(chain.from_iterable(shares)) for shares in zip(*ranks, strict=True)]


def whole_epoch(order: Any, case: Case) -> list[list[int]]:
    return global_batches(order, case, state_at(case, 0), num_ranks=1, num_processes=1)


def state_at(case: Case, batch: int) -> str:
    return json.dumps({"epoch": case.epoch, "batch": batch})


def every_sample_comes_once(order: Any, case: Case) -> None:
    drawn = global_batches(order, case, state_at(case, 0), num_ranks=case.ranks[0], num_processes=case.processes[0])
    assert sorted(chain.from_iterable(drawn)) == list(range(case.num_samples))


def workers_change_no_batch(order: Any, case: Case) -> None:
    first, other = (
        global_batches(order, case, state_at(case, 0), num_ranks=num_ranks, num_processes=num_processes)
        for num_ranks, num_processes in zip(case.ranks, case.processes, strict=True)
    )
    assert first == other


def a_stopped_run_goes_on_exactly(order: Any, case: Case) -> None:
    before, after = (
        global_batches(order, case, state_at(case, batch), num_ranks=num_ranks, num_processes=num_processes)
        for batch, num_ranks, num_processes in zip((0, case.stop), case.ranks, case.processes, strict=True)
    )
    assert before[: case.stop] + after == whole_epoch(order, case)


def only_the_last_batch_is_short(order: Any, case: Case) -> None:
    sizes = [len(batch) for batch in whole_epoch(order, case)]
    rest = case.num_samples % case.global_batch
    assert sizes == [case.global_batch] * (case.num_samples // case.global_batch) + ([rest] if rest else [])


def the_remainder_goes_to_the_first_lanes(order: Any, case: Case) -> None:
    epoch = epoch_order(order, case, case.epoch)
    short, num_long = divmod(case.num_samples, case.global_batch)
    for lane in range(case.global_batch):
        lengths = [len(epoch.batch(number, range(lane, lane + 1))) for number in range(case.num_batches + 1)]
        length = short + (lane < num_long)
        assert lengths == [1] * length + [0] * (case.num_batches + 1 - length)


def lanes_are_shared_out_evenly(order: Any, case: Case) -> None:
    for num_ranks in range(1, case.global_batch + 3):
        shares = [
            order.lanes_of_rank(rank, num_ranks=num_ranks, num_lanes=case.global_batch) for rank in range(num_ranks)
        ]
        assert list(chain.from_iterable(shares)) == list(range(case.global_batch))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def a_lane_reads_few_shards_at_a_time(order: Any, case: Case) -> None:
    """Between the first and the last sample that a lane takes from a shard the shard is open."""
    epoch = epoch_order(order, case, case.epoch)
    for lane in range(case.global_batch):
        samples = chain.from_iterable(
            epoch.batch(number, range(lane, lane + 1)).tolist() for number in range(case.num_batches)
        )
        shards = [shard_of(case, sample) for sample in samples]
        for time in range(len(shards)):
            assert len(set(shards[: time + 1]) & set(shards[time:])) <= case.window_shards


def a_rank_reads_its_own_part(order: Any, case: Case) -> None:
    """All ranks together read each shard once, but for the shards of the windows that a border of ranks cuts."""
    num_ranks = case.ranks[0]
    num_read = 0
    for rank in range(num_ranks):
        drawn = batches_of(order, case, state_at(case, 0), rank=rank, num_ranks=num_ranks, num_processes=1)
        num_read += len({shard_of(case, sample) for sample in chain.from_iterable(drawn)})
    assert num_read <= len(case.shard_sizes) + (num_ranks - 1) * case.window_shards


def evaluation_is_cut_the_same_for_any_ranks(order: Any, case: Case) -> None:
    def batches(num_ranks: int) -> list[range]:
        shares = [
            order.batches_of_rank(rank, num_ranks=num_ranks, num_samples=case.num_samples, batch_size=case.global_batch)
            for rank in range(num_ranks)
        ]
        return list(chain.from_iterable(shares))

    assert batches(case.ranks[0]) == batches(case.ranks[1])
    assert list(chain.from_iterable(batches(case.ranks[0]))) == list(range(case.num_samples))
    assert all(len(batch) == case.global_batch for batch in batches(case.ranks[0])[:-1])


def shard_of(case: Case, sample: int) -> int:
    shard = 0
    while sample >= case.shard_sizes[shard]:
        sample -= case.shard_sizes[shard]
        shard += 1
    return shard


PROPERTIES: list[Callable[[Any, Case], None]] = [
    every_sample_comes_once,
    workers_change_no_batch,
    a_stopped_run_goes_on_exactly,
    only_the_last_batch_is_short,
    the_remainder_goes_to_the_first_lanes,
    lanes_are_shared_out_evenly,
    a_lane_reads_few_shards_at_a_time,
    a_rank_reads_its_own_part,
    evaluation_is_cut_the_same_for_any_ranks,
]
