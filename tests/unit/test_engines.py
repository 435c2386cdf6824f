"""The tests of the engines, in a process of their own.

With ONNX Runtime, OpenVINO and the exporter in it, the process of all tests ended by a segmentation fault some minutes
later, in two of two runs of the whole and in none of the engines' own: what does it was not found yet.
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
