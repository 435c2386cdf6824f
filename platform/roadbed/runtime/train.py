"""A training job on Ray Train V2: the driver that checks, starts and follows it, and what each worker runs.

Ray places the workers and connects them; runs, checkpoints and versions are ours and lie in the store. A lost worker
group is started again by Ray and then finds its way by the run's pointer, exactly as a run that somebody starts again
by its name.
"""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from roadbed import errors
from roadbed.data.dataset import Dataset
from roadbed.errors import RoadbedError, StoppedError, TrainingError, UsageError
from roadbed.registry import Registry, Version, looks_like_reference
from roadbed.runs import Run, RunStatus
from roadbed.runtime.local.variables import variables_set
from roadbed.runtime.session import last_line, own_signals, ray_session, worker_environment
from roadbed.spec import TrainJob, WorkersSpec, dump_job, parse_job
from roadbed.spec.load import differing_keys
from roadbed.storage import open_store
from roadbed.training.publish import publish_best

FOLLOW_INTERVAL_S = 1.0
ELASTIC_START_TIMEOUT_S = "25"
STOP_GRACE_S = 20.0  # Of the 30 s that Kubernetes gives a pod.
STOP_POLL_S = 0.25
MAY_CHANGE = ("workers", "output")


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
    notify: Callable[[str], None] = lambda _: None,
    follow: Callable[[RunStatus], None] = lambda _: None,
) -> Trained:
    """Bring a run to its end, from wherever it stands, and publish its best checkpoint if the spec says so.

    A run that is finished is not trained again. `is_new` of the result says whether anything was trained. Raises
    UsageError or RoadbedError with the reason.
    """
    root = open_store(job.output.store)
    dataset = Dataset.open(job.data.uri)
    for split in (job.data.train_split, job.data.eval_split):
        if not dataset.split(split).class_pixels.sum():
            raise UsageError(f"{dataset.uri}: split {split} has no labelled pixel; prepare it with samples and masks")
    run = Run(root, job.name)
    job = _with_fixed_weights(job, run, Registry(root))
    begin_run(job, run)
    status = run.status()
    is_new = status is None or status.state != "finished"
    if is_new:
        if not takeover:
            run.wait_until_free(notify=notify)
        if status is not None:
            latest = run.pointer().latest
            notify(f"run {job.name} goes on from step {latest.step if latest else 0} (it was {status.state})")
        notify(f"starting Ray Train with workers.num_workers={job.workers.num_workers} (some 20 s)")
        train(job, run, follow=follow)
        status = run.status()
    assert status is not None
    version = None
    if job.output.register_as:
        version, _ = publish_best(job, run, dataset, Registry(root), name=job.output.register_as)
    return Trained(run, status, version, is_new)


def _with_fixed_weights(job: TrainJob, run: Run, registry: Registry) -> TrainJob:
    """The job with the version that an alias names now, or named when the run began, and with the path of a file whole.

    Workers and later starts must all mean the same weights, wherever they run and whenever the alias moves.
    """
    text = job.model.weights
    if looks_like_reference(text) and "@" in text:
        name = text.partition("@")[0]
        there = run.spec()
        began_with = parse_job(there, origin=f"{run.uri}/spec.yaml").model.weights if there else ""
        if began_with.startswith(f"{name}:") and run.pointer().latest is not None:
            text = began_with
        else:
            version = registry.resolve(text)
            text = f"{version.name}:{version.number}"
    elif Path(text).is_file():
        text = str(Path(text).absolute())
    return job.model_copy(update={"model": job.model.model_copy(update={"weights": text})})


def begin_run(job: TrainJob, run: Run) -> None:
    """Write the run's spec, or check that the run that is there is of the same spec but for `MAY_CHANGE`.

    A run that ended before its first checkpoint takes the new spec: nothing of the old one is lost. Raises UsageError
    that names the differing keys.
    """
    there = parse_job(run.begin(dump_job(job)), origin=f"{run.uri}/spec.yaml")
    keys = differing_keys(there, job, ignore=MAY_CHANGE)
    status = run.status()
    if keys and run.pointer().latest is None and (status is None or status.state != "running"):
        run.replace_spec(dump_job(job))
    elif keys:
        raise UsageError(
            f"run {job.name} was begun with another {', '.join(keys)} ({run.uri}/spec.yaml); "
            f"to go on with it use that spec, to train this one give it another name"
        )


