"""Who stands still is noticed, who keeps the others waiting is named, and who only takes long is left alone."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path

import pytest
import torch

from roadbed.errors import StoreError
from roadbed.runs import Run
from roadbed.storage import Store, open_store
from roadbed.training.attempt import Outcome, run_attempt
from roadbed.training.group import Group
from roadbed.training.watch import Phase, Watch
from roadbed.training.watchdog import HANG_STATUS, Report, Verdict, Watchdog, judge, read_verdict
from support import blocks_dataset, blocks_job

TIMEOUT_S = 10.0
"""A look passes a tenth of it."""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(open_store(str(tmp_path)), "watched")


class Worker:
    """A worker that does what the test says, and its watchdog."""

    def __init__(self, run: Run, rank: int, *, num_workers: int = 2) -> None:
        self.watch = Watch()
        self.traffic = 0
        self.ended: list[int] = []
        self.watchdog = Watchdog(
            self.watch,
            run,
            1,
            rank=rank,
            places=[f"host-{number}, pid {number}" for number in range(num_workers)],
            timeout_s=TIMEOUT_S,
            get_traffic=lambda: self.traffic,
            end=self.ended.append,
        )
        self.watch.move("computing", step=7)

    def look(self) -> Verdict | None:
        return self.watchdog.look(TIMEOUT_S / 10)


def looks(*workers: Worker, number: int) -> Verdict | None:
    """So many looks of all workers in turn; the first verdict."""
    for _ in range(number):
        for worker in workers:
            verdict = worker.look()
            if verdict is not None:
                return verdict
    return None


def told(run: Run) -> list[str]:
    return [info.key.rpartition("/")[2] for info in run.store.list("attempts/0001/stalls/")]


def wait(worker: Worker) -> None:
    """Let a worker come to where it waits for the others, and stay there."""
    worker.watch.meeting().__enter__()


def test_workers_that_meet_write_nothing(run: Run) -> None:
    workers = [Worker(run, rank) for rank in range(2)]
    for _ in range(40):
        for worker in workers:
            with worker.watch.meeting():
                pass
        assert looks(*workers, number=1) is None
    assert told(run) == []


def test_a_frozen_worker_is_named_by_the_one_that_waits(run: Run) -> None:
    alive = Worker(run, 0)
    wait(alive)
    verdict = looks(alive, number=16)
    assert verdict == Verdict((1,), "worker 1 of 2 (host-1, pid 1) gives no sign: a frozen process or a lost machine")
    assert told(run) == ["0000.json"]


def test_a_worker_that_froze_after_it_told_is_named_too(run: Run) -> None:
    alive, frozen = Worker(run, 0), Worker(run, 1)
    wait(alive)
    looks(alive, frozen, number=5)
    assert told(run) == ["0000.json", "0001.json"]
    verdict = looks(alive, number=15)
    assert verdict is not None
    assert verdict.ranks == (1,)
    assert "gives no sign" in verdict.text


def test_a_worker_that_is_stuck_is_named_with_phase_step_and_where_it_is(run: Run) -> None:
    alive, stuck = Worker(run, 0), Worker(run, 1)
    wait(alive)
    stuck.watch.move("loading data", step=8)
    verdict = looks(alive, stuck, number=20)
    assert verdict is not None
    assert verdict.ranks == (1,)
    for word in ("worker 1 of 2 (", "loading data at step 8 for 1", " s, in File "):
        assert word in verdict.text


def test_one_that_works_long_but_moves_is_waited_for(run: Run) -> None:
    waiting, busy = Worker(run, 0), Worker(run, 1)
    wait(waiting)
    busy.watch.move("evaluating")
    for _ in range(200):
        busy.watch.move()
        assert looks(waiting, busy, number=1) is None
    verdict = looks(waiting, busy, number=20)
    assert verdict is not None
    assert verdict.ranks == (1,), "once it is stuck it is named"


@pytest.mark.parametrize(("phase", "num_looks"), [("starting", 35), ("saving", 500)])
def test_first_steps_have_longer_and_what_is_written_ends_by_the_stores_budget(
    run: Run, phase: Phase, num_looks: int
) -> None:
    waiting, slow = Worker(run, 0), Worker(run, 1)
    wait(waiting)
    slow.watch.move(phase)
    assert looks(waiting, slow, number=num_looks - 10) is None
    verdict = looks(waiting, slow, number=20)
    assert (verdict is not None) == (phase == "starting")


def test_what_comes_from_the_store_is_movement_unless_it_is_the_others_that_are_waited_for(run: Run) -> None:
    alone = Worker(run, 0, num_workers=1)
    alone.watch.move("loading data")
    for _ in range(50):
        alone.traffic += 1
        assert alone.look() is None
    verdict = looks(alone, number=17)
    assert verdict is not None
    assert verdict.ranks == (0,)
    waiting, frozen = Worker(run, 0), 1
    wait(waiting)
    for _ in range(20):
        waiting.traffic += 1
        verdict = waiting.look()
        if verdict is not None:
            break
    assert verdict is not None
    assert verdict.ranks == (frozen,)


def test_moving_again_takes_the_suspicion_back(run: Run) -> None:
    waiting, slow = Worker(run, 0), Worker(run, 1)
    for _ in range(5):
        wait(waiting)
        assert looks(waiting, slow, number=14) is None
        waiting.watch.num_meetings += 1
        waiting.watch.move("computing")
        slow.watch.move()


def report(rank: int, phase: Phase, *, is_stalled: bool = True) -> Report:
    return Report(rank, phase, 3, is_stalled, 12.0, 1, f"host-{rank}", 10 + rank, ("  File x\n    wait()",))


@pytest.mark.parametrize(
    ("reports", "silent", "ranks"),
    [
        ([report(0, "waiting for the others"), report(1, "computing")], [], (1,)),
        ([report(0, "computing"), report(1, "loading data")], [], (1,)),
        ([report(0, "computing"), report(1, "computing")], [], (0, 1)),
        ([report(0, "computing"), report(2, "evaluating")], [1], (1,)),
        ([report(0, "waiting for the others"), report(1, "waiting for the others")], [], ()),
    ],
)
def test_guilt_is_with_the_silent_then_with_work_of_ones_own_then_with_computing(
    reports: list[Report], silent: list[int], ranks: tuple[int, ...]
) -> None:
    by_rank = {one.rank: one for one in reports}
    verdict = judge(by_rank, dict.fromkeys(silent, "there"), num_workers=3)
    assert verdict is not None
    assert verdict.ranks == ranks
    if not ranks:
        assert "the network between them" in verdict.text
    moving = dataclasses.replace(reports[0], is_stalled=False)
    assert judge(by_rank | {moving.rank: moving}, {}, num_workers=3) is None


def test_the_process_ends_itself_after_the_verdict_was_written_once(run: Run) -> None:
    ended = threading.Event()
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    watchdog = Watchdog(Watch(), run, 1, rank=0, places=["here", "there"], timeout_s=0.2, end=end)
    run.store.put_if("attempts/0001/stalls/verdict.json", b'{"ranks": [1], "text": "the first"}', etag=None)
    with watchdog:
        assert ended.wait(timeout=60)
    assert codes == [HANG_STATUS]
    assert read_verdict(run, 1) == Verdict((1,), "the first")
    assert read_verdict(run, 2) is None


def test_a_store_that_is_away_makes_no_verdict_and_no_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def refuse(key: str, data: bytes) -> str:
        tries.append(key)
        raise StoreError("away")

    monkeypatch.setattr(run.store, "put", refuse)
    codes: list[int] = []
    with Watchdog(Watch(), run, 1, rank=0, places=["here"], timeout_s=0.1, end=codes.append):
        deadline = time.monotonic() + 60
        while len(tries) < 12 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(tries) >= 12
    assert codes == []


def test_zero_seconds_are_no_watchdog(run: Run) -> None:
    before = threading.active_count()
    with Watchdog(Watch(), run, 1, rank=0, places=["here"], timeout_s=0):
        assert threading.active_count() == before


def test_a_training_goes_through_its_phases_and_leaves_no_stall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    blocks_dataset(f"file://{tmp_path}/blocks")
    phases: list[Phase] = ["starting"]
    move = Watch.move

    def noted(self: Watch, phase: Phase | None = None, *, step: int | None = None) -> None:
        move(self, phase, step=step)
        if phases[-1:] != [self.phase]:
            phases.append(self.phase)

    monkeypatch.setattr(Watch, "move", noted)
    job, group = blocks_job(tmp_path), Group()
    assert run_attempt(job, group) == Outcome("finished")
    assert phases[:6] == ["starting", "loading data", "computing", "loading data", "computing", "saving"]
    assert {"evaluating", "waiting for the others"} <= set(phases)
    assert phases[-1] == "saving"
    assert group.watch.step == 8
    store: Store = open_store(f"{tmp_path}/runs/blocks")
    assert not [info for info in store.list("attempts/") if "stalls" in info.key]
