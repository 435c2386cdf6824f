"""Progress of long work: a bar on a terminal, plain lines now and then in a log; with the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from roadbed.cli.store import is_quiet
from roadbed.runs import RunStatus
from roadbed.spec import TrainJob
from roadbed.words import duration

LINE_EVERY_S = 15.0


class WorkProgress:
    """One piece of work that is `done` of `total`. On a terminal a bar; elsewhere a line at most every 15 s.

    With --quiet nothing.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        # Said here, for rich takes FORCE_COLOR, which notebooks and CI set, for a terminal that redraws.
        self._console = Console(file=sys.stderr, highlight=False, force_terminal=sys.stderr.isatty(), quiet=is_quiet())
        self._bar: Progress | None = None
        if self._console.is_terminal:
            self._bar = _NotedProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                console=self._console,
            )
            self._task = self._bar.add_task(title, total=None, left="", note="")
        self._pace = Pace()
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

    def say(self, text: str) -> None:
        """A line for the person at the terminal, above the bar."""
        self._console.print(text, soft_wrap=True, markup=False)

    def update(self, done: int, total: int, note: str = "") -> None:
        """Tell where the work is; `note` says more in a few words."""
        seconds = self._pace.seconds_left(done, total, now=time.monotonic())
        left = "" if seconds is None or done == total else f"{duration(seconds)} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, left=left, note=note)
            return
        text = f"{self._title}: {done}/{total} {note}".rstrip()
        is_due = time.monotonic() - self._last_line_at >= LINE_EVERY_S or done == total
        if is_due and text != self._last_text:
            self._console.print(f"{text}  {left}".rstrip(), soft_wrap=True)
            self._last_line_at, self._last_text = time.monotonic(), text


class _NotedProgress(Progress):
    """A bar with its note in a line below, so that both fit a narrow terminal."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, and the note if there is one."""
        yield from super().get_renderables()
        for task in self.tasks:
            if task.fields["note"]:
                yield Text(f"  {task.fields['note']}")


class Pace:
    """How long the rest takes, by what was done since work was first seen.

    What was done before that (by an earlier attempt) took none of this time, so it does not count; work that falls
    back (a new attempt, from its checkpoint) is seen for the first time again.
    """

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._last_done = 0

    def seconds_left(self, done: int, total: int, *, now: float) -> float | None:
        """At the mean pace so far; None while nothing was done since the start."""
        if self._first is None or done < self._last_done:
            self._first = done, now
        self._last_done = done
        first_done, first_at = self._first
        if done == first_done:
            return None
        return (total - done) * (now - first_at) / (done - first_done)


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
