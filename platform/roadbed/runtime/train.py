"""A training job on Ray Train V2: the driver that checks, starts, follows and judges it.

Ray places the workers and connects them; runs, checkpoints and versions are ours and lie in the store. A worker group
that failed is judged here and perhaps started again; it finds its way by the run's pointer, exactly as a run that
somebody starts again by its name.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from roadbed.data.dataset import Dataset
from roadbed.errors import RoadbedError, StoppedError, UsageError
from roadbed.registry import Registry, Version, looks_like_reference
from roadbed.runs import LIVE, Run, RunStatus
from roadbed.runtime.failures import Failure, sort_exception, sort_outcome
from roadbed.runtime.judgement import Start, last_words
from roadbed.runtime.local.variables import variables_set
from roadbed.runtime.session import own_signals, ray_session
from roadbed.runtime.trainer import build_trainer, settings_of_ray
from roadbed.spec import DataSpec, TrainJob, dump_job, parse_job
from roadbed.spec.load import differing_keys
from roadbed.storage import open_store
from roadbed.training.publish import publish_best

if TYPE_CHECKING:
    from ray.train import UserCallback

FOLLOW_INTERVAL_S = 1.0
# What is not part of what a run learns, or is what a run that failed is told to change.
MAY_CHANGE = (
    "workers",
    "output",
    "cluster",
    "train.explode_factor",
    "data.memory_mb",
    "data.cache_mb",
    "data.prefetch_batches",
    "data.on_damaged",
)


@dataclass(frozen=True)
class Trained:
    """What came of a training job."""

    run: Run
    status: RunStatus
    version: Version | None
    is_new: bool


def complete(
    job: TrainJob,
    *,
    takeover: bool = False,
    wait_s: float = 0.0,
    notify: Callable[[str], None] = lambda _: None,
    follow: Callable[[RunStatus], None] = lambda _: None,
) -> Trained:
    """Bring a run to its end, from wherever it stands, and publish its best checkpoint if the spec says so.

    A run that is finished is not trained again; one that somebody trains is waited for, for `wait_s`. `is_new` of the
    result says whether anything was trained. Raises UsageError or RoadbedError with the reason.
    """
    root = open_store(job.output.store)
    dataset = labelled_dataset(job.data)
    run = Run(root, job.name)
    job = with_fixed_weights(job, run, Registry(root))
    begin_run(job, run)
    status = run.status()
    is_new = status is None or status.state != "finished"
    if is_new:
        if not takeover:
            run.wait_until_free(wait_s=wait_s, notify=notify)
        if status is not None:
            latest = run.pointer().latest
            notify(f"run {job.name} goes on from step {latest.step if latest else 0} (it was {status.state})")
        notify(f"starting Ray Train with workers.num_workers={job.workers.num_workers} (some 20 s)")
        train(job, run, notify=notify, follow=follow)
        status = run.status()
    assert status is not None
    version = None
    if job.output.register_as:
        version, _ = publish_best(job, run, dataset, Registry(root), name=job.output.register_as)
    return Trained(run, status, version, is_new)


def labelled_dataset(data: DataSpec) -> Dataset:
    """The dataset to train and score on. Raises UsageError if one of its two splits has no labels."""
    dataset = Dataset.open(data.uri)
    for split in (data.train_split, data.eval_split):
        if not dataset.split(split).class_pixels.sum():
            raise UsageError(f"{dataset.uri}: split {split} has no labelled pixel; prepare it with samples and masks")
    return dataset


def with_fixed_weights(job: TrainJob, run: Run, registry: Registry) -> TrainJob:
    """The job with the version that an alias names now, or named when the run began, and with the path of a file whole.

    Workers and later starts must all mean the same weights, wherever they run and whenever the alias moves.
    """
    there = run.spec() if run.pointer().latest is not None else None
    began_with = parse_job(there, origin=f"{run.uri}/spec.yaml").model.weights if there else ""
    text = fixed_weights(job.model.weights, began_with, registry)
    return job.model_copy(update={"model": job.model.model_copy(update={"weights": text})})


def fixed_weights(text: str, began_with: str, registry: Registry) -> str:
    """`model.weights` with a version in place of an alias, that of `began_with` if it is of the same name."""
    if looks_like_reference(text) and "@" in text:
        name = text.partition("@")[0]
        if began_with.startswith(f"{name}:"):
            return began_with
        version = registry.resolve(text)
        return f"{version.name}:{version.number}"
    return str(Path(text).absolute()) if Path(text).is_file() else text


def begin_run(job: TrainJob, run: Run) -> None:
    """Write the run's spec, or check that the run that is there is of the same spec but for `MAY_CHANGE`.

    A run that ended before its first checkpoint takes the new spec: nothing of the old one is lost. Raises UsageError
    that names the differing keys.
    """
    there = parse_job(run.begin(dump_job(job)), origin=f"{run.uri}/spec.yaml")
    keys = differing_keys(there, job, ignore=MAY_CHANGE)
    status = run.status()
    if keys and run.pointer().latest is None and (status is None or status.state not in LIVE):
        run.replace_spec(dump_job(job))
    elif keys:
        raise UsageError(
            f"run {job.name} was begun with another {', '.join(keys)} ({run.uri}/spec.yaml); "
            f"to go on with it use that spec, to train this one give it another name"
        )


def train(
    job: TrainJob,
    run: Run,
    *,
    notify: Callable[[str], None] = lambda _: None,
    follow: Callable[[RunStatus], None] = lambda _: None,
) -> None:
    """Train on Ray until the run is finished, again and again where a failure may pass (`workers.retries`).

    `follow` is told the run's status about once a second, `notify` every failure and what follows from it. Raises
    RoadbedError with the reason if the run fails, UsageError if the cluster cannot hold the workers.
    """
    with ray_session(job.workers), _following(run, follow):
        train_in_session(job, run, notify=notify)


def train_in_session(
    job: TrainJob,
    run: Run,
    *,
    notify: Callable[[str], None] = lambda _: None,
    callbacks: Sequence[UserCallback] = (),
) -> None:
    """As `train`, where this process is connected to a Ray that can hold the workers; `callbacks` are Ray Train's."""
    from roadbed.runtime.metrics import RayMetrics

    sink = RayMetrics(job.name)
    with variables_set(settings_of_ray(job.workers)):
        start = Start(job, run, start_id=secrets.token_hex(8))
        try:
            while (failure := _try(job, start, callbacks)) is not None:
                sink.add("roadbed_train_failures", 1, failure.cause)
                decision = start.judge(failure)
                reason = failure.reason.removeprefix(f"run {job.name}: ")
                notify(f"run {job.name}: {failure.cause}: {reason}; {decision.verdict}")
                if decision.pause_s is None:
                    raise failure.error(last_words(job, failure, decision)) from failure.origin
                time.sleep(decision.pause_s)
        except (KeyboardInterrupt, SystemExit) as error:
            # On Ctrl-C Ray has ended the workers by now; SIGTERM leaves them time to save what they did.
            start.stop(may_save=isinstance(error, SystemExit) and bool(error.code))
            raise StoppedError(
                f"run {job.name} was stopped; start it again to go on from its last checkpoint"
            ) from None


