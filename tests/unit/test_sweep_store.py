"""A sweep's trials as lines in the store: read back as they were written, by one start at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from roadbed.errors import ConflictError, FencedError, NotFoundError
from roadbed.runs import CheckpointRef, Pointer, Run
from roadbed.spec import TuneJob, dump_job, parse_kind
from roadbed.storage import Store, open_store
from roadbed.training.adopt import adopt
from roadbed.training.checkpoint import MANIFEST
from roadbed.tuning.results import Baseline, Change
from roadbed.tuning.sweep import BASELINE, LiveSweep, Sweep, list_sweeps, read_result, result_of, trial_name
from support import Clock

SPEC = """
kind: tune
name: streets
data: {uri: 's3://roadbed/datasets/town'}
train: {epochs: 4}
workers: {num_workers: 2}
tune: {trials: 3, space: {train.learning_rate: {loguniform: [0.001, 0.1]}}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


@pytest.fixture
def job() -> TuneJob:
    return parse_kind(TuneJob, SPEC, origin="test")


def live(root: Store, clock: Clock) -> LiveSweep:
    sweep = Sweep(root, "streets")
    sweep.run.clock = clock
    return LiveSweep(sweep.run.claim(details={}), sweep.trials())


def test_trials_are_read_back_as_they_were_written(root: Store, job: TuneJob) -> None:
    clock = Clock()
    Sweep(root, "streets").run.begin(dump_job(job))
    first = live(root, clock)
    first.begin(BASELINE, {})
    first.begin(0, {"train.learning_rate": 0.01})
    first.begin(1, {"train.learning_rate": 0.02})
    clock.now += 10
    first.score(0, epoch=1, value=0.4)
    first.score(1, epoch=1, value=0.6)
    first.score(BASELINE, epoch=4, value=0.5)
    first.end(BASELINE, "finished")
    clock.now += 10
    first.change(0, Change(1, 1, {"train.learning_rate": 0.024}), run="streets-0000-1")
    first.score(0, epoch=2, value=0.65)
    first.end(1, "stopped", "stopped by asha after epoch 1")
    assert Sweep(root, "streets").trials() == first.trials

    clock.now += 3
    first.pause()
    clock.now += 1000  # nobody was at work
    second = live(root, clock)
    second.begin(0, second.trials[0].values)
    clock.now += 5
    second.score(0, epoch=2, value=0.7)  # done again from a checkpoint
    trials = Sweep(root, "streets").trials()
    assert trials == second.trials
    assert trials[0].curve == ((1, 0.4), (2, 0.7))
    assert trials[0].run_name("streets") == "streets-0000-1"
    assert trials[0].values_now == {"train.learning_rate": 0.024}
    assert (trials[1].is_over, trials[1].reason) == (True, "stopped by asha after epoch 1")

    result = result_of(job, trials)
    assert [trial.number for trial in result.ranked()] == [0, 1]
    assert [trial.worker_s for trial in result.trials] == [2 * 28.0, 2 * 20.0]
    assert result.wall_s == 28
    assert result.baseline == Baseline("streets-base", 0.5)
    assert result_of(job, trials, now=clock.now + 7).wall_s == 35
    assert read_result(Sweep(root, "streets")) == result
    assert list_sweeps(root) == ["streets"]


def test_a_start_that_was_replaced_writes_nothing_more(root: Store) -> None:
    first = live(root, Clock())
    first.begin(0, {"train.learning_rate": 0.01})
    live(root, Clock())
    for write in (lambda: first.end(0, "finished"), first.check_fence, first.pause):
        with pytest.raises(FencedError):
            write()
    assert not Sweep(root, "streets").trials()[0].is_over


def test_a_sweep_that_is_none(root: Store) -> None:
    with pytest.raises(NotFoundError, match=r"sweeps/nowhere: no such sweep; see `roadbed sweeps list`"):
        read_result(Sweep(root, "nowhere"))


@pytest.mark.parametrize(
    ("number", "generation", "name"), [(3, 0, "s-0003"), (3, 2, "s-0003-2"), (BASELINE, 0, "s-base")]
)
def test_names_of_runs(number: int, generation: int, name: str) -> None:
    assert trial_name("s", number, generation=generation) == name


class TestAdopting:
    def checkpoint(self, run: Run, step: int) -> CheckpointRef:
        ref = CheckpointRef(f"attempts/0001/checkpoints/{step:08d}", attempt=1, step=step, score=0.5)
        folder = run.store.child(ref.key)
        folder.put("state.json", b"{}")
        digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        folder.put(MANIFEST, f'{{"files": {{"state.json": {{"sha256": "{digest}", "bytes": 2}}}}}}'.encode())
        return ref

    def point(self, run: Run, *refs: CheckpointRef) -> None:
        run.store.put("latest.json", Pointer(1, refs, refs[0]).to_bytes())

    def test_a_run_begins_with_another_ones_newest_checkpoint(self, root: Store) -> None:
        donor, run = Run(root, "donor"), Run(root, "run")
        self.point(donor, self.checkpoint(donor, 8), self.checkpoint(donor, 4))
        adopt(donor, run)
        latest: Any = run.pointer().latest
        assert (latest.step, latest.attempt, run.pointer().best) == (8, 0, None)
        assert run.store.child(latest.key).get("state.json") == b"{}"
        assert run.attempts() == []
        with pytest.raises(ConflictError):
            adopt(donor, run)

    def test_a_donor_without_a_whole_one(self, root: Store) -> None:
        donor, run = Run(root, "donor"), Run(root, "run")
        with pytest.raises(NotFoundError, match="has no whole checkpoint to go on from"):
            adopt(donor, run)
        self.point(donor, CheckpointRef("attempts/0001/checkpoints/00000008", 1, 8))
        with pytest.raises(NotFoundError, match="has no whole checkpoint"):
            adopt(donor, run)
        assert run.pointer().latest is None


def test_a_change_takes_the_scores_after_it_away(root: Store) -> None:
    """The donor's weights were those of an earlier epoch than its own."""
    sweep = live(root, Clock())
    sweep.begin(0, {"train.learning_rate": 0.01})
    for epoch in (1, 2, 3):
        sweep.score(0, epoch=epoch, value=0.1 * epoch)
    trial = sweep.change(0, Change(2, 1, {"train.learning_rate": 0.02}), run="streets-0000-2")
    assert [epoch for epoch, _ in trial.curve] == [1, 2]
    assert Sweep(root, "streets").trials()[0].run_name("streets") == "streets-0000-2"
