"""The page of a run: whole, small, and what it says is so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pages import Page, checked_page
from roadbed.report.run import RunStory, run_page
from roadbed.runs import Run, RunFigures
from roadbed.runtime.train import begin_run
from roadbed.spec import dump_job
from roadbed.storage import open_store
from roadbed.training.attempt import run_attempt
from roadbed.training.group import Group
from support import SMALL_MODEL, Clock, blocks_dataset, blocks_job

Roadbed = Callable[..., tuple[int, str, str]]
HOSTILE = "<script>alert('x')</script>\"&amp; $\\frac{a}$ ]]> \x1b[31m\n\x00 日本 https://evil.example/"


def step(number: int, *, loss: float, at: float) -> dict[str, Any]:
    speed = {"images_per_s": 8.0, "data_wait_share": 0.25}
    return {"step": number, "epoch": 0, "learning_rate": 0.01 / number, "at": at, "loss": loss} | speed


def scored(number: int, *, epoch: int, miou: float, at: float) -> dict[str, Any]:
    scores = {"miou": miou, "pixel_accuracy": 0.9, "iou_per_class": {"Red": miou, "Blue": None}}
    return {"step": number, "epoch": epoch, "eval_s": 4.0, "at": at} | scores


def written(root: Path, *, num_steps: int = 20, evaluations: bool = True) -> Run:
    """A run of one attempt that took a second a step."""
    run = Run(open_store(f"file://{root}"), "blocks", clock=Clock())
    run.begin(dump_job(blocks_job(root)))
    attempt = run.claim(details={"num_workers": 2, "host": "node", "device": "cpu"})
    for number in range(1, num_steps + 1):
        attempt.append("metrics", step(number, loss=2 / number, at=1000.0 + number))
        if evaluations and number % 10 == 0:
            attempt.append("metrics", scored(number, epoch=number // 10, miou=0.2 + number / 100, at=1000.0 + number))
    attempt.append("metrics", {"step": 3, "epoch": 0, "notice": "node a is about to go"})
    attempt.flush()
    return run


def story_of(run: Run) -> RunStory:
    status = run.status()
    assert status is not None
    return RunStory.of(run, status)


def page_of(story: RunStory) -> Page:
    return checked_page(run_page(story))


def test_it_tells_what_came_out_and_how(tmp_path: Path) -> None:
    text = page_of(story_of(written(tmp_path))).text
    told = (
        "best mIoU 40.0 % in epoch 2",
        "its pixel accuracy 90.0 %",
        "time 20 s 8.0 images/s",
        "Red 40.0 %",
        "Blue -",
        "training 9 s, 45.0 %",
        "evaluating 8 s, 40.0 %",
        "waiting for data 3 s, 15.0 %",
        "model deeplabv3plus over efficientnet_lite0",
        "began from none",
        f"trained on file://{tmp_path}/blocks, train",
        "from the start, 2 workers on node",
        "step 3: node a is about to go",
        "global_batch: 4",
        "roadbed runs show blocks",
    )
    assert [words for words in told if words not in text] == []


def test_curves_for_wide_and_narrow_screens_and_in_words(tmp_path: Path) -> None:
    (wide, narrow) = page_of(story_of(written(tmp_path))).all("svg")
    assert (wide["class"], narrow["class"]) == ("curves-wide", "curves-narrow")
    assert wide["aria-label"] == (
        "Loss over 20 steps, from 2.000 to 0.100. mIoU after epoch 1: 30.0 %. mIoU after epoch 2: 40.0 %."
    )


def test_a_run_that_was_not_evaluated_yet(tmp_path: Path) -> None:
    text = page_of(story_of(written(tmp_path, num_steps=1, evaluations=False))).text
    assert "best mIoU - not evaluated yet" in text
    assert "It was not evaluated yet." in text


def test_a_run_whose_spec_is_gone(tmp_path: Path) -> None:
    text = page_of(replace(story_of(written(tmp_path)), spec_text="")).text
    assert "spec.yaml" not in text
    assert "workers 2" in text


def test_many_steps_stay_small(tmp_path: Path) -> None:
    run = written(tmp_path, num_steps=3000)
    assert len(run_page(story_of(run)).encode()) < 200_000


def test_whatever_it_holds_is_text(tmp_path: Path) -> None:
    story = story_of(written(tmp_path))
    facts: dict[str, Any] = {"name": HOSTILE, "reason": HOSTILE, "notices": [{"step": 1, "notice": HOSTILE}]}
    facts["evaluations"] = [scored(1, epoch=1, miou=0.5, at=1.0) | {"iou_per_class": {HOSTILE: 0.5}}]
    end = {"cause": HOSTILE, "reason": HOSTILE, "verdict": HOSTILE}
    hostile = replace(
        story,
        uri=HOSTILE,
        figures=replace(story.figures, **facts),
        attempts=[{"host": HOSTILE, "num_workers": 1, "lost_steps": 3, "end": end}],
        spec_text="model: {weights: '<script>alert(1)</script>'}\n# <script>alert(2)</script>",
    )
    page = page_of(hostile)
    assert "<script>alert('x')</script>" in page.text
    assert "3 steps of the one before were lost; ended: <script>" in page.text


def test_the_command(tmp_path: Path, roadbed: Roadbed) -> None:
    written(tmp_path)
    path = tmp_path / "new" / "page.html"
    status, out, err = roadbed("runs", "report", "blocks", "-o", path, "--store", f"file://{tmp_path}")
    assert (status, err) == (0, "")
    assert out == f"report: {path}\n"
    checked_page(path.read_text())
    assert roadbed("runs", "report", "none", "--store", f"file://{tmp_path}")[0] == 1


def test_frames_of_the_best_checkpoint_are_on_it_if_asked_for(tmp_path: Path, roadbed: Roadbed) -> None:
    torch.set_num_threads(1)
    blocks_dataset(f"file://{tmp_path}/blocks", val=3)
    job = blocks_job(tmp_path, SMALL_MODEL)
    begin_run(job, Run(open_store(job.output.store), job.name))
    run_attempt(job, Group())
    path = tmp_path / "page.html"
    words = ("runs", "report", "blocks", "-o", path, "--store", f"file://{tmp_path}", "--frames")
    status, _, err = roadbed(*words)
    assert status == 0, err
    page = checked_page(path.read_text())
    assert path.read_text().count("<img ") == 3 * 4
    for heading in ("How it went", "What is taken for what", "Is it as sure as it is right?"):
        assert heading in page.text, heading
    assert not (tmp_path / "models").exists()


def test_a_run_without_an_evaluation_has_no_frames_to_show(tmp_path: Path, roadbed: Roadbed) -> None:
    blocks_dataset(f"file://{tmp_path}/blocks", val=3)
    written(tmp_path, evaluations=False)
    path = tmp_path / "page.html"
    status, _, err = roadbed("runs", "report", "blocks", "-o", path, "--store", f"file://{tmp_path}", "--frames")
    assert status == 1
    assert "no evaluated checkpoint" in err
    assert not path.exists()


def test_a_run_without_a_metric_line(tmp_path: Path, roadbed: Roadbed) -> None:
    run = Run(open_store(f"file://{tmp_path}"), "blocks", clock=Clock())
    run.begin(dump_job(blocks_job(tmp_path)))
    run.claim(details={})
    status, _, err = roadbed("runs", "report", "blocks", "--store", f"file://{tmp_path}")
    assert status == 1
    assert "no metrics yet" in err
    assert "roadbed runs show blocks" in err


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_shares_of_a_time_that_is_shorter_than_its_parts(tmp_path: Path, seconds: float) -> None:
    story = story_of(written(tmp_path))
    figures: RunFigures = replace(story.figures, seconds=seconds)
    assert "Where the time went" in page_of(replace(story, figures=figures)).text
