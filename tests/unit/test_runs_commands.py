"""`roadbed runs ...` over runs that were written down, not trained: figures, comparison, metrics, log, curves."""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from roadbed.runs import Attempt, CheckpointRef, Pointer, Run, RunFigures
from roadbed.spec import dump_job
from roadbed.spec.load import differing_values
from roadbed.storage import open_store
from roadbed.words import duration
from support import Clock, blocks_job

Command = Callable[..., tuple[int, str, str]]


def step(number: int, *, loss: float, at: float, images_per_s: float = 8.0, wait: float = 0.25) -> dict[str, Any]:
    return {
        "step": number,
        "epoch": 0,
        "learning_rate": 0.01,
        "images_per_s": images_per_s,
        "data_wait_share": wait,
        "at": at,
        "loss": loss,
    }


def evaluation(number: int, *, epoch: int, miou: float, at: float) -> dict[str, Any]:
    ious = {"Red": miou, "Green": miou - 0.1, "Blue": None}
    return {
        "step": number,
        "epoch": epoch,
        "eval_s": 1.0,
        "at": at,
        "miou": miou,
        "pixel_accuracy": miou + 0.2,
        "mean_accuracy": miou,
        "iou_per_class": ious,
    }


def log(attempt: Attempt, text: str) -> None:
    attempt.append("log", {"at": 1000.0, "level": "INFO", "text": text})


def checkpoint(attempt: Attempt, number: int) -> None:
    key = f"{attempt.folder}/checkpoints/{number:08d}"
    attempt.move_pointer(Pointer(checkpoints=(CheckpointRef(key, attempt.number, number),)))


def written(root: Path, name: str, *overrides: str, miou: float = 0.5) -> Run:
    """Ten steps over two attempts: the first ran to step 6, from its checkpoint at 5 the second to the end."""
    clock = Clock()
    run = Run(open_store(f"file://{root}"), name, clock=clock)
    run.begin(dump_job(blocks_job(root, *overrides, name=name)))
    where = {"num_workers": 2, "host": "node", "device": "cpu"}
    first = run.claim(details=where)
    for number in range(1, 7):
        first.append("metrics", step(number, loss=1.0, at=1000.0 + number))
        if number == 5:
            first.append("metrics", evaluation(5, epoch=1, miou=miou - 0.2, at=1006.0))
            checkpoint(first, 5)
    log(first, "first")
    first.flush()
    clock.now = 2000.0
    second = run.claim(details={"resumed_step": 5, "resumed_attempt": 1, **where})
    for number in range(6, 11):
        second.append("metrics", step(number, loss=0.5, at=2000.0 + number, images_per_s=4.0, wait=0.0))
    second.append("metrics", evaluation(10, epoch=2, miou=miou, at=2014.0))
    log(second, "second")
    checkpoint(second, 10)
    second.finish("finished", step=10, progress={"num_steps": 10, "miou": miou})
    return run


def test_figures_are_those_of_the_surviving_steps(tmp_path: Path) -> None:
    run = written(tmp_path, "town")
    status = run.status()
    assert status is not None
    figures = RunFigures.of(run, status)
    assert (figures.state, figures.step, figures.num_steps, figures.num_attempts) == ("finished", 10, 10, 2)
    assert figures.loss == 0.5
    assert figures.seconds == 6.0 + 14.0, "to the last line that counts, without the time between the attempts"
    # Five steps of half the pace take twice the time of the five before.
    assert figures.images_per_s == pytest.approx(10 / (5 / 8 + 5 / 4))
    assert figures.data_wait_share == pytest.approx(0.25 / 3)
    assert figures.best is not None
    assert (figures.best["epoch"], figures.last) == (2, figures.best)


def test_a_run_that_has_only_begun_has_few_figures(tmp_path: Path) -> None:
    run = Run(open_store(f"file://{tmp_path}"), "young")
    run.claim(details={"num_workers": 1, "host": "node"})
    status = run.status()
    assert status is not None
    figures = RunFigures.of(run, status)
    assert (figures.loss, figures.best, figures.last, figures.images_per_s, figures.seconds) == (None,) * 4 + (0.0,)


def test_show_tells_speed_classes_and_attempts(roadbed: Command, tmp_path: Path) -> None:
    written(tmp_path, "town")
    status, out, _ = roadbed("runs", "show", "town", "--store", f"file://{tmp_path}")
    assert status == 0
    for words in (
        "runs/town: finished",
        "step 10 of 10, 20 s, 5.3 images/s, 8.3 % of the time waiting for data, loss 0.5000",
        "attempt 2: from step 5, 2 workers on node",
        "checkpoint: step 10 (attempts/0002/checkpoints/00000010)",
        "epoch 2: mIoU 50.0 %, pixel accuracy 70.0 %",
        "best: epoch 2, step 10",
        "does not occur",
    ):
        assert words in out
    shown = json.loads(roadbed("runs", "show", "town", "--json", "--store", f"file://{tmp_path}")[1])
    assert shown["best"]["iou_per_class"] == {"Red": 0.5, "Green": 0.4, "Blue": None}
    assert shown["seconds"] == 20.0


def test_show_of_a_run_without_a_step(roadbed: Command, tmp_path: Path) -> None:
    Run(open_store(f"file://{tmp_path}"), "young").claim(details={"num_workers": 1, "host": "node"})
    status, out, _ = roadbed("runs", "show", "young", "--store", f"file://{tmp_path}")
    assert status == 0
    assert "step 0 of ?, 0 s\n" in out


