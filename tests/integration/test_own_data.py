"""docs/own-data.md, word by word: ten painted frames with classes of one's own, from a folder to an answer."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from roadbed.runtime.local import LocalState
from roadbed.runtime.local.processes import free_ports

pytestmark = [pytest.mark.s3, pytest.mark.ray]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-data.md"
# The walk is the same with less training: `train` gets these besides.
SMALL = ("train.epochs=2", "data.crop_px=[96, 128]", "train.micro_batch=2", "train.eval_every=1")
# Steps of the page that another story has: the fine-tuning of another model, and masks of polygons.
OTHER_STORIES = ("--rest", "--from")
PATIENCE_S = 120


def blocks(kind: str) -> list[str]:
    """The fenced blocks of the page of one kind, "" for plain ones."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [text for found, text in fenced if found == kind]


def commands() -> list[list[str]]:
    """Every command of the page, in order, as its words."""
    lines = [line for block in blocks("") for line in block.replace("\\\n", " ").splitlines()]
    typed = [shlex.split(line)[1:] for line in lines if line.startswith("roadbed ")]
    return [words for words in typed if not set(OTHER_STORIES) & set(" ".join(words).replace("=", " ").split())]


def run(folder: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    pipes = {"capture_output": True, "text": True, "timeout": 400}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, check=False, **pipes)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def answer(folder: Path, words: list[str], picture: Path) -> np.ndarray:
    """What the endpoint that the page starts says to a picture."""
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "roadbed", *words, "--port", str(port)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert "Ctrl-C stops it" in process.stdout.readline()
            request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/segment", data=picture.read_bytes())
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=PATIENCE_S) as response:
                mask = response.read()
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)
        finally:
            process.kill()
    with Image.open(io.BytesIO(mask)) as image:
        return np.asarray(image)


def test_the_page_leads_from_a_folder_to_an_answer(ray_head: LocalState, tmp_path: Path) -> None:
    (paint,) = blocks("python")
    (classes,) = blocks("yaml")
    run(tmp_path, "-c", paint)
    said = {}
    for words in commands():
        if words[0] == "serve":
            mask_HW = answer(tmp_path, words, tmp_path / "yard/images/val/val_000000.png")
            continue
        small = [word for setting in SMALL for word in ("--set", setting)] if words[0] == "train" else []
        if words[0] == "train":
            small_train = [*words, *small]
        said[" ".join(words[:2])] = run(tmp_path, "-m", "roadbed", *words, *small)
        if words[:2] == ["data", "init"]:
            (tmp_path / "yard/classes.yaml").write_text(classes, encoding="utf-8")
    assert "written: classes.yaml, train.yaml" in said["data init"]
    assert "nothing odd was found" in said["data doctor"]
    assert (tmp_path / "doctor.html").is_file()
    assert "8 train, 2 val samples prepared" in said["data prepare"]
    assert "next: roadbed models promote yard:1" in said["train yard/train.yaml"]
    told = json.loads(run(tmp_path, "-m", "roadbed", *small_train, "--json", "--quiet"))
    assert (told["is_new"], told["version"]) == (False, "yard:1")
    assert len(list((tmp_path / "predictions").glob("*.mask.png"))) == 2
    assert mask_HW.shape == (360, 480)
    assert mask_HW.max() < len(yaml.safe_load(classes)["classes"])
