"""The training loop: from a dataset and a run's last whole checkpoint to its last epoch. torch.distributed, no Ray.

Every worker of a group runs the same loop; the first alone writes. Workers agree before every step, so that an error of
one of them (a damaged shard, a newer attempt) ends all of them with the same words.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import torch

from roadbed.data.augment import Augmenter, training_transforms
from roadbed.data.cache import ShardCache
from roadbed.data.dataset import Dataset
from roadbed.data.loader import Batch, Loader
from roadbed.data.memory import ShardMemory
from roadbed.errors import FencedError, RoadbedError, StoppedError
from roadbed.inference.views import Views
from roadbed.runs import Attempt
from roadbed.scores import Scores
from roadbed.spec import TrainJob
from roadbed.telemetry import MetricSink, NoMetrics
from roadbed.training.checkpoint import Checkpoint
from roadbed.training.evaluate import evaluate
from roadbed.training.group import Group
from roadbed.training.journal import Journal
from roadbed.training.learner import Learner
from roadbed.training.loss import Divisors, Loss, class_weights
from roadbed.training.notices import Ask, Notices
from roadbed.training.saving import Saving
from roadbed.training.schedule import rate_factor
from roadbed.training.settlement import Settlement
from roadbed.training.step import GradientStep, UnsettledStep

log = logging.getLogger(__name__)


class Training:
    """One worker's part in one attempt of a run.

    `attempt` is given to the first worker alone, and `is_fenced` tells it that a newer one has taken the run;
    `start` is the checkpoint to go on from, the same on every worker. Making a Training does not wait for other
    workers; `run` does. `on_epoch` is told the metrics of every epoch, on every worker. `notice` tells of nodes that
    are about to go.

    Raises RoadbedError where spec, dataset, weights and checkpoint do not fit each other.
    """

    def __init__(
        self,
        job: TrainJob,
        dataset: Dataset,
        group: Group,
        *,
        attempt: Attempt | None = None,
        start: Checkpoint | None = None,
        sink: MetricSink | None = None,
        num_threads: int = 1,
        cache: ShardCache | None = None,
        on_epoch: Callable[[dict[str, Any]], None] = lambda _: None,
        is_fenced: Callable[[], bool] = lambda: False,
        notice: Ask | None = None,
    ) -> None:
        self.job, self.dataset, self.group = job, dataset, group
        self.learner = Learner(job, dataset, group, start=start)
        self.position = self.learner.position
        memory = ShardMemory(job.data.memory_mb * 1_000_000)
        self.train_loader = self._loader(job.data.train_split, num_threads, cache, memory)
        self.eval_loader = self._loader(job.data.eval_split, num_threads, cache, memory)
        self.batches_per_epoch = -(-self.train_loader.split.num_samples // job.train.global_batch)
        self.num_steps = job.train.epochs * self.batches_per_epoch
        weights_K = class_weights(self.train_loader.split.class_pixels, balance=job.loss.class_balance)
        self.loss = Loss(job.loss, weights_K.to(group.device), ignore_id=dataset.label_space.ignore_id)
        self.journal = Journal(attempt, sink or NoMetrics(), num_steps=self.num_steps)
        counts = {key: start.state.get(key, 0) if start else 0 for key in ("skipped_samples", "notices")}
        self.journal.resume(self.learner.scores, num_skipped=counts["skipped_samples"], num_notices=counts["notices"])
        self._settlement = Settlement(
            job,
            group,
            self.journal,
            self.train_loader.split,
            sound=start.state.get("sound_losses", []) if start else [],
        )
        self.saving = Saving(
            job,
            group,
            self.learner,
            self.journal,
            self._settlement,
            batches_per_epoch=self.batches_per_epoch,
            attempt=attempt,
        )
        self._gradients: GradientStep | None = None
        self._is_fenced = is_fenced
        self._is_asked_to_stop = attempt.asked_to_stop.is_set if attempt else lambda: False
        self._notices = Notices(notice, interval_s=job.workers.notice_s)
        self._asks_for_notice = False
        self._on_epoch = on_epoch

    def run(self) -> dict[str, Any]:
        """Train to the end of the last epoch. Returns the last scores.

        Raises, on every worker at once: FencedError when a newer attempt has taken the run, StoppedError when the run
        was asked to stop, DivergedError when the loss is no number or has exploded, DamagedError, DataError or
        StoreError from the data or the last checkpoint.
        """
        self._gradients = GradientStep(
            self.learner.model,
            self.group,
            loss=self.loss,
            ignore_id=self.dataset.label_space.ignore_id,
            micro_batch=self.job.train.micro_batch,
            largest_share=-(-self.job.train.global_batch // self.group.num_workers),
            is_synchronized=self.learner.is_synchronized,
            is_compiled=self.job.train.compile,
        )
        with ExitStack() as stack:
            stack.enter_context(self.train_loader)
            stack.enter_context(self.eval_loader)
            stack.callback(self.saving.close)
            while self.position.epoch < self.job.train.epochs:
                self._epoch()
            self.saving.release()
            self.saving.finish()
        self.journal.spent(self.group.watch.take_spent())
        return self.learner.scores

    @property
    def num_fetched(self) -> int:
        """Grows with whatever the loaders get of the dataset."""
        stats = [loader.reader.stats for loader in (self.train_loader, self.eval_loader)]
        return sum(one.bytes_fetched + one.shards_from_cache for one in stats)

    def _epoch(self) -> None:
        train, position = self.job.train, self.position
        batches = self.train_loader.training_batches(
            Augmenter(training_transforms(self.job.data)),
            epoch=position.epoch,
            first_batch=position.batch,
            seed=train.seed,
            global_batch=train.global_batch,
        )
        self.learner.model.train()
        while position.batch < self.batches_per_epoch:
            self._step(batches)
            notice = self._ask_for_notice() if self._asks_for_notice else None
            if notice is not None and not self._notices.is_heeded(notice):
                self._heed(notice)
            elif position.batch < self.batches_per_epoch and (notice is not None or self._is_checkpoint_due()):
                self.saving.settle()
                self.saving.take()
        self.saving.settle()
        if self.group.sum([self._is_asked_to_stop()]) != [0]:
            self._stop()  # an evaluation may take longer than whoever wants a stop will wait
        position.epoch, position.batch = position.epoch + 1, 0
        is_evaluated = position.epoch % train.eval_every == 0 or position.epoch == train.epochs
        self.saving.take(score=self._evaluate() if is_evaluated else None)
        progress = self.journal.progress | self.learner.scores
        told = {key: value for key, value in progress.items() if isinstance(value, int | float)}
        with self.group.watch.meeting():
            self._on_epoch(told | {"epochs_done": position.epoch, "is_evaluated": is_evaluated})

    def _ask_for_notice(self) -> str | None:
        """The notice that stands. A barrier."""
        with self.group.watch.meeting():
            return self._notices.ask()

    def _step(self, batches: Iterator[Batch]) -> None:
        began = time.perf_counter()
        if self._settlement.has_begun:  # until then all is done for the first time: phase "starting"
            self.group.watch.move("loading data", step=self.position.step + 1)
        batch = self._next(batches)
        waited_s = time.perf_counter() - began
        if self._settlement.has_begun:
            self.group.watch.move("computing")
        device = self.group.device
        masks_BHW = torch.from_numpy(batch.masks_BHW)
        is_due = self.group.is_first and self._notices.is_due()
        sums = self.group.sum([*self.loss.divisors(masks_BHW), len(batch.samples), len(batch.skipped), is_due])
        divisors, num_samples, num_skipped = Divisors(sums[0], sums[1]), int(sums[2]), int(sums[3])
        self._asks_for_notice = sums[4] > 0
        if num_skipped:
            self.journal.skipped(self.group.gather(batch.skipped), step=self.position.step + 1, epoch=batch.epoch)
        images_B3HW = torch.from_numpy(batch.images_BHW3).to(device, non_blocking=True).permute(0, 3, 1, 2)
        precision = self.learner.choose_precision(images_B3HW)
        rate = self._learning_rate()
        assert self._gradients is not None
        own_loss = self._gradients(
            images_B3HW,
            masks_BHW.to(device, non_blocking=True),
            divisors=divisors,
            precision=precision,
            seed=hash((self.job.train.seed, self.position.step, self.group.rank)) & 0x7FFFFFFF,
        )
        self.saving.settle()
        norm = self.learner.clip()
        self.learner.take_step(rate)
        elapsed_s = time.perf_counter() - began
        line = {
            "step": self.position.step,
            "epoch": batch.epoch,
            "learning_rate": rate,
            "images_per_s": round(num_samples / elapsed_s, 3),
            "data_wait_share": round(waited_s / elapsed_s, 4),
            "at": round(time.time(), 3),
        }
        self._settlement.expect(UnsettledStep(line, own_loss, batch.samples, num_samples, norm))

    def _next(self, batches: Iterator[Batch]) -> Batch:
        """The next batch, once every worker has its own; otherwise the error of whoever has none, on every worker."""
        failure: RoadbedError | None = None
        batch = None
        if self._is_fenced():
            failure = FencedError(f"run {self.job.name}: a newer attempt has taken over, so this one ends")
        else:
            try:
                batch = next(batches)
            except RoadbedError as error:
                failure = error
        is_fenced = isinstance(failure, FencedError)
        sums = self.group.sum([failure is not None, is_fenced, self._is_asked_to_stop()])
        num_failures, num_fenced, num_stopping = sums
        if num_failures:
            if not num_fenced:
                self.saving.let_go()
            self.group.raise_together(failure)
        if num_stopping:
            self._stop()
        assert batch is not None
        return batch

    def _stop(self) -> None:
        """Somebody wants the run to end here: save what was done, and end on every worker."""
        is_saved = self.saving.take_now()
        self.saving.finish()
        which = "which is saved" if is_saved else "and goes on from before it, for its loss may be exploding"
        raise StoppedError(
            f"run {self.job.name} was stopped at step {self.position.step}, {which}; start it again to go on"
        )

    def _evaluate(self) -> float:
        began, before = time.perf_counter(), self.group.watch.phase
        self.group.watch.move("evaluating", step=self.position.step)
        self.learner.agree_on_statistics()
        labels, total = self.dataset.label_space, self.eval_loader.split.num_samples
        counts_KK = evaluate(
            self.learner.evaluated_model,
            self.eval_loader,
            labels=labels,
            batch_size=self.job.train.eval_batch,
            group=self.group,
            precision=self.learner.precision or "fp32",
            views=Views(self.job.train.eval_scales, self.job.train.eval_flip),
            progress=lambda done: self._evaluated(done, total),
        )
        scores = Scores.from_counts(counts_KK, class_names=labels.class_names)
        self.learner.scores = scores.to_json()
        seconds = time.perf_counter() - began
        self.journal.evaluation(scores, step=self.position.step, epoch=self.position.epoch, seconds=seconds)
        self.group.watch.move(before)
        self.journal.spent(self.group.watch.take_spent())
        return scores.miou

    def _evaluated(self, done: int, total: int) -> None:
        self.group.watch.move()
        self.journal.evaluating(done * self.group.num_workers, total)

    def _is_checkpoint_due(self) -> bool:
        return self.position.step % self.job.output.checkpoint_steps == 0

    def _heed(self, notice: str) -> None:
        """A node is about to go: save what was done, and train on once it is whole in the store.

        If it could not be written, the notice is heeded anew when it is asked for again. Once it was, each time that
        the notice still stands begins a checkpoint in the background, for what comes after the last one is lost.
        """
        began = time.perf_counter()
        self.journal.noticed(notice, step=self.position.step, epoch=self.position.epoch)
        if self.saving.take_whole():
            self._notices.heed(notice)
            log.info("saved in time: step=%d seconds=%.2f", self.position.step, time.perf_counter() - began)

    def _learning_rate(self) -> float:
        train = self.job.train
        return train.learning_rate * rate_factor(self.position.step, train, num_steps=self.num_steps)

    def _loader(self, split: str, num_threads: int, cache: ShardCache | None, memory: ShardMemory) -> Loader:
        return Loader(
            self.dataset.split(split),
            digest=self.dataset.digest,
            spec=self.job.data,
            rank=self.group.rank,
            num_ranks=self.group.num_workers,
            num_threads=num_threads,
            cache=cache,
            memory=memory,
        )
