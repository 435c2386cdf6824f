"""One trial of a sweep: what Ray Tune runs in a process of its own, which trains a run as `roadbed train` does.

The trial's workers are Ray Train's. What they report of every evaluation comes through a queue to this process, which
hands it to Tune with a small checkpoint that says where the weights lie: a scheduler that exploits (PBT) needs one, and
gets none from Ray's own callback.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ray import tune
from ray.train import UserCallback
from ray.util.queue import Empty, Queue

from roadbed.errors import FencedError, RoadbedError, StoreError
from roadbed.registry import Registry
from roadbed.runs import LIVE, Run
from roadbed.runtime.train import begin_run, train_in_session, with_fixed_weights
from roadbed.spec import TrainJob, TuneJob, parse_kind
from roadbed.storage import Store, get_json, open_store
from roadbed.training.adopt import adopt
from roadbed.tuning.sweep import BASELINE, trial_name

POLL_S = 1.0
DONOR_PATIENCE_S = 60.0
WHERE = "where.json"

# What a trial's configuration holds besides the values of the space.
NUMBER, RUN = "trial", "run"
# What a trial reports, besides those two; after a change also where it came from.
SCORE, EPOCH, STEP, CHANGE = "score", "epoch", "step", "change"


class Scores(UserCallback):  # type: ignore[misc]
    """What Ray Train's controller calls with the workers' reports. Evaluated epochs alone are passed on."""

    def __init__(self, queue: Any, metric: str) -> None:
        self.queue, self.metric = queue, metric

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """As Ray has it."""
        told = metrics[0]
        if told["is_evaluated"]:
            self.queue.put({EPOCH: told["epochs_done"], STEP: told["step"], SCORE: told[self.metric]})


def run_trial(config: Mapping[str, Any], *, spec: str, environment: Mapping[str, str]) -> None:
    """What Tune runs: `spec` is the sweep's, `environment` what reaches the store from here.

    A run that fails says so in its status; that ends the trial, not the sweep.
    """
    os.environ.update(environment)
    sweep = parse_kind(TuneJob, spec, origin="the sweep's spec")
    root, number = open_store(sweep.output.store), config[NUMBER]
    if number == BASELINE:
        _train(sweep.trial(config[RUN], {}), Run(root, config[RUN]))  # unseen by the scheduler: nothing ends it early
        return
    values = {path: config[path] for path in sweep.tune.space if path in config}
    checkpoint = tune.get_checkpoint()
    where = {} if checkpoint is None else _read_where(checkpoint)
    run, told = Run(root, where.get(RUN, config[RUN])), {NUMBER: number}
    if where.get(NUMBER, number) != number:
        donor, run = run, Run(root, _next_name(root, sweep.name, number))
        epoch = _go_on_from(donor, run, step=where[STEP])
        told[CHANGE] = {"epoch": epoch, "donor": where[NUMBER], "values": values}
    _train_and_report(sweep.trial(run.name, values), run, metric=sweep.tune.metric, told=told)


def _next_name(root: Store, sweep: str, number: int) -> str:
    """The first name of a trial's run after changes that nothing was written under."""
    for generation in itertools.count(1):
        run = Run(root, trial_name(sweep, number, generation=generation))
        if run.spec() is None and run.pointer().latest is None:
            return run.name
    raise AssertionError


def _train_and_report(job: TrainJob, run: Run, *, metric: str, told: Mapping[str, Any]) -> None:
    queue = Queue(actor_options={"num_cpus": 0})
    training = _Training(job, run, Scores(queue, metric))
    training.start()
    last: dict[str, Any] | None = None
    for report in _reports(queue, training):
        if report[EPOCH] < job.train.epochs:
            _report(report, run, told)
        else:
            last = report  # told when the run is finished: nobody stops it before its last checkpoint is whole
    training.join()
    if training.defect is not None:
        raise training.defect
    if last is not None and training.is_finished:
        _report(last, run, told)


class _Training(threading.Thread):
    """Trains the run. `is_finished` says whether it came to its end; `defect` is what broke, but for the run itself."""

    def __init__(self, job: TrainJob, run: Run, scores: Scores) -> None:
        super().__init__(name="roadbed-trial", daemon=True)
        self._job, self._run, self._scores = job, run, scores
        self.is_finished = False
        self.defect: BaseException | None = None

    def run(self) -> None:
        """As threading has it."""
        try:
            self.is_finished = _train(self._job, self._run, self._scores)
        except BaseException as error:
            self.defect = error


def _train(job: TrainJob, run: Run, *callbacks: UserCallback) -> bool:
    """Bring the run to its end; whether it came there. If not, its status says why, or another start has taken it.

    Raises the RoadbedError of a run that has no status to say it.
    """
    try:
        job = with_fixed_weights(job, run, Registry(open_store(job.output.store)))
        begin_run(job, run)
        status = run.status()
        if status is None or status.state != "finished":
            train_in_session(job, run, callbacks=callbacks)
    except FencedError:
        return False
    except RoadbedError as error:
        run.fail(str(error))
        status = run.status()
        if status is None or status.state != "failed":
            raise
        return False
    return True


def _reports(queue: Any, training: threading.Thread) -> Iterator[dict[str, Any]]:
    """What comes through the queue until the training has ended and the queue is empty."""
    while True:
        is_over = not training.is_alive()
        try:
            yield queue.get(timeout=POLL_S)
        except Empty:
            if is_over:
                return


def _report(report: Mapping[str, Any], run: Run, told: Mapping[str, Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="roadbed-trial-") as folder:
        where = {NUMBER: told[NUMBER], RUN: run.name, STEP: report[STEP]}
        (Path(folder) / WHERE).write_text(json.dumps(where))
        tune.report({**report, **told, RUN: run.name}, checkpoint=tune.Checkpoint.from_directory(folder))


def _read_where(checkpoint: Any) -> dict[str, Any]:
    with checkpoint.as_directory() as folder:
        return dict(json.loads((Path(folder) / WHERE).read_text()))


def _go_on_from(donor: Run, run: Run, *, step: int) -> int:
    """Give a new run the donor's newest checkpoint: of `step` or later, which may be on its way to the store.

    The number of epochs that it was trained for.
    """
    deadline = time.monotonic() + DONOR_PATIENCE_S
    while True:
        latest, status = donor.pointer().latest, donor.status()
        is_live = status is not None and status.state in LIVE and time.monotonic() < deadline
        if latest is not None and (latest.step >= step or not is_live):
            break
        if not is_live:
            raise StoreError(f"run {donor.name} has no whole checkpoint that {run.name} could go on from")
        time.sleep(POLL_S)
    state = get_json(run.store.child(adopt(donor, run).key), "state.json")
    return int(state["epoch"]) + bool(state.get("is_unscored"))
