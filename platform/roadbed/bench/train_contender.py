"""One process of one contender of `roadbed bench train`: `python -m roadbed.bench.train_contender SETTINGS.json RANK`.

It makes itself ready and says so, then waits on stdin. Each "go" is a block of steps, after which it prints the seconds
that they took; "phases" is a block whose parts are timed (train_phases.py). The end of stdin is the end.

- `bare`: the model step on one batch in memory: forward, loss, backward, optimiser. No loader, no sums over workers, no
  average of the weights, no journal. Of several workers each does so for itself, on its share.
- `roadbed`: the training loop as a job runs it, with all that it does for data, safety and records, but without Ray,
  which has no part in a step.
- `reference`: torchvision's recipe (train_reference.py).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from roadbed.bench.train_phases import Phases
from roadbed.data.cache import ShardCache
from roadbed.data.dataset import Dataset
from roadbed.data.loader import Loader
from roadbed.models import SegmentationModel, build_model
from roadbed.runs import Heartbeat, Run
from roadbed.spec import TrainJob, dump_job, parse_job
from roadbed.storage import open_store
from roadbed.telemetry import NoMetrics
from roadbed.training.group import Group
from roadbed.training.heap import keep_freed_memory
from roadbed.training.loop import Training
from roadbed.training.loss import Loss, class_weights
from roadbed.training.optimizer import AveragedModel, build_optimizer
from roadbed.training.precision import autocast, choose_precision

READY = "ready"
WARM_UP_STEPS = 2
ENDLESS_EPOCHS = 1_000_000


@dataclass(frozen=True)
class Settings:
    """What a contender is asked to do. `files` and `scratch` are folders; `scratch` is its own and empty."""

    name: str
    dataset_uri: str
    store_uri: str
    files: str
    scratch: str
    crop_px: tuple[int, int]
    global_batch: int
    num_workers: int
    num_threads: int
    num_steps: int
    precision: str

    @property
    def job(self) -> TrainJob:
        """A job that does not end, with the defaults of a spec for all that is not asked for."""
        text = json.dumps(
            {
                "kind": "train",
                "name": f"bench-{self.num_workers}",
                "data": {"uri": self.dataset_uri, "crop_px": self.crop_px, "eval_split": "train"},
                "model": {"weights": "none"},
                "train": {
                    "epochs": ENDLESS_EPOCHS,
                    "eval_every": ENDLESS_EPOCHS,
                    "global_batch": self.global_batch,
                    "micro_batch": self.global_batch,
                    "precision": self.precision,
                },
                "workers": {"num_workers": self.num_workers, "cpus_per_worker": self.num_threads},
                "output": {"store": self.store_uri},
            }
        )
        return parse_job(text, origin="the benchmark's job")


class Turns:
    """The turns that the race gives, taken at every step: `step()` waits for the first, and then lets N steps pass."""

    def __init__(
        self,
        num_steps: int,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        averaged: AveragedModel | None = None,
    ) -> None:
        self.phases: Phases | None = None
        self._num_steps = num_steps
        self._watched = (model, optimizer, averaged)
        self._done = -WARM_UP_STEPS
        self._began = 0.0

    def step(self) -> None:
        """A step is done. Raises Over where the race is."""
        if self._done < 0 or self._done % self._num_steps:
            self._done += 1
            return
        if self._done:
            self._tell()
        else:
            print(READY, flush=True)  # noqa: T201
        word = sys.stdin.readline().strip()
        if not word:
            raise Over
        self._done += 1
        self._began = time.perf_counter()
        if word == "phases":
            self.phases = Phases(*self._watched)

    def _tell(self) -> None:
        seconds = time.perf_counter() - self._began
        line = {"seconds": seconds}
        if self.phases is not None:
            line |= self.phases.end()
            self.phases = None
        print(json.dumps(line), flush=True)  # noqa: T201


class Over(BaseException):
    """The race is over: nothing else may catch this."""


def main(path: str, rank: int) -> None:
    """Run the contender that the settings file at `path` names."""
    settings = Settings(**json.loads(Path(path).read_text(encoding="utf-8")))
    torch.set_num_threads(settings.num_threads)
    contend = CONTENDERS[settings.name]
    with ExitStack() as stack:
        if settings.num_workers > 1 and settings.name != "bare":
            dist.init_process_group(
                "gloo", init_method=f"file://{settings.scratch}/group", rank=rank, world_size=settings.num_workers
            )
            stack.callback(dist.destroy_process_group)
        try:
            contend(settings, rank)
        except Over:
            return


def _bare(settings: Settings, rank: int) -> None:
    keep_freed_memory()
    job, dataset = settings.job, Dataset.open(settings.dataset_uri)
    torch.manual_seed(job.train.seed)
    model = _model(job, dataset)
    optimizer = build_optimizer(model, job.train)
    loss = _loss(job, dataset)
    images_BHW3, masks_BHW = next(_own_batches(settings, dataset))
    images_B3HW = torch.from_numpy(images_BHW3).permute(0, 3, 1, 2)
    divisors = loss.divisors(masks_BHW)
    precision, _ = choose_precision(job.train.precision, model, images_B3HW)
    turns = Turns(settings.num_steps, model, optimizer)
    while True:
        with autocast(images_B3HW.device, precision):
            logits_BKHW = model(images_B3HW)
        loss(logits_BKHW, masks_BHW, divisors).backward()  # type: ignore[no-untyped-call]
        if turns.phases is not None:
            turns.phases.mark("loss and backward")
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        turns.step()


def _own_batches(settings: Settings, dataset: Dataset) -> Iterator[tuple[Any, torch.Tensor]]:
    """Batches as the loop gets them, one worker's share."""
    from roadbed.data.augment import Augmenter, training_transforms

    job = settings.job
    share = settings.global_batch // settings.num_workers
    digest, split = dataset.digest, dataset.split("train")
    with Loader(split, digest=digest, spec=job.data, rank=0, num_ranks=1, num_threads=1) as loader:
        augment = Augmenter(training_transforms(job.data))
        for batch in loader.training_batches(augment, epoch=0, first_batch=0, seed=0, global_batch=share):
            yield batch.images_BHW3, torch.from_numpy(batch.masks_BHW)


