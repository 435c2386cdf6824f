"""One trial of a sweep: what Ray Tune runs in a process of its own, which trains a run as `roadbed train` does.

The trial's workers are Ray Train's. What they report of every evaluation comes through a queue to this process, which
hands it to Tune with a small checkpoint that says where the weights lie: a scheduler that exploits (PBT) needs one, and
gets none from Ray's own callback.
"""

from __future__ import annotations

import contextlib
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

from roadbed.errors import RoadbedError, StoreError
from roadbed.registry import Registry
from roadbed.runs import LIVE, Run
from roadbed.runtime.train import begin_run, train_in_session, with_fixed_weights
from roadbed.spec import TrainJob, TuneJob, parse_kind
from roadbed.storage import Store, open_store
from roadbed.training.adopt import adopt
from roadbed.tuning.sweep import BASELINE, trial_name

POLL_S = 1.0
DONOR_PATIENCE_S = 60.0
WHERE = "where.json"

# What a trial's configuration holds besides the values of the space.
SPEC, NUMBER, RUN, ENVIRONMENT = "spec", "trial", "run", "environment"
# What a trial reports.
SCORE, EPOCH, DONOR = "score", "epoch", "donor"


class Scores(UserCallback):  # type: ignore[misc]
    """What Ray Train's controller calls with the workers' reports. Evaluated epochs alone are passed on."""

    def __init__(self, queue: Any, metric: str) -> None:
        self.queue, self.metric = queue, metric

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """As Ray has it."""
        told = metrics[0]
        if told["is_evaluated"]:
            self.queue.put({EPOCH: told["epochs_done"], SCORE: told[self.metric]})


def run_trial(config: Mapping[str, Any]) -> None:
    """What Tune runs. A run that fails says so in its status; that ends the trial, not the sweep."""
    os.environ.update(config[ENVIRONMENT])
    sweep = parse_kind(TuneJob, config[SPEC], origin="the sweep's spec")
    root = open_store(sweep.output.store)
    is_baseline = config[NUMBER] == BASELINE
    values = {} if is_baseline else {path: config[path] for path in sweep.tune.space if path in config}
    checkpoint = tune.get_checkpoint()
    where = {} if checkpoint is None else _read_where(checkpoint)
    name, donor = _run_and_donor(root, sweep.name, config, where)
    run, told = Run(root, name), {}
    if donor is not None:
        _go_on_from(Run(root, donor), run)
        told = {DONOR: where[NUMBER]}
    job, told = sweep.trial(name, values), {NUMBER: config[NUMBER]} | told
    if is_baseline:
        _train(job, run)  # unseen by the scheduler, so that nothing ends it early
    else:
        _train_and_report(job, run, metric=sweep.tune.metric, told=told)


def _run_and_donor(
    root: Store, sweep: str, config: Mapping[str, Any], where: Mapping[str, Any]
) -> tuple[str, str | None]:
    """The run that this trial is now, and the one that it begins from if Tune gave it another trial's checkpoint."""
    if not where:
        return config[RUN], None
    if where[NUMBER] == config[NUMBER]:
        return where[RUN], None
    generation = 1
    while Run(root, trial_name(sweep, config[NUMBER], generation=generation)).spec() is not None:
        generation += 1
    return trial_name(sweep, config[NUMBER], generation=generation), where[RUN]


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
    """Bring the run to its end; whether it came there. If not, its status says why."""
    try:
        job = with_fixed_weights(job, run, Registry(open_store(job.output.store)))
        begin_run(job, run)
        status = run.status()
        if status is None or status.state != "finished":
            train_in_session(job, run, callbacks=callbacks)
    except RoadbedError as error:
        with contextlib.suppress(RoadbedError):
            run.fail(str(error))
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
        (Path(folder) / WHERE).write_text(json.dumps({NUMBER: told[NUMBER], RUN: run.name}))
        tune.report({**report, **told, RUN: run.name}, checkpoint=tune.Checkpoint.from_directory(folder))


def _read_where(checkpoint: Any) -> dict[str, Any]:
    with checkpoint.as_directory() as folder:
        return dict(json.loads((Path(folder) / WHERE).read_text()))


def _go_on_from(donor: Run, run: Run) -> None:
    """Give a new run the donor's newest checkpoint. What was reported last may still be on its way to the store."""
    if run.pointer().latest is not None:
        return
    deadline = time.monotonic() + DONOR_PATIENCE_S
    while donor.pointer().latest is None:
        status = donor.status()
        if status is None or status.state not in LIVE or time.monotonic() > deadline:
            raise StoreError(f"run {donor.name} has no whole checkpoint that {run.name} could go on from")
        time.sleep(POLL_S)
    adopt(donor, run)