def _try(job: TrainJob, start: Start, callbacks: Sequence[UserCallback]) -> Failure | None:
    """One worker group, from its beginning to its end. Why it failed, None if the run is finished."""
    from ray.exceptions import RayError
    from ray.train.v2.api.exceptions import TrainingFailedError

    with tempfile.TemporaryDirectory(prefix="roadbed-train-") as scratch:
        trainer = build_trainer(job, start.start_id, scratch, callbacks=callbacks)
        try:
            with own_signals():
                outcome = trainer.fit().return_value
        except (TrainingFailedError, RayError) as error:
            return sort_exception(error, verdict=start.verdict())
    if outcome["state"] == "stopped":
        raise StoppedError(outcome["reason"])
    return None if outcome["state"] == "finished" else sort_outcome(outcome)


@contextmanager
def _following(run: Run, follow: Callable[[RunStatus], None]) -> Iterator[None]:
    """While open, a thread reads the run's status and tells that of attempts that begin from now on.

    A store that does not answer is asked again.
    """
    done = threading.Event()
    earlier = run.status()

    def watch() -> None:
        while not done.wait(FOLLOW_INTERVAL_S):
            try:
                status = run.status()
            except RoadbedError:
                continue
            if status is not None and (earlier is None or status.attempt > earlier.attempt):
                follow(status)

    thread = threading.Thread(target=watch, name="roadbed-follow", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
