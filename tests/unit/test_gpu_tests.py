"""The tests on GPUs, on a machine without: they are left out by default, and nothing of them is broken or silent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def run_pytest(*words: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def test_they_are_left_out_unless_asked_for() -> None:
    assert "no tests collected" in run_pytest("tests/gpu", "--collect-only")


@pytest.mark.skipif(torch.cuda.is_available(), reason="`make test-gpu` runs them here")
def test_asked_for_without_a_gpu_they_are_skipped_with_a_reason() -> None:
    said = run_pytest("tests/gpu", "-m", "gpu")
    assert "no CUDA device: run `make test-gpu` on a machine with an NVIDIA GPU" in said
    assert " skipped in " in said
    assert "passed" not in said
    assert "error" not in said
