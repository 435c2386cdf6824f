"""A sweep on Ray Tune: the driver that asks for trials, starts, follows and ends them, and registers the best.

Ray Tune places the trials and applies the scheduler. What the sweep knows lies in our store (roadbed.tuning.sweep):
Tune's own snapshots are scratch of one start, and a sweep that is started again is rebuilt from its trials' lines.
"""

from __future__ import annotations

import logging
import math
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray import tune
from ray.tune import TuneError

from roadbed.data.dataset import Dataset
from roadbed.errors import RoadbedError, StoppedError, UsageError
from roadbed.registry import Registry, Version
from roadbed.runs import Heartbeat
from roadbed.runtime.local.variables import variables_set
from roadbed.runtime.session import last_line, own_signals, ray_connection, worker_environment
from roadbed.runtime.train import MAY_CHANGE as MAY_CHANGE_OF_RUNS
from roadbed.runtime.train import fixed_weights, labelled_dataset
from roadbed.runtime.tune_search import Asker, Budget, Recorder, Silent, make_scheduler, remind, tell
from roadbed.runtime.tune_trial import NUMBER, RUN, run_trial
from roadbed.spec import TuneJob, WorkersSpec, dump_job, parse_kind
from roadbed.spec.load import differing_keys
from roadbed.storage import open_store
from roadbed.training.publish import publish_best
from roadbed.tuning.results import SweepResult
from roadbed.tuning.study import Study
from roadbed.tuning.sweep import BASELINE, LiveSweep, Sweep, TrialRecord, read_result, result_of, wall_s

FOLLOW_INTERVAL_S = 2.0
# Of the process that follows a trial: no CPU, which the trial's workers need; on the node of this process, for Tune's
# scratch is a folder here.
DRIVER_BYTES, ON_THIS_NODE = 1_000_000, 0.001
# How often Tune starts such a process anew; its run goes on from its last checkpoint.
MAX_FAILURES = 3
# Trials may end without a score; tables and logs are not Tune's to write.
SETTINGS_OF_TUNE: dict[str, str | None] = {
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}
BY_USER = "stopped by its user"
MAY_CHANGE = (*MAY_CHANGE_OF_RUNS, "tune.trials", "tune.hours", "tune.gpu_hours", "tune.max_concurrent")


@dataclass(frozen=True)
class Swept:
    """What came of a sweep."""

    result: SweepResult
    version: Version | None


def complete_sweep(
    job: TuneJob,
    *,
    takeover: bool = False,
    wait_s: float = 0.0,
    notify: Callable[[str], None] = lambda _: None,
    follow: Callable[[SweepResult], None] = lambda _: None,
) -> Swept:
    """Bring a sweep to its end, from wherever it stands, and register the best trial if the spec says so.

    Trials that ended are not run again; a start of the sweep that is at work is waited for, for `wait_s`. `follow` is
    told how the sweep stands every other second. Raises UsageError or RoadbedError with the reason: that no trial ended
    well is one.
    """
    root = open_store(job.output.store)
    dataset = labelled_dataset(job.data)
    sweep = Sweep(root, job.name)
    job = _begin(job, sweep, Registry(root))
    if not takeover:
        sweep.run.wait_until_free(wait_s=wait_s, notify=notify)
    if _numbers_to_do(job, sweep.trials()):
        _sweep_on(job, sweep, notify=notify, follow=follow)
    trials = sweep.trials()
    best = _best(job, sweep, trials)
    if best is None:
        raise RoadbedError(f"sweep {job.name}: {_why_none(trials)}")
    if best.number == BASELINE:
        notify("no trial was better than the spec's own values")
    version = None
    if job.output.register_as:
        version = _register(job, sweep, best, dataset)
        sweep.tell_registered(f"{version.name}:{version.number}")
    return Swept(read_result(sweep), version)


def _begin(job: TuneJob, sweep: Sweep, registry: Registry) -> TuneJob:
    """Write the sweep's spec, or check that the one that is there is the same but for `MAY_CHANGE`.

    The job with the version that an alias of `model.weights` named when the sweep began.
    """
    origin = f"{sweep.run.uri}/spec.yaml"
    text = sweep.run.spec()
    before = None if text is None else parse_kind(TuneJob, text, origin=origin)
    weights = fixed_weights(job.model.weights, before.model.weights if before else "", registry)
    job = job.model_copy(update={"model": job.model.model_copy(update={"weights": weights})})
    there = parse_kind(TuneJob, sweep.run.begin(dump_job(job)), origin=origin)
    if keys := differing_keys(there, job, ignore=MAY_CHANGE):
        raise UsageError(
            f"sweep {job.name} was begun with another {', '.join(keys)} ({sweep.run.uri}/spec.yaml); to go on with it "
            f"use that spec, to begin another sweep give it another name"
        )
    return job


