"""What is printed where: --quiet, --json, colours on terminals alone; and what shells complete."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from roadbed.cli import VERBS
from roadbed.registry import Registry
from roadbed.storage import open_store
from support import blocks_dataset

Roadbed = Callable[..., tuple[int, str, str]]

COLOUR = re.compile(rb"\x1b\[[0-9;]*3[0-7]m|\x1b\[[0-9;]*9[0-7]m")


def painted(folder: Path) -> tuple[str, ...]:
    return ("data", "prepare", "painted", str(folder), "--train", "2", "--val", "1", "--size", "64x64")


def test_quiet_leaves_results_and_errors_alone(roadbed: Roadbed, tmp_path: Path) -> None:
    _, out, err = roadbed(*painted(tmp_path / "one"))
    assert "prepare painted: " in err
    assert "2 train, 1 val samples prepared" in out
    assert roadbed(*painted(tmp_path / "two"), "--quiet") == (0, out.replace("one", "two"), "")
    status, out, err = roadbed("--quiet", "data", "verify", str(tmp_path / "none"))
    assert (status, out) == (1, "")
    assert err.startswith("error: ")


def test_quiet_gives_no_advice(roadbed: Roadbed, tmp_path: Path) -> None:
    for number, words in enumerate(((), ("--quiet",))):
        own = tmp_path / f"own{number}"
        write_own(own)
        out = roadbed("data", "init", own, *words)[1]
        assert ("next:" in out) is not bool(words)
        assert "classes: " in out


def write_own(folder: Path) -> None:
    """Frames and masks of two classes, as somebody has them."""
    import numpy as np
    from PIL import Image

    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(4):
        mask_HW = np.zeros((32, 32), dtype=np.uint8)
        mask_HW[: 8 * (number + 1)] = 1
        Image.fromarray(np.stack([mask_HW * 200] * 3, axis=2)).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask_HW).save(folder / "masks" / f"{number}.png")


def test_json_is_one_document_on_stdout(roadbed: Roadbed, tmp_path: Path) -> None:
    store = f"file://{tmp_path}"
    town, copy, own = f"{store}/datasets/town", f"{store}/datasets/copy", tmp_path / "own"
    write_own(own)

    def document(*words: object, status: int = 0) -> dict[str, object]:
        found, out, err = roadbed(*words, "--json")
        assert found == status, err
        made = json.loads(out)
        assert isinstance(made, dict)
        return made

    made = document(*painted(tmp_path / "datasets/town"))
    assert (made["uri"], made["is_new"], made["samples"]) == (town, True, {"train": 2, "val": 1})
    assert document(*painted(tmp_path / "datasets/town"))["is_new"] is False
    shown = document("data", "show", town, "--sheet", tmp_path / "sheet.png")
    assert shown["digest"] == made["digest"]
    assert document("data", "copy", town, copy)["is_new"] is True
    assert document("data", "init", own)["class_names"]
    assert document("data", "verify", copy)["is_whole"] is True
    next((tmp_path / "datasets/copy").rglob("*.tar")).write_bytes(b"")
    damaged = document("data", "verify", copy, status=1)
    assert (damaged["is_whole"], len(str(damaged["damages"])) > 2) == (False, True)
    mended = document("data", "verify", copy, "--repair", "--from", town)
    assert (mended["is_whole"], bool(mended["restored"])) == (True, True)
    assert document("local", "down") == {"folder": os.environ["ROADBED_LOCAL_DIR"], "was_running": False}


def test_a_version_is_promoted_and_shown_as_json(roadbed: Roadbed, tmp_path: Path) -> None:
    dataset = blocks_dataset(f"file://{tmp_path}/blocks")
    scores = {"miou": 0.6, "pixel_accuracy": 0.9, "iou_per_class": dict.fromkeys(("Red", "Green", "Blue"), 0.6)}
    card = {"scores": scores, "dataset": {"uri": dataset.uri, "digest": dataset.digest, "split": "val"}}
    Registry(open_store(f"file://{tmp_path}")).publish("town", {"weights.safetensors": b"x"}, card)
    store = ("--store", f"file://{tmp_path}", "--json")
    promoted = json.loads(roadbed("models", "promote", "town:1", *store)[1])
    assert (promoted["model"], promoted["version"], promoted["alias"]) == ("town", 1, "champion")
    shown = json.loads(roadbed("models", "show", "town@champion", *store)[1])
    assert (shown["aliases"], shown["card"]["scores"]["miou"], shown["exports"]) == (["champion"], 0.6, [])


def test_explain_tells_of_one_field(roadbed: Roadbed) -> None:
    told = roadbed("explain", "train", "learning_rate")
    assert told[1].startswith("train.learning_rate  default ")
    assert roadbed("explain", "train.train.learning_rate") == roadbed("explain", "train.learning_rate") == told
    keys = [row["field"] for row in json.loads(roadbed("explain", "tune", "data", "--json")[1])]
    assert keys
    assert all(key.startswith("data.") for key in keys)
    status, _, err = roadbed("explain", "train", "crop_xp")
    assert (status, err) == (
        2,
        "error: explain: a job of kind train has no field crop_xp; did you mean data.crop_px?\n",
    )
    assert "`roadbed explain train` prints all" in roadbed("explain", "train", "zzzzzz")[2]
    assert "did you mean train?" in roadbed("explain", "tarin")[2]


def test_explain_fits_a_narrow_terminal(roadbed: Roadbed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = roadbed("explain", "train")[1]
    assert "data.crop_px  default [240, 320]\n    height and width of training crops, pixels\n" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_misspelt_verb_names_the_nearest(roadbed: Roadbed) -> None:
    status, _, err = roadbed("trian", "jobs/x.yaml")
    assert status == 2
    assert "No such command 'trian'. Did you mean 'train'?" in err


def bytes_of(words: list[str], *, on_terminal: bool, **variables: str) -> bytes:
    """What a command prints on stdout and stderr, where both are a terminal or both a pipe."""
    command = [sys.executable, "-m", "roadbed", *words]
    environment = {"TERM": "xterm-256color", **os.environ, **variables}
    for name in ("NO_COLOR", "FORCE_COLOR"):
        if name not in variables:
            environment.pop(name, None)
    if not on_terminal:
        run = subprocess.run(command, capture_output=True, env=environment, timeout=60, check=False)
        return run.stdout + run.stderr
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        said = b""
        while piece := _read(ours):
            said += piece
        process.wait(60)
    os.close(ours)
    return said


def _read(ours: int) -> bytes:
    try:
        return os.read(ours, 65536)
    except OSError:  # What Linux says of a terminal whose other side is closed.
        return b""


@pytest.mark.parametrize("words", [["explain", "train", "epochs"], ["runs", "show", "none", "--store", "file:///none"]])
def test_colours_are_for_terminals(words: list[str]) -> None:
    assert COLOUR.search(bytes_of(words, on_terminal=True))
    assert not COLOUR.search(bytes_of(words, on_terminal=True, NO_COLOR="1"))
    assert b"\x1b" not in bytes_of(words, on_terminal=False)


@pytest.fixture
def shell_path(tmp_path: Path) -> str:
    """A PATH on which `roadbed` is this one."""
    script = tmp_path / "roadbed"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m roadbed "$@"\n')
    script.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def completed(path: str, *words: str) -> list[str]:
    """What bash would complete the last of the words to."""
    quoted = " ".join(f"'{word}'" for word in ("roadbed", *words))
    program = (
        'eval "$(roadbed completion bash)"\n'
        f"COMP_WORDS=({quoted})\nCOMP_CWORD={len(words)}\n"
        '_roadbed_completion roadbed\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    run = subprocess.run(
        ["bash", "--norc", "-c", program],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert not run.stderr
    return run.stdout.split()


def test_bash_completes_verbs_commands_options_and_fields(shell_path: str) -> None:
    assert completed(shell_path, "") == sorted(VERBS)
    assert completed(shell_path, "ru") == ["runs"]
    assert set(completed(shell_path, "runs", "")) >= {"list", "show", "compare"}
    assert completed(shell_path, "data", "prepare", "ci") == ["cityscapes"]
    assert completed(shell_path, "--quiet", "models", "promote", "--al") == ["--alias"]
    assert completed(shell_path, "explain", "train", "data.crop_p") == ["data.crop_px"]


@pytest.mark.parametrize("words", ["train jobs/", "serve jobs/", "lint jobs/", "data show town"])
def test_files_are_left_to_the_shell(words: str) -> None:
    variables = {"_ROADBED_COMPLETE": "bash_complete", "COMP_WORDS": f"roadbed {words}"}
    variables["COMP_CWORD"] = str(len(words.split()))
    assert bytes_of([], on_terminal=False, **variables) == f"file,{words.split()[-1]}\n".encode()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(roadbed: Roadbed, shell: str) -> None:
    assert f"_ROADBED_COMPLETE={shell}_complete" in roadbed("completion", shell)[1]


def test_completing_loads_nothing_heavy() -> None:
    program = (
        "import os, sys\nfrom roadbed.cli import VERBS, main\n"
        "os.environ['_ROADBED_COMPLETE'] = 'bash_complete'\n"
        "for words in ('', *(f'{verb} -' for verb in VERBS)):\n"
        "    os.environ.update(COMP_WORDS=f'roadbed {words}', COMP_CWORD=str(max(1, len(words.split()))))\n"
        "    try:\n        main([])\n"
        "    except SystemExit as left:\n        assert left.code == 0, (words, left.code)\n"
        "heavy = {'torch', 'ray', 'boto3', 'cv2', 'matplotlib', 'kubernetes'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert "plain,--json" in run.stdout
