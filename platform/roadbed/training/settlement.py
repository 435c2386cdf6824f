"""What becomes of a step once its loss is known, which is a step later: it is recorded, and judged.

Every worker does the same: the loss is summed over them, so all see the same number and end together if it exploded.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import NoReturn

from roadbed.data.dataset import Split
from roadbed.errors import DivergedError
from roadbed.spec import TrainJob
from roadbed.training.divergence import ADVICE, LossWatch, shortened
from roadbed.training.group import Group
from roadbed.training.journal import Journal
from roadbed.training.step import UnsettledStep

log = logging.getLogger(__name__)


class Settlement:
    """Settles the steps of one attempt, in order. `sound` are the losses that an earlier attempt was judged by."""

    def __init__(
        self, job: TrainJob, group: Group, journal: Journal, split: Split, *, sound: Sequence[float] = ()
    ) -> None:
        self.losses = LossWatch(factor=job.train.explode_factor, sound=sound)
        self._name, self._records_samples = job.name, job.output.record_samples
        self._group, self._journal, self._split = group, journal, split
        self._before: UnsettledStep | None = None
        self._next: UnsettledStep | None = None

    @property
    def has_begun(self) -> bool:
        """Whether a step was settled in this attempt."""
        return self._before is not None

    def expect(self, step: UnsettledStep) -> None:
        """A step was taken, whose loss the device may still be at."""
        self._next = step

    def settle(self) -> int | None:
        """Record the step that is expected; its number if its loss is sound.

        Raises DivergedError, on every worker, if it has exploded.
        """
        step, self._next = self._next, None
        if step is None:
            return None
        norm = 0.0 if step.norm is None else float(step.norm) / self._group.num_workers
        loss, norm = self._group.sum([float(step.own_loss), norm])
        verdict = self.losses.judge(loss)
        if verdict == "exploded" or not math.isfinite(norm):
            self._end(step, loss=loss, norm=norm)
        self._before, line = step, step.line
        self._journal.step(
            line | {"loss": loss},
            num_samples=step.num_samples,
            spent=self._group.watch.take_spent(),
            norm=None if step.norm is None else norm,
        )
        if self._records_samples:
            self._journal.samples(self._keys(step), step=line["step"], epoch=line["epoch"])
        if verdict == "suspicious":
            log.warning(
                "loss may be exploding: step=%d loss=%.4g median=%.4g in_a_row=%d",
                line["step"], loss, self.losses.measure, self.losses.num_suspicious,
            )  # fmt: skip
        return int(line["step"]) if verdict == "sound" else None

    def _end(self, step: UnsettledStep, *, loss: float, norm: float) -> NoReturn:
        """End with the step, its learning rate and its samples, and those of the step before.

        A loss that is no number is often the work of the step before, whose gradients spoilt the weights.
        """
        line, before = step.line, self._before
        keys = shortened(self._keys(step))
        keys_before = shortened(self._keys(before)) if before is not None else "none in this attempt"
        what = self.losses.describe(loss, norm=norm)
        raise DivergedError(
            f"run {self._name}: the loss of step {line['step']} {what} at learning rate "
            f"{line['learning_rate']:.3g} (samples {keys}; of the step before: {keys_before}); the last checkpoint is "
            f"from before it. {ADVICE}"
        )

    def _keys(self, step: UnsettledStep) -> list[list[str]]:
        """The sample keys of a step, by worker."""
        return self._group.gather([self._split.key(sample) for sample in step.samples])
