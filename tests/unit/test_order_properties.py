"""The lanes contract over 10,800 generated cases, and mutants of order.py that the same properties must catch."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from order_properties import PROPERTIES, Case, cases
from roadbed.data import order as real_order

CASES_PER_PROPERTY = 1_200
CASES_PER_MUTANT = 100


@pytest.mark.parametrize("check", PROPERTIES, ids=lambda check: check.__name__)
def test_the_contract_holds(check: Callable[[Any, Case], None]) -> None:
    """The properties together see more than the promised 10,000 cases."""
    num_cases = 0

    @settings(max_examples=CASES_PER_PROPERTY, deadline=None, database=None)
    @given(case=cases())
    def judge(case: Case) -> None:
        nonlocal num_cases
        num_cases += 1
        check(real_order, case)

    judge()
    assert num_cases >= CASES_PER_PROPERTY
    assert len(PROPERTIES) * CASES_PER_PROPERTY >= 10_000


MUTANTS = {
    "a rank takes a lane of the next": (
        "(rank + 1) * num_lanes // num_ranks)",
        "(rank + 1) * num_lanes // num_ranks + 1)",
    ),
    "a rank leaves out its last lane": (
        "(rank + 1) * num_lanes // num_ranks)",
        "(rank + 1) * num_lanes // num_ranks - 1)",
    ),
    "lanes that do not divide are lost": (
        "range(rank * num_lanes // num_ranks, (rank + 1) * num_lanes // num_ranks)",
        "range(rank * (num_lanes // num_ranks), (rank + 1) * (num_lanes // num_ranks))",
    ),
    "lanes are dealt in turn": (
        "range(rank * num_lanes // num_ranks, (rank + 1) * num_lanes // num_ranks)",
        "range(rank, num_lanes, num_ranks)",
    ),
    "the short batch is dropped": ("-(-self.num_samples // global_batch)", "self.num_samples // global_batch"),
    "a batch too many": ("-(-self.num_samples // global_batch)", "self.num_samples // global_batch + 1"),
    "lanes run one sample on": ("number < short +", "number <= short +"),
    "lanes end one sample early": ("number < short +", "number + 1 < short +"),
    "one long lane too many": ("own_lanes < long_lanes", "own_lanes <= long_lanes"),
    "the last lanes are the long ones": (
        "number < short + (own_lanes < long_lanes)",
        "number < short + (own_lanes >= self.num_lanes - long_lanes)",
    ),
    "lanes begin as if one less were long": (
        "np.minimum(going_lanes, long_lanes)",
        "np.minimum(going_lanes, long_lanes - 1)",
    ),
    "lanes begin as if all were short": (" + np.minimum(going_lanes, long_lanes)", ""),
    "batches are counted from one": ("long_lanes) + number\n", "long_lanes) + number + 1\n"),
    "the end of a window belongs to it": ('side="right"', 'side="left"'),
    "windows begin one early": (
        "np.concatenate([[0], self._window_ends[:-1]])",
        "np.concatenate([[0], self._window_ends[:-1] - 1])",
    ),
    "a window has a shard too many": ("np.arange(window_shards - 1,", "np.arange(window_shards,"),
    "a window lacks its last shard": ("(window + 1) * self._window_shards]", "(window + 1) * self._window_shards - 1]"),
    "shards begin at their end": ("np.cumsum(sizes) - sizes", "np.cumsum(sizes)"),
    "the window before is taken": ("self._window(window)", "self._window(max(window - 1, 0))"),
    "windows are as large as the dataset": (
        "self._entropy = (_digest",
        "window_shards = len(shard_sizes)\n        self._entropy = (_digest",
    ),
    "the shuffle depends on what was read before": (
        "(*self._entropy, _SAMPLES, window)",
        "(*self._entropy, _SAMPLES, self._window.cache_info().misses)",
    ),
    "a process begins one batch late": ("range(first + process,", "range(first + process + 1,"),
    "a resumed process begins anew": ("range(first + process,", "range(process,"),
    "processes end one batch early": (
        "process, num_batches, num_processes)",
        "process, num_batches - 1, num_processes)",
    ),
    "processes make the same batches": ("range(first + process, num_batches", "range(first, num_batches"),
    "evaluation leaves out the rest": ("-(-num_samples // batch_size)", "num_samples // batch_size"),
    "evaluation runs past the end": ("min((number + 1) * batch_size, num_samples)", "(number + 1) * batch_size"),
}


@pytest.mark.parametrize("fault", MUTANTS)
def test_a_planted_fault_is_caught(fault: str) -> None:
    assert is_caught(planted(*MUTANTS[fault])), fault


def test_a_copy_without_a_fault_is_not_caught() -> None:
    assert not is_caught(planted("", ""))


def planted(right: str, wrong: str) -> types.ModuleType:
    """A copy of order.py with `wrong` in the place of `right`."""
    source = Path(real_order.__file__).read_text()
    assert right in source, f"order.py was changed and no longer says {right!r}; plant this fault anew"
    mutant = types.ModuleType("mutant")
    exec(compile(source.replace(right, wrong, 1) if right else source, "mutant", "exec"), mutant.__dict__)
    return mutant


def is_caught(mutant: types.ModuleType) -> bool:
    return any(fails(check, mutant) for check in PROPERTIES)


def fails(check: Callable[[Any, Case], None], mutant: types.ModuleType) -> bool:
    @settings(
        max_examples=CASES_PER_MUTANT,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(case=cases())
    def judge(case: Case) -> None:
        check(mutant, case)

    try:
        judge()
    except (AssertionError, IndexError, ValueError):
        return True
    return False