class _StepSink(NoMetrics):
    """Tells the turns of every step that the journal records, in the middle of the next one, always at one place."""

    turns: Turns | None = None

    def set(self, name: str, value: float, *labels: str) -> None:
        """Any gauge; that of steps comes once with each."""
        super().set(name, value, *labels)
        if name == "roadbed_train_step" and self.turns is not None:
            if self.turns.phases is not None:
                self.turns.phases.mark("loss and backward")
            self.turns.step()

    def add(self, name: str, value: float, *labels: str) -> None:
        """Any counter."""
        super().add(name, value, *labels)
        if (
            (name, labels) == ("roadbed_train_phase_seconds", ("data",))
            and self.turns is not None
            and self.turns.phases is not None
        ):
            self.turns.phases.waited(value)


def _roadbed(settings: Settings, rank: int) -> None:
    keep_freed_memory()
    job, sink = settings.job, _StepSink()
    dataset = Dataset.open(settings.dataset_uri)
    group = Group(rank=rank, num_workers=settings.num_workers)
    cache = ShardCache(Path(settings.scratch) / "cache", max_bytes=job.data.cache_mb * 1_000_000)
    with ExitStack() as stack:
        attempt, is_fenced = None, (lambda: False)
        if group.is_first:
            run = Run(open_store(job.output.store), job.name)
            run.begin(dump_job(job))
            attempt = run.claim(details={})
            heartbeat = stack.enter_context(Heartbeat(attempt, lambda: (0, {})))
            is_fenced = heartbeat.fenced.is_set
        training = Training(
            job,
            dataset,
            group,
            attempt=attempt,
            sink=sink,
            num_threads=settings.num_threads,
            cache=cache,
            is_fenced=is_fenced,
        )
        sink.turns = Turns(
            settings.num_steps, training.learner.model, training.learner.optimizer, training.learner.averaged
        )
        training.run()


def _reference(settings: Settings, rank: int) -> None:
    from roadbed.bench.train_reference import train

    train(settings, rank, lambda model, optimizer: Turns(settings.num_steps, model, optimizer))


def _model(job: TrainJob, dataset: Dataset) -> SegmentationModel:
    return build_model(
        job.model,
        num_classes=dataset.label_space.num_classes,
        channel_mean=dataset.channel_mean,
        channel_std=dataset.channel_std,
    )


def _loss(job: TrainJob, dataset: Dataset) -> Loss:
    weights_K = class_weights(dataset.split("train").class_pixels, balance=job.loss.class_balance)
    return Loss(job.loss, weights_K, ignore_id=dataset.label_space.ignore_id)


CONTENDERS: dict[str, Callable[[Settings, int], None]] = {"bare": _bare, "roadbed": _roadbed, "reference": _reference}


def write_settings(settings: Settings, path: Path) -> None:
    """The file that `main` reads."""
    path.write_text(json.dumps(asdict(settings)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