def train(job: TrainJob, run: Run, *, follow: Callable[[RunStatus], None] = lambda _: None) -> None:
    """Train on Ray until the run is finished. `follow` is told the run's status about once a second.

    Raises RoadbedError with the reason if the run fails, UsageError if the cluster cannot hold the workers.
    """
    workers = job.workers
    start_id = secrets.token_hex(8)
    with (
        variables_set(_settings_of_ray(workers)),
        ray_session(job.workers),
        tempfile.TemporaryDirectory(prefix="roadbed-train-") as scratch,
        _following(run, follow),
    ):
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
        from ray.train.v2.api.exceptions import TrainingFailedError

        trainer = TorchTrainer(
            train_worker,
            train_loop_config={"spec": dump_job(job), "start_id": start_id},
            torch_config=TorchConfig(backend="nccl" if workers.gpus_per_worker else "gloo"),
            scaling_config=ScalingConfig(**_scaling(workers)),
            run_config=RunConfig(
                name=job.name,
                storage_path=scratch,
                failure_config=FailureConfig(
                    max_failures=workers.max_failures, controller_failure_limit=_most_false_starts(workers)
                ),
                worker_runtime_env={"env_vars": worker_environment()},
            ),
        )
        try:
            with own_signals():
                outcome = trainer.fit().return_value
        except (KeyboardInterrupt, SystemExit) as error:
            try:
                if isinstance(error, SystemExit) and error.code:  # SIGTERM; on Ctrl-C Ray has ended the workers by now.
                    _save_and_stop(run, start_id)
            finally:
                _end(run, start_id, "stopped by its user", state="stopped")
            raise StoppedError(
                f"run {job.name} was stopped; start it again to go on from its last checkpoint"
            ) from None
        except (TrainingFailedError, ray.exceptions.RayError) as error:
            reason = f"the workers were lost or broke: {last_line(error)}"
            _end(run, start_id, reason, state="failed")
            raise TrainingError(
                f"run {job.name}: {reason}. Its log: `roadbed runs logs {job.name}`; start it again to go on from "
                f"its last checkpoint"
            ) from error
    if outcome["state"] != "finished":
        raise getattr(errors, outcome["error"])(outcome["reason"])


def _scaling(workers: WorkersSpec) -> dict[str, Any]:
    """How many workers Ray Train starts, and where: the arguments of its ScalingConfig."""
    number = workers.num_workers
    return {
        "num_workers": (number.min, number.max) if number.is_elastic else number.min,
        "use_gpu": workers.gpus_per_worker > 0,
        "resources_per_worker": {"CPU": workers.cpus_per_worker, "GPU": workers.gpus_per_worker},
        "elastic_resize_monitor_interval_s": workers.resize_s,
    }


def _settings_of_ray(workers: WorkersSpec) -> dict[str, str | None]:
    """Environment variables that Ray Train's controller takes over from the driver, unless the user has set them.

    What Ray Train knows of the cluster's nodes is up to 20 s old, so a group may wait for a place on one that is gone;
    Ray waits 60 s for it by itself.
    """
    name = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
    return {name: ELASTIC_START_TIMEOUT_S} if workers.num_workers.is_elastic and name not in os.environ else {}


def _most_false_starts(workers: WorkersSpec) -> int:
    """How often a group may find no place: with a range of workers, each node that goes may cost one."""
    return 100 if workers.num_workers.is_elastic else 3


def _save_and_stop(run: Run, start_id: str) -> None:
    """Let the workers save what they did and end by themselves, within the time that a pod has after its SIGTERM."""
    attempts = run.attempts()
    if not attempts or attempts[-1][1].get("start_id") != start_id or not run.ask_to_stop(attempt=attempts[-1][0]):
        return
    deadline = time.monotonic() + STOP_GRACE_S
    while time.monotonic() < deadline:
        status = run.status()
        if status is None or status.attempt != attempts[-1][0] or status.state != "running":
            return
        time.sleep(STOP_POLL_S)


def _end(run: Run, start_id: str, reason: str, *, state: Literal["failed", "stopped"]) -> None:
    """End the newest attempt in the store, if it is of this start and says that it runs."""
    attempts = run.attempts()
    if attempts and attempts[-1][1].get("start_id") == start_id:
        run.fail(reason, attempt=attempts[-1][0], state=state)


def train_worker(config: dict[str, Any]) -> dict[str, Any]:
    """What Ray runs in each worker process. Returns the attempt's outcome, the same on every worker."""
    import ray.train
    import ray.train.torch
    import torch

    from roadbed.runtime.metrics import RayMetrics
    from roadbed.runtime.preemption import preemption_notice
    from roadbed.training.attempt import run_attempt
    from roadbed.training.group import Group

    context = ray.train.get_context()
    job = parse_job(config["spec"], origin="the job's spec")
    torch.set_num_threads(job.workers.cpus_per_worker)
    logging.basicConfig(level=logging.WARNING)
    group = Group(
        rank=context.get_world_rank(), num_workers=context.get_world_size(), device=ray.train.torch.get_device()
    )
    outcome = run_attempt(
        job,
        group,
        start_id=config["start_id"],
        sink=RayMetrics(job.name) if group.is_first else None,
        num_threads=job.workers.cpus_per_worker,
        on_epoch=ray.train.report,
        notice=preemption_notice,
    )
    return asdict(outcome)


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
