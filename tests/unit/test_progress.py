"""What a person sees of long work: the time that is left, and a training's figures, on a terminal and in a log."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from roadbed.cli import progress
from roadbed.cli.progress import Pace, TrainingProgress, WorkProgress
from roadbed.runs import RunStatus
from support import Clock, blocks_job

FIGURES = {"num_steps": 100, "epoch": 1, "loss": 0.51234, "miou": 0.612, "images_per_s": 12.34, "data_wait_share": 0.02}


def status(step: int, **told: Any) -> RunStatus:
    return RunStatus("town", "running", 1, step, reason=None, heartbeat_at=0.0, beats=1, progress=FIGURES | told)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    return clock


def console(monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool, width: int = 120) -> io.StringIO:
    """Everything that is printed, as on a terminal of that width or in a log."""
    out = io.StringIO()
    made = Console(file=out, highlight=False, force_terminal=is_terminal, width=width, color_system=None)
    monkeypatch.setattr(progress, "Console", lambda **_: made)
    return out


def test_the_rest_takes_as_long_as_what_was_done_so_far() -> None:
    pace = Pace()
    assert pace.seconds_left(0, 100, now=0.0) is None
    assert pace.seconds_left(10, 100, now=5.0) == 45.0


def test_what_an_earlier_attempt_did_took_none_of_this_time() -> None:
    pace = Pace()
    assert pace.seconds_left(80, 100, now=1000.0) is None
    assert pace.seconds_left(90, 100, now=1005.0) == 5.0


def test_a_new_attempt_has_a_pace_of_its_own() -> None:
    pace = Pace()
    pace.seconds_left(0, 100, now=0.0)
    pace.seconds_left(50, 100, now=50.0)
    assert pace.seconds_left(40, 100, now=90.0) is None
    assert pace.seconds_left(50, 100, now=95.0) == 25.0


def test_a_log_tells_everything_in_one_line(monkeypatch: pytest.MonkeyPatch, clock: Clock, tmp_path: Path) -> None:
    out = console(monkeypatch, is_terminal=False)
    with TrainingProgress(blocks_job(tmp_path)) as shown:
        shown.say("starting Ray Train")
        shown.follow(RunStatus("town", "running", 1, 0, reason=None, heartbeat_at=0.0, beats=1))
        shown.follow(status(0))
        clock.now += 20
        shown.follow(status(10))
        clock.now += 1
        shown.follow(status(11))
        clock.now += 20
        shown.follow(status(20, evaluating="3/12"))
        clock.now += 1
        shown.follow(status(100))
    assert out.getvalue().splitlines() == [
        "starting Ray Train",
        "train blocks: 0/100 epoch 2/2  loss 0.512  mIoU 61.2 %  12.3 images/s, 2 % waiting",
        "train blocks: 10/100 epoch 2/2  loss 0.512  mIoU 61.2 %  12.3 images/s, 2 % waiting  3 min 00 s left",
        "train blocks: 20/100 epoch 2/2  loss 0.512  mIoU 61.2 %  evaluating 3/12  2 min 44 s left",
        "train blocks: 100/100 epoch 2/2  loss 0.512  mIoU 61.2 %  12.3 images/s, 2 % waiting",
    ]


def test_colours_that_are_asked_for_make_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Notebooks and CI set FORCE_COLOR; a bar would leave a page of control codes there."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with WorkProgress("prepare") as shown:
        shown.update(3, 3)
    assert capsys.readouterr().err == "prepare: 3/3\n"


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_every_figure_whatever_its_width(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, tmp_path: Path, width: int
) -> None:
    out = console(monkeypatch, is_terminal=True, width=width)
    with TrainingProgress(blocks_job(tmp_path)) as shown:
        shown.follow(status(0))
        clock.now += 20
        shown.follow(status(10))
    for words in (
        "train blocks",
        "10%",
        "loss 0.512",
        "mIoU 61.2 %",
        "12.3 images/s",
        "2 % waiting",
        "3 min 00 s left",
    ):
        assert words in out.getvalue()
