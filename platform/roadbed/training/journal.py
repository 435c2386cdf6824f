"""What a run tells while it goes: lines of metrics in the store, values for the metrics sink, its progress.

Written by the first worker; the others hold a journal without an attempt, which keeps the progress only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from roadbed.runs import Attempt
from roadbed.scores import Scores
from roadbed.telemetry import MetricSink
from roadbed.training.checkpoint import Written
from roadbed.training.watch import Spent

log = logging.getLogger(__name__)

_SELDOM = (
    "roadbed_train_resumes",
    "roadbed_train_lost_steps",
    "roadbed_train_notices",
    "roadbed_checkpoint_failures",
    "roadbed_data_skipped_samples",
)


class Journal:
    """Metrics of one attempt. `progress` is what the heartbeat publishes."""

    def __init__(self, attempt: Attempt | None, sink: MetricSink, *, num_steps: int) -> None:
        self._attempt = attempt
        self._sink = sink
        self.progress: dict[str, Any] = {"num_steps": num_steps}
        self.num_skipped = 0
        """Damaged samples that the run went without so far, over all its attempts."""
        self.num_notices = 0
        """Notices of nodes about to go that the run was given so far, over all its attempts."""
        self._notice: str | None = None
        if attempt is not None:
            for seldom in _SELDOM:
                sink.add(seldom, 0)
            for phase in get_args(Spent):
                sink.add("roadbed_train_phase_seconds", 0, phase)

    def resume(self, scores: Mapping[str, Any], *, num_skipped: int, num_notices: int) -> None:
        """Go on from a checkpoint: what its attempt told last still holds."""
        self.num_skipped, self.num_notices = num_skipped, num_notices
        self.progress |= {key: scores[key] for key in ("miou", "pixel_accuracy") if key in scores}
        if num_skipped:
            self.progress["skipped_samples"] = num_skipped
        if num_notices:
            self.progress["notices"] = num_notices

    def resumed(self) -> None:
        """This attempt goes on from a checkpoint."""
        self._sink.add("roadbed_train_resumes", 1)

    def lost(self, num_steps: int) -> None:
        """Steps that the attempt before had taken, as far as it told, and that this one takes again."""
        if num_steps:
            self.progress["lost_steps"] = num_steps
            self._sink.add("roadbed_train_lost_steps", num_steps)

    def step(
        self, line: dict[str, Any], *, num_samples: int, spent: Mapping[Spent, float], norm: float | None = None
    ) -> None:
        """A step that is done: its loss, learning rate, images/s and share of time waiting for data.

        `spent` is what the time since the step before went into, in seconds; `norm` that of the gradients, if known.
        """
        self.progress |= line
        self._append("metrics", line)
        for key in ("step", "epoch", "loss", "learning_rate"):
            self._sink.set(f"roadbed_train_{key}", line[key])
        if norm is not None:
            self._sink.set("roadbed_train_gradient_norm", norm)
        self._sink.add("roadbed_train_images", num_samples)
        self.spent(spent)

    def spent(self, spent: Mapping[Spent, float]) -> None:
        """What time went into, in seconds, since it was told last."""
        for what, seconds in spent.items():
            self._sink.add("roadbed_train_phase_seconds", seconds, what)

    def samples(self, shares: Sequence[Sequence[str]], *, step: int, epoch: int) -> None:
        """The sample keys of a step by worker, which is the order of lanes."""
        self._append("samples", {"step": step, "epoch": epoch, "keys": [key for share in shares for key in share]})

    def skipped(self, shares: Sequence[Sequence[str]], *, step: int, epoch: int) -> None:
        """Keys of damaged samples that the global batch of a step goes without, by worker."""
        keys = [key for share in shares for key in share]
        self.num_skipped += len(keys)
        self.progress["skipped_samples"] = self.num_skipped
        self._sink.add("roadbed_data_skipped_samples", len(keys))
        self._append("metrics", {"step": step, "epoch": epoch, "skipped": keys})
        log.warning("skipped damaged samples: step=%d epoch=%d keys=%s", step, epoch, ",".join(keys))

    def noticed(self, notice: str, *, step: int, epoch: int) -> None:
        """A node of the run is about to go. The same notice may be told again and counts once."""
        if notice == self._notice:
            return
        self._notice = notice
        self.num_notices += 1
        self.progress["notices"] = self.num_notices
        self._sink.add("roadbed_train_notices", 1)
        self._append("metrics", {"step": step, "epoch": epoch, "notice": notice})
        log.warning("notice: step=%d %s", step, notice)

    def checkpoint(self, trouble: str | None, written: Sequence[Written] = ()) -> None:
        """Whether the last checkpoint could be written: None, or why not. Training goes on either way.

        `written` are those that were, since this was told last.
        """
        self._sink.observe("roadbed_checkpoint_write_seconds", [one.seconds for one in written])
        self._sink.add("roadbed_checkpoint_bytes", sum(one.num_bytes for one in written))
        if trouble is None:
            self.progress.pop("not_saved", None)
            return
        self.progress["not_saved"] = trouble
        self._sink.add("roadbed_checkpoint_failures", 1)

    def evaluating(self, done: int, total: int) -> None:
        """An evaluation under way."""
        self.progress["evaluating"] = f"{min(done, total)}/{total}"

    def evaluation(self, scores: Scores, *, step: int, epoch: int, seconds: float) -> None:
        """An evaluation that is done."""
        self.progress.pop("evaluating", None)
        self.progress |= {"miou": scores.miou, "pixel_accuracy": scores.pixel_accuracy}
        when = {"eval_s": round(seconds, 2), "at": round(time.time(), 3)}
        self._append("metrics", {"step": step, "epoch": epoch} | when | scores.to_json())
        self._sink.set("roadbed_eval_miou", scores.miou)
        self._sink.set("roadbed_eval_pixel_accuracy", scores.pixel_accuracy)
        for class_name, iou in scores.iou_per_class.items():
            if iou is not None:
                self._sink.set("roadbed_eval_class_iou", iou, class_name)
        log.info(
            "evaluated: epoch=%d miou=%.4f pixel_accuracy=%.4f seconds=%.1f",
            epoch, scores.miou, scores.pixel_accuracy, seconds,
        )  # fmt: skip

    def _append(self, kind: str, line: dict[str, Any]) -> None:
        if self._attempt is not None:
            self._attempt.append(kind, line)
