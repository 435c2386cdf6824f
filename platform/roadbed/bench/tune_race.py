"""`roadbed bench tune`: one sweep three times - as its spec has it, without a scheduler, and without Ray at all.

All three train the same trials, for what a searcher draws at random hangs on its seed alone. The first two say what the
scheduler saves, the last two what Ray Tune and Ray Train cost. Runs lie below a prefix of their own while it lasts.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

from roadbed.errors import RoadbedError, UsageError
from roadbed.runtime.tune import complete_sweep, num_concurrent
from roadbed.spec import SchedulerSpec, TuneJob, dump_job, parse_job
from roadbed.storage import open_store
from roadbed.tuning.study import Study

Name = Literal["scheduled", "whole", "bare"]
NAMES: tuple[Name, ...] = ("scheduled", "whole", "bare")


@dataclass(frozen=True)
class Pass:
    """One way through the trials: seconds from the call to its end, epochs trained, and the best score (0 to 1)."""

    name: Name
    wall_s: float
    epochs: float
    best: float


@dataclass(frozen=True)
class Figures:
    """What the benchmark is for. `trials` trials, of which `at_once` were trained at a time."""

    trials: int
    at_once: int
    passes: tuple[Pass, ...]

    @property
    def epoch_share(self) -> float:
        """Epochs with the scheduler over those without."""
        return self._of("scheduled").epochs / self._of("whole").epochs

    @property
    def overhead(self) -> float:
        """Seconds on Ray over those without, for the same epochs."""
        return self._of("whole").wall_s / self._of("bare").wall_s

    @property
    def overhead_s(self) -> float:
        """Seconds that a trial holds its place for longer on Ray, the start of Ray shared among all."""
        return (self._of("whole").wall_s - self._of("bare").wall_s) * self.at_once / self.trials

    def to_json(self) -> dict[str, Any]:
        """All of it for JSON."""
        derived = {name: getattr(self, name) for name in ("epoch_share", "overhead", "overhead_s")}
        return asdict(self) | derived

    def _of(self, name: Name) -> Pass:
        return next(one for one in self.passes if one.name == name)


def race(job: TuneJob, *, tell: Callable[[str], None]) -> Figures:
    """Sweep three times. Raises UsageError for a sweep that cannot be compared so, RoadbedError if a trial fails."""
    job = _comparable(job)
    at_once = min(job.tune.trials, num_concurrent(job.workers, {"CPU": os.cpu_count() or 1}))
    at_once = min(at_once, job.tune.max_concurrent or at_once)
    try:
        passes = []
        for name in NAMES:
            passes.append(_bare(job, at_once) if name == "bare" else _sweep(job, name))
            tell(f"{name}: {passes[-1].wall_s:.0f} s, {passes[-1].epochs:g} epochs, best {100 * passes[-1].best:.1f} %")
    finally:
        store = open_store(job.output.store)
        for found in list(store.list("")):
            store.delete(found.key)
    return Figures(job.tune.trials, at_once, tuple(passes))


def _comparable(job: TuneJob) -> TuneJob:
    """The sweep with values that do not hang on scores, without what is no trial, in a place of its own."""
    workers = job.workers
    if workers.num_workers.max > 1 or workers.gpus_per_worker:
        raise UsageError(
            f"workers: the benchmark trains with one worker on CPUs, found num_workers {workers.num_workers} and "
            f"gpus_per_worker {workers.gpus_per_worker}; set them to 1 and 0"
        )
    if job.tune.scheduler.kind not in ("asha", "median"):
        raise UsageError(f"tune.scheduler.kind: {job.tune.scheduler.kind} ends no trial early; take asha or median")
    tune = job.tune.model_copy(update={"baseline": False, "hours": None, "gpu_hours": None, "searcher": "random"})
    place = f"{job.output.store}/bench/tune-{os.getpid()}"
    output = job.output.model_copy(update={"store": place, "register_as": None})
    return job.model_copy(update={"tune": tune, "output": output})


def _sweep(job: TuneJob, name: Name) -> Pass:
    scheduler = job.tune.scheduler if name == "scheduled" else SchedulerSpec(kind="none")
    tune = job.tune.model_copy(update={"scheduler": scheduler})
    began = time.perf_counter()
    result = complete_sweep(job.model_copy(update={"name": name, "tune": tune})).result
    failed = [f"{trial.run}: {trial.reason}" for trial in result.trials if trial.state == "failed"]
    if failed:
        raise RoadbedError(f"{len(failed)} of {job.tune.trials} trials failed, such as {failed[0]}")
    assert result.winner is not None
    return Pass(name, time.perf_counter() - began, result.epochs, result.score(result.winner) or 0.0)


def _bare(job: TuneJob, at_once: int) -> Pass:
    """The same trials, as many at a time, in processes that live as long as all of it and know nothing of Ray."""
    study = Study(job.tune)
    specs = [dump_job(job.trial(f"bare-{number}", study.ask(number))) for number in range(job.tune.trials)]
    began = time.perf_counter()
    with ProcessPoolExecutor(at_once, mp_context=multiprocessing.get_context("spawn")) as pool:
        scores = list(pool.map(_train, specs))
    return Pass("bare", time.perf_counter() - began, float(job.train.epochs * len(specs)), max(scores))


def _train(spec: str) -> float:
    """Train one trial to its end in this process. Its best score; raises RoadbedError if it fails."""
    import torch

    from roadbed.training.attempt import run_attempt
    from roadbed.training.group import Group
    from roadbed.training.heap import keep_freed_memory

    keep_freed_memory()
    logging.getLogger("roadbed").setLevel(logging.WARNING)
    job = parse_job(spec, origin="the benchmark's trial")
    torch.set_num_threads(job.workers.cpus_per_worker)
    scores: list[float] = []
    outcome = run_attempt(
        job, Group(), num_threads=job.workers.cpus_per_worker, on_epoch=lambda told: scores.append(told["miou"])
    )
    if outcome.state != "finished":
        raise RoadbedError(f"{job.name} failed: {outcome.reason}")
    return max(scores)
