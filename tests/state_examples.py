"""A store with something of everything, written by the project's own code: for the tests of what reads all of it."""

from __future__ import annotations

from typing import Any

from roadbed.registry import Gates, Registry
from roadbed.runs import Attempt, CheckpointRef, Pointer, Run
from roadbed.spec import TuneJob, dump_job, parse_kind
from roadbed.storage import Store
from roadbed.tuning.sweep import LiveSweep, Sweep, trial_name
from support import Clock, blocks_dataset

SWEEP = """
kind: tune
name: streets
data: {uri: 's3://roadbed/datasets/blocks'}
workers: {num_workers: 2, gpus_per_worker: 1}
tune: {trials: 3, space: {train.learning_rate: {loguniform: [0.001, 0.1]}}}
"""


def checkpoint(attempt: Attempt, step: int, *, score: float | None = None) -> CheckpointRef:
    """The objects of a whole checkpoint of an attempt, which no pointer names yet."""
    key = f"{attempt.folder}/checkpoints/{step:08d}"
    for name in ("model.safetensors", "ema.safetensors", "state.json", "manifest.json"):
        attempt.put(f"{key}/{name}", f"{name} of step {step}".encode())
    return CheckpointRef(key, attempt.number, step, score)


def finished_run(root: Store, name: str, clock: Clock, *, miou: float, best: float) -> Run:
    """Ten steps in two attempts, scored twice."""
    run = Run(root, name, clock=clock)
    run.begin(f"kind: train\nname: {name}\n")
    first = run.claim(details={})
    first.move_pointer(Pointer(checkpoints=(checkpoint(first, 5),)))
    second = run.claim(details={"resumed_step": 5, "resumed_attempt": 1})
    ref = checkpoint(second, 10, score=best)
    second.move_pointer(Pointer(checkpoints=(ref,), best=ref))
    second.finish("finished", step=10, progress={"num_steps": 10, "miou": miou, "pixel_accuracy": 0.9})
    return run


def card(miou: float, **ious: float | None) -> dict[str, Any]:
    """What a version says of itself, as far as it matters to the registry."""
    return {
        "scores": {"miou": miou, "pixel_accuracy": 0.9, "iou_per_class": {"Road": miou, **ious}},
        "dataset": {"uri": "s3://roadbed/datasets/blocks", "digest": "00ff", "split": "val"},
    }


def begun_sweep(root: Store, clock: Clock) -> tuple[Attempt, LiveSweep]:
    """The sweep `streets` before its first trial."""
    sweep = Sweep(root, "streets")
    sweep.run.clock = clock
    sweep.run.begin(dump_job(parse_kind(TuneJob, SWEEP, origin="test")))
    attempt = sweep.run.claim(details={})
    return attempt, LiveSweep(attempt, {})


def fill(root: Store, clock: Clock) -> None:
    """Two runs of their own, a sweep with two trials, a model of three versions, a dataset."""
    finished_run(root, "town", clock, miou=0.61, best=0.64)
    clock.now += 100
    alive = Run(root, "alive", clock=clock).claim(details={})
    alive.beat(7, {"num_steps": 20})
    attempt, live = begun_sweep(root, clock)
    for number, value in enumerate((0.4, 0.6)):
        live.begin(number, {"train.learning_rate": 0.01 * (number + 1)})
        finished_run(root, trial_name("streets", number), clock, miou=value, best=value)
        clock.now += 40
        live.score(number, epoch=1, value=value)
    live.end(0, "stopped", "below the median")
    attempt.beat(1, {"trials": 3})
    registry = Registry(root, clock=clock)
    for miou in (0.5, 0.6, 0.7):
        registry.publish("road", {"weights.safetensors": b"weights"}, card(miou, Sky=0.9, **{'"Odd" \\ class': None}))
    for number in (1, 2):
        registry.promote("road", number, gates=Gates(), by="test")
    blocks_dataset(f"{root.uri}/datasets/blocks")