def test_runs_are_compared_by_figures_spec_and_classes(roadbed: Command, tmp_path: Path) -> None:
    written(tmp_path, "one")
    written(tmp_path, "two", "train.learning_rate=0.02", "data.crop_px=[64, 96]", miou=0.55)
    Run(open_store(f"file://{tmp_path}"), "young").claim(details={"num_workers": 1, "host": "node"})
    store = ("--store", f"file://{tmp_path}")
    status, out, _ = roadbed("runs", "compare", "one", "two", "young", *store)
    assert status == 0
    rows = {" ".join(line.split()[:2]): line.split()[2:] for line in out.splitlines()}
    assert rows["best mIoU"] == ["50.0", "%", "55.0", "%", "(+5.0)", "-"]
    assert rows["IoU Green"] == ["40.0", "%", "45.0", "%", "(+5.0)", "-"]
    assert rows["IoU Blue"] == ["-", "-", "-"]
    assert rows["train.learning_rate 0.01"] == ["0.02", "-"]
    assert rows["data.crop_px [64,"] == ["64]", "[64,", "96]", "-"]
    compared = json.loads(roadbed("runs", "compare", "one", "two", "--json", *store)[1])
    assert compared["spec"] == {"data.crop_px": [[64, 64], [64, 96]], "train.learning_rate": [0.01, 0.02]}
    assert [one["best"]["miou"] for one in compared["runs"]] == [0.5, 0.55]


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["one"], 2, "name the runs to compare it with"),
        (["one", "none"], 1, "runs/none: no such run"),
        (["one", "young", "-o", "both.png"], 1, "run young: no metrics to draw yet"),
        (["one", "young", "-o", "both.jpg"], 2, "both.jpg: curves are drawn as PNG or SVG"),
    ],
)
def test_what_cannot_be_compared_is_said(
    roadbed: Command, tmp_path: Path, words: list[str], status: int, expected: str
) -> None:
    written(tmp_path, "one")
    Run(open_store(f"file://{tmp_path}"), "young").claim(details={"num_workers": 1, "host": "node"})
    found, _, err = roadbed("runs", "compare", *words, "--store", f"file://{tmp_path}")
    assert found == status
    assert expected in err


def test_specs_of_other_versions_are_compared_as_they_stand() -> None:
    assert differing_values(["name: a\nold: 1\nsame: {x: 2}", "name: b\nsame: {x: 2}"]) == {"old": [1, None]}


def test_pictures_are_png_or_svg_and_their_folder_is_made(roadbed: Command, tmp_path: Path) -> None:
    for name in ("one", "two"):
        written(tmp_path, name)
    store = ("--store", f"file://{tmp_path}")
    for command in (("curves", "one"), ("compare", "one", "two")):
        picture, drawing = tmp_path / "new" / f"{command[0]}.png", tmp_path / "new" / f"{command[0]}.svg"
        for path in (picture, drawing):
            status, out, err = roadbed("runs", *command, "-o", path, *store)
            assert status == 0, err
            assert f"curves: {path}" in out
        with Image.open(picture) as opened:
            assert opened.width == 1200
        text = drawing.read_bytes()
        assert b"<svg" in text
        roadbed("runs", *command, "-o", drawing, *store)
        assert drawing.read_bytes() == text
    status, _, err = roadbed("runs", "curves", "one", "-o", "one.pdf", *store)
    assert status == 2
    assert "one.pdf: curves are drawn as PNG or SVG" in err


def test_metrics_are_every_step_once_as_json_lines(roadbed: Command, tmp_path: Path) -> None:
    written(tmp_path, "town")
    store = ("--store", f"file://{tmp_path}")
    status, out, _ = roadbed("runs", "metrics", "town", *store)
    assert status == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 11))
    assert [line["attempt"] for line in lines if "loss" in line] == [1] * 5 + [2] * 5
    assert [line["epoch"] for line in lines if "miou" in line] == [1, 2]
    path = tmp_path / "new" / "metrics.jsonl"
    assert "(12 lines)" in roadbed("runs", "metrics", "town", "-o", path, *store)[1]
    assert path.read_text() == out


def test_a_log_is_followed_to_the_end_of_its_run(
    roadbed: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("roadbed.cli.runs.logs"), "POLL_S", 0.05)
    run = Run(open_store(f"file://{tmp_path}"), "town")
    attempt = run.claim(details={})
    log(attempt, "begins")
    attempt.flush()

    def end() -> None:
        log(attempt, "ends")
        attempt.finish("finished", step=1, progress={})

    timer = threading.Timer(0.5, end)
    timer.start()
    status, out, _ = roadbed("runs", "logs", "town", "--follow", "--store", f"file://{tmp_path}")
    timer.join()
    assert status == 0
    assert [line.split()[-1] for line in out.splitlines()] == ["begins", "ends"]
    assert roadbed("runs", "logs", "town", "--store", f"file://{tmp_path}")[1] == out


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59, "59 s"),
        (59.7, "1 min 00 s"),
        (372, "6 min 12 s"),
        (3600, "1 h 00 min"),
        (11_100, "3 h 05 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, words: str) -> None:
    assert duration(seconds) == words
