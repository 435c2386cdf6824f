"""The tests on GPUs, on a machine without: they are left out by default, and nothing of them is broken or silent."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def test_they_are_left_out_unless_asked_for() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    options = settings["tool"]["pytest"]["ini_options"]["addopts"]
    assert options[options.index("-m") + 1] == "not gpu and not soak and not cluster"
    modules = [*(ROOT / "tests" / "gpu").glob("test_*.py")]
    assert modules
    assert all("pytestmark = pytest.mark.gpu" in path.read_text() for path in modules)


@pytest.mark.skipif(torch.cuda.is_available(), reason="`make test-gpu` runs them here")
def test_asked_for_without_a_gpu_each_is_skipped_with_the_reason() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gpu", "-m", "gpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "no CUDA device: run `make test-gpu` on a machine with an NVIDIA GPU" in done.stdout
    assert " skipped in " in done.stdout
    assert "passed" not in done.stdout
