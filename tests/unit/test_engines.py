"""The tests of the engines, in a process of their own.

With ONNX Runtime, OpenVINO and the exporter in it, a process of many tests ended by a segmentation fault, minutes after
these: once in a run of all tests and once in three runs of some. What does it was not found yet.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ENGINES = Path(__file__).parents[1] / "isolated" / "engines.py"


def test_engines() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ENGINES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ENGINES.parents[2])
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
