"""The command line's door: help, exit status, one clear text per error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from roadbed.cli import VERBS, main, roadbed
from roadbed.registry import Registry
from roadbed.storage import open_store
from support import blocks_dataset

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line; its exit status, stdout and stderr."""

    def run_it(*words: str) -> tuple[int, str, str]:
        status: object = 0
        try:
            main(list(words))
        except SystemExit as left:
            status = left.code or 0
        said = capsys.readouterr()
        assert isinstance(status, int)
        return status, said.out, said.err

    return run_it


def test_help_names_every_verb(run: Run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    assert all(verb in out for verb in VERBS)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help(run: Run, verb: str) -> None:
    status, out, _ = run(verb, "--help")
    assert status == 0
    assert "Usage: roadbed" in out
    assert roadbed.get_command(None, verb) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["frobnicate"], "No such command"),
        (["train"], "Missing argument"),
        (["train", "none.yaml"], "none.yaml: no such job spec"),
        (["explain", "tarin"], "did you mean train?"),
        (["models", "show", "nonsense", "--store", "file:///tmp/none"], "NAME@ALIAS"),
        (["predict", "town@champion", "none.png", "-o", "out"], "none.png: no such file or folder"),
    ],
)
def test_asked_wrongly_is_status_2(run: Run, words: list[str], expected: str) -> None:
    status, _, err = run(*words)
    assert status == 2
    assert expected in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["models", "show", "town@champion"], "there is no model town"),
        (["models", "promote", "town:1"], "there is no model town"),
        (["runs", "show", "quick"], "no such run"),
        (["runs", "logs", "quick"], "no such run"),
        (["runs", "curves", "quick"], "no such run"),
    ],
)
def test_what_is_not_there_is_status_1(run: Run, tmp_path: Path, words: list[str], expected: str) -> None:
    status, _, err = run(*words, "--store", f"file://{tmp_path}")
    assert status == 1
    assert err.startswith("error: ")
    assert expected in err


def test_debug_shows_the_traceback(run: Run, tmp_path: Path) -> None:
    status, _, err = run("runs", "show", "quick", "--store", f"file://{tmp_path}", "--debug")
    assert status == 1
    assert "Traceback" in err


def test_an_output_that_cannot_be_written_is_named(run: Run, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    blocks_dataset(f"file://{tmp_path}/blocks")
    status, _, err = run("data", "show", f"file://{tmp_path}/blocks", "--sheet", str(taken / "sheet.png"))
    assert status == 1
    assert f"error: {taken}" in err


def test_an_empty_store_says_what_to_do(run: Run, tmp_path: Path) -> None:
    assert "roadbed train" in run("runs", "list", "--store", f"file://{tmp_path}")[1]
    assert "roadbed quickstart" in run("models", "list", "--store", f"file://{tmp_path}")[1]


def test_explain_prints_the_fields(run: Run) -> None:
    status, out, _ = run("explain", "train")
    assert status == 0
    assert "train.learning_rate" in out


def test_promotion_is_refused_with_figures_and_forced(run: Run, tmp_path: Path) -> None:
    dataset = blocks_dataset(f"file://{tmp_path}/blocks")
    registry = Registry(open_store(f"file://{tmp_path}"))
    for miou in (0.6, 0.4):
        scores = {"miou": miou, "pixel_accuracy": 0.9, "iou_per_class": dict.fromkeys(("Red", "Green", "Blue"), miou)}
        card = {
            "scores": scores,
            "dataset": {"uri": dataset.uri, "digest": dataset.digest, "split": "val"},
            "run": {"name": "quick", "uri": "file:///runs/quick", "attempt": 1, "step": 2},
            "created_at": 0.0,
            "label_space": dataset.label_space.to_json(),
        }
        registry.publish("town", {"weights.safetensors": b"x"}, card)
    store = ("--store", f"file://{tmp_path}")
    assert run("models", "promote", "town:1", *store)[0] == 0
    status, _, err = run("models", "promote", "town:2", *store)
    assert status == 1
    assert "mIoU is 40.0 %, the present version has 60.0 %" in err
    assert run("models", "promote", "town:2", "--force", *store)[:2] == (0, "town@champion is now version 2\n")
    listed = run("models", "list", *store)[1]
    assert "40.0 %" in listed
    assert "champion" in listed
