"""When an attempt's checkpoints are taken, and which of them are written: those whose weights were seen to be sound.

The loss of a step is that of the weights before it: what the step made of them shows in the next one's. So a checkpoint
is held until a later step's loss is sound, and none is taken while the loss may be exploding.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from roadbed.runs import Attempt
from roadbed.spec import TrainJob
from roadbed.training.checkpoint import CheckpointWriter
from roadbed.training.group import Group
from roadbed.training.journal import Journal
from roadbed.training.learner import Learner
from roadbed.training.settlement import Settlement

log = logging.getLogger(__name__)


class Saving:
    """The checkpoints of one attempt. Every worker calls the same; the first, which has the `attempt`, writes.

    Each method raises, on every worker, the FencedError, DivergedError or StoreError that the writer met.
    """

    def __init__(
        self,
        job: TrainJob,
        group: Group,
        learner: Learner,
        journal: Journal,
        settlement: Settlement,
        *,
        batches_per_epoch: int,
        attempt: Attempt | None,
    ) -> None:
        self.writer = CheckpointWriter(attempt, keep_last=job.output.keep_last) if attempt else None
        self._epochs, self._batches_per_epoch = job.train.epochs, batches_per_epoch
        self._group, self._learner, self._journal, self._settlement = group, learner, journal, settlement
        self._held_step: int | None = None

    def settle(self) -> None:
        """Judge the step before, whose loss is known by now; a sound one lets go the checkpoint of an earlier step."""
        sound = self._settlement.settle()
        if sound is not None and self._held_step is not None and self._held_step < sound:
            self.release()

    def take(self, *, score: float | None = None) -> None:
        """Take a checkpoint, and hold it; with the `score` of the weights, if they have just been evaluated."""
        position = self._learner.position
        if score is None and self._held_step == position.step:
            return  # What is held of this step has its score.
        self._learner.agree_on_statistics()
        if self._settlement.losses.num_suspicious and position.epoch < self._epochs:
            log.warning("checkpoint withheld: step=%d reason=its loss may be exploding", position.step)
            return
        self._held_step = position.step
        if self.writer is None:
            return
        with self._group.watch.counted_as("checkpoint"):
            checkpoint = self._learner.checkpoint(
                sound_losses=self._settlement.losses.sound,
                is_unscored=position.batch == self._batches_per_epoch,
                skipped_samples=self._journal.num_skipped,
                notices=self._journal.num_notices,
            )
        self.writer.hold(checkpoint, score=score)

    def take_now(self) -> bool:
        """Take a checkpoint and have it written without the word of a later step: there may be none.

        It takes the place of an older one that is held, for time is short. Whether it was taken: not while the loss may
        be exploding.
        """
        step = self._learner.position.step
        held, self._held_step = self._held_step, None
        if held == step:
            self._held_step = held
        self.settle()
        self.take()
        if self._held_step == step:
            self.release()
            return True
        self._held_step = held
        return False

    def take_whole(self) -> bool:
        """As `take_now`, and wait until it lies in the store; whether it does, the same on every worker."""
        is_whole = self.take_now()
        with self._writing():
            if self.writer is not None:
                is_whole = self.writer.wait() and is_whole
        return self._group.sum([not is_whole]) == [0]

    def let_go(self) -> None:
        """The run ends for a reason that is none of its weights': what is held is written, unless they may explode."""
        self.settle()
        if self._held_step is not None and not self._settlement.losses.num_suspicious:
            self.release()

    def release(self) -> None:
        """Let the checkpoint that is held be written."""
        self._held_step = None
        with self._writing():
            if self.writer is not None:
                self.writer.release()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What the writer meets within is raised on every worker; its trouble is told."""
        before = self._group.watch.phase
        self._group.watch.move("saving")
        with self._group.together():
            yield
            if self.writer is not None:
                self._journal.checkpoint(self.writer.trouble, self.writer.take_written())
        self._group.watch.move(before)

    def finish(self) -> None:
        """Wait until what was released lies in the store."""
        self._group.watch.move("saving")
        with self._group.together():
            if self.writer is not None:
                self.writer.finish()
                self._journal.checkpoint(None, self.writer.take_written())

    def close(self) -> None:
        """Let a write that has begun end, whatever its outcome."""
        if self.writer is not None:
            self.writer.close()