def _numbers_to_do(job: TuneJob, trials: Mapping[int, TrialRecord]) -> list[int]:
    """Trials that were begun and did not end, then those that were never begun."""
    begun = [number for number, trial in sorted(trials.items()) if not trial.is_over]
    wanted = [*([BASELINE] if job.tune.baseline else []), *range(job.tune.trials)]
    return begun + [number for number in wanted if number not in trials]


def _sweep_on(
    job: TuneJob, sweep: Sweep, *, notify: Callable[[str], None], follow: Callable[[SweepResult], None]
) -> None:
    workers = job.workers
    most = job.tune.max_concurrent or job.tune.trials
    fitting = workers.num_workers.min * workers.cpus_per_worker
    with ray_connection(num_cpus=fitting, needs_state=True) as resources:
        at_once = min(most, num_concurrent(workers, resources))
        notify(f"{at_once} trial{'s' * (at_once > 1)} at a time ({_arithmetic(workers, resources)})")
        if job.tune.scheduler.kind == "pbt" and at_once < 2:
            raise UsageError("tune.scheduler.kind: pbt compares trials that train at once, but one fits; take asha")
        trials = sweep.trials()
        attempt = sweep.run.claim(details={"num_trials": job.tune.trials})
        live = LiveSweep(attempt, trials)

        def progress() -> tuple[int, Mapping[str, Any]]:
            now = [trial for number, trial in live.trials.items() if number != BASELINE]
            return sum(trial.is_over for trial in now), {"trials": job.tune.trials, "begun": len(now)}

        state: Literal["finished", "failed", "stopped"] = "failed"
        reason: str | None = "the sweep's own program broke; its log has the traceback"
        with Heartbeat(attempt, progress), _following(job, live, follow):
            try:
                why = _tune(job, sweep, live, at_once=at_once)
                state, reason = ("stopped", why) if why else ("finished", None)
            except (KeyboardInterrupt, SystemExit):  # SIGTERM, or a second Ctrl-C
                state, reason = "stopped", (why := BY_USER)
            finally:
                _let_go(sweep, live, reason or "")
                step, told = progress()
                attempt.finish(state, reason=reason, step=step, progress=told)
    if why == BY_USER:
        raise StoppedError(f"sweep {job.name} was {BY_USER}; start it again to go on")
    if why:
        notify(f"{why}; raise it and start the sweep again to go on")


