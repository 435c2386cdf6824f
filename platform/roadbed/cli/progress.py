"""Progress of long work: a bar on a terminal, plain lines now and then in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from roadbed.runs import RunStatus
from roadbed.spec import TrainJob

LINE_EVERY_S = 15.0


class WorkProgress:
    """One piece of work that is `done` of `total`. On a terminal a bar; elsewhere a line at most every 15 s."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._console = Console(file=sys.stderr, highlight=False)
        self._bar: Progress | None = None
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=self._console,
            )
            self._task = self._bar.add_task(title, total=None, note="")
        self._last_line_at = 0.0
        self._last_text = ""

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, total: int, note: str = "") -> None:
        """Tell where the work is; `note` says more in a few words."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, note=note)
            return
        text = f"{self._title}: {done}/{total} {note}".rstrip()
        is_due = time.monotonic() - self._last_line_at >= LINE_EVERY_S or done == total
        if is_due and text != self._last_text:
            self._console.print(text, soft_wrap=True)
            self._last_line_at, self._last_text = time.monotonic(), text


class TrainingProgress(WorkProgress):
    """Progress of a run, as its status in the store tells."""

    def __init__(self, job: TrainJob) -> None:
        super().__init__(f"train {job.name}")
        self._epochs = job.train.epochs

    def follow(self, status: RunStatus) -> None:
        """Show a status: epoch, loss, mIoU, images/s, share of time waiting for data."""
        progress = status.progress
        if "num_steps" not in progress:
            return
        notes = [f"epoch {min(self._epochs, progress.get('epoch', 0) + 1)}/{self._epochs}"]
        if "loss" in progress:
            notes.append(f"loss {progress['loss']:.3f}")
        if "miou" in progress:
            notes.append(f"mIoU {100 * progress['miou']:.1f} %")
        if "evaluating" in progress:
            notes.append(f"evaluating {progress['evaluating']}")
        elif "images_per_s" in progress:
            notes.append(f"{progress['images_per_s']:.1f} images/s, {100 * progress['data_wait_share']:.0f} % waiting")
        if "not_saved" in progress:
            notes.append(f"no checkpoint of {progress['not_saved']}")
        self.update(status.step, progress["num_steps"], "  ".join(notes))
