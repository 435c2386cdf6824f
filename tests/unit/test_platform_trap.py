"""`platform/` is the source root and must never become a package: it would shadow the standard library's module."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_platform_is_the_standard_library() -> None:
    assert Path(platform.__file__).parent == Path(subprocess.__file__).parent
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_no_folder_or_job_is_named_like_a_standard_module() -> None:
    names = {path.stem for folder in ("tests", "jobs") for path in (ROOT / folder).iterdir()}
    assert not names & sys.stdlib_module_names


def test_help_and_import_load_neither_torch_nor_ray() -> None:
    program = (
        "import sys, roadbed.cli\n"
        "try:\n    roadbed.cli.main(['--help'])\n"
        "except SystemExit as left:\n    assert left.code == 0\n"
        "heavy = {'torch', 'ray', 'boto3', 'cv2', 'albumentations', 'pydantic', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