def _tune(job: TuneJob, sweep: Sweep, live: LiveSweep, *, at_once: int) -> str:
    """Run the trials that are to do. Why they were all stopped, if they were: by the budget, or by Ctrl-C.

    Tune takes Ctrl-C itself and comes back as if all was done.
    """
    study, scheduler = _study(job, live), make_scheduler(job)
    for number, trial in live.trials.items():
        if trial.is_over:
            remind(scheduler, f"earlier-{number}", trial)
    numbers = _numbers_to_do(job, live.trials)
    budget = Budget(job, lambda: _spent(job, live))
    waiting = iter(numbers)

    def ask(trial_id: str) -> dict[str, Any] | None:
        number = next(waiting, None)
        if number is None:
            return None
        record = live.begin(number, _values(job, study, live, number))
        remind(scheduler, trial_id, record)
        names = {NUMBER: number, RUN: record.run_name(job.name)}
        return {**record.values_now, **names}

    scratch_folder = tempfile.TemporaryDirectory(prefix="roadbed-tune-", ignore_cleanup_errors=True)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # its advice is about files that nobody reads
    with variables_set(SETTINGS_OF_TUNE), scratch_folder as scratch, own_signals():
        tuner = tune.Tuner(
            tune.with_resources(
                # Not part of what Tune writes into its files: the environment has secrets.
                tune.with_parameters(run_trial, spec=dump_job(job), environment=worker_environment()),
                {"memory": DRIVER_BYTES, f"node:{ray.util.get_node_ip_address()}": ON_THIS_NODE},
            ),
            tune_config=tune.TuneConfig(
                search_alg=Asker(ask),
                scheduler=scheduler,
                num_samples=len(numbers),
                max_concurrent_trials=at_once,
            ),
            run_config=tune.RunConfig(
                name=job.name,
                storage_path=scratch,
                stop=budget,
                failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
                callbacks=[Recorder(job, sweep, live, study), Silent()],
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        except TuneError as error:
            raise RoadbedError(f"sweep {job.name}: {last_line(error)}") from error
    return budget.why or (BY_USER if _numbers_to_do(job, live.trials) else "")


def _let_go(sweep: Sweep, live: LiveSweep, why: str) -> None:
    """The trials that did not end are nobody's any more. Raises FencedError if they are another start's."""
    live.check_fence()
    live.pause()
    for trial in live.trials.values():
        if not trial.is_over:
            sweep.run_of(trial).fail(why, state="stopped")


def _study(job: TuneJob, live: LiveSweep) -> Study:
    """The study with all that is known of the trials that there are."""
    study = Study(job.tune)
    for number, trial in live.trials.items():
        if number != BASELINE:
            study.add(number, trial.values)
            for epoch, score in trial.curve:
                study.report(number, int(epoch), score)
            if trial.is_over:
                tell(study, trial)
    return study


def _values(job: TuneJob, study: Study, live: LiveSweep, number: int) -> dict[str, Any]:
    if number in live.trials:
        return dict(live.trials[number].values)
    return {} if number == BASELINE else study.ask(number)


def num_concurrent(workers: WorkersSpec, resources: Mapping[str, float]) -> int:
    """How many trials a cluster holds at once. Raises UsageError, with the arithmetic, if not a single one."""
    counts = [
        math.floor(resources.get(resource, 0) / (workers.num_workers.min * each))
        for resource, each in (("CPU", workers.cpus_per_worker), ("GPU", workers.gpus_per_worker))
        if each
    ]
    if min(counts) < 1:
        raise UsageError(
            f"a trial never fits: {_arithmetic(workers, resources)}; lower workers.num_workers, "
            f"workers.cpus_per_worker or workers.gpus_per_worker"
        )
    return min(counts)


def _arithmetic(workers: WorkersSpec, resources: Mapping[str, float]) -> str:
    number = workers.num_workers.min
    parts = [
        f"{number} worker{'s' * (number > 1)} x {each} {resource} = {number * each} of {resources.get(resource, 0):g}"
        for resource, each in (("CPU", workers.cpus_per_worker), ("GPU", workers.gpus_per_worker))
        if each
    ]
    return ", ".join(parts)


def _spent(job: TuneJob, live: LiveSweep) -> tuple[float, float]:
    """Seconds in which the sweep was at work, and GPU-seconds."""
    trials, now = live.trials, time.time()
    worked_s = sum(end - begin for trial in trials.values() for begin, end in trial.spans(now))
    return wall_s(trials, now), worked_s * job.workers.num_workers.max * job.workers.gpus_per_worker


@contextmanager
def _following(job: TuneJob, live: LiveSweep, follow: Callable[[SweepResult], None]) -> Iterator[None]:
    """While open, a thread tells how the sweep stands."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(FOLLOW_INTERVAL_S):
            follow(result_of(job, live.trials, now=time.time()))

    thread = threading.Thread(target=watch, name="roadbed-follow-sweep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _best(job: TuneJob, sweep: Sweep, trials: Mapping[int, TrialRecord]) -> TrialRecord | None:
    """The trial, or the spec as it stands, with the best score and a checkpoint to show for it."""
    scored = []
    for trial in trials.values():
        best = sweep.run_of(trial).pointer().best
        if best is None or not trial.curve or trial.state == "failed":
            continue
        reached = max(value for _, value in trial.curve)
        # Of a trial that was stopped the last evaluation may have no checkpoint; those are scored by mIoU.
        score = best.score if job.tune.metric == "miou" and best.score is not None else reached
        scored.append((score, -trial.number, trial))
    return max(scored, default=(0.0, 0, None))[2]


def _why_none(trials: Mapping[int, TrialRecord]) -> str:
    """Why no trial has weights to show: the commonest reason, in a line."""
    reasons = Counter(trial.reason.partition("\n")[0] for trial in trials.values() if trial.state == "failed")
    if not reasons:
        return "no trial was scored; let it run on, or lower train.eval_every"
    reason, number = reasons.most_common(1)[0]
    which = f"all {len(trials)} trials failed" if number == len(trials) else f"{number} of {len(trials)} trials failed"
    return f"{which}: {reason}"


def _register(job: TuneJob, sweep: Sweep, trial: TrialRecord, dataset: Dataset) -> Version:
    """The version made of a trial's best checkpoint; its card says which sweep it won."""
    run = sweep.run_of(trial)
    spec = job.trial(run.name, trial.values_now)
    lineage = {"sweep": {"name": job.name, "uri": sweep.run.uri, "trial": trial.number, "values": trial.values_now}}
    assert job.output.register_as is not None
    return publish_best(spec, run, dataset, Registry(sweep.root), name=job.output.register_as, lineage=lineage)[0]
