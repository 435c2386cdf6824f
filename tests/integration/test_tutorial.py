"""docs/tutorial.ipynb from top to bottom, in a kernel of its own, on the painted town."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from roadbed.runtime import local

pytestmark = [pytest.mark.s3, pytest.mark.ray]

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "tutorial.ipynb"
PATIENCE_S = 300
# Asked when the last cell has run: what the reader was told, as figures.
FACTS = """
import json

facts = {
    "by_hand": float(miou), "by_roadbed": evaluated, "lazy": lazy_miou, "lazy_accuracy": float(lazy_accuracy),
    "by_frame": by_frame, "by_drive": by_drive, "equal_share": float(equal_share), "status": status,
    "tuned": {f"{name} {split}": float(value) for (name, split), value in tuned_miou.items()},
    "ended": ended is not None and local.status(servers.folder) is None,
}
print(json.dumps(facts))
"""


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the tutorial works: a HOME and a folder for temporary files of its own, and no CamVid.

    Its kernel inherits the environment of this process.
    """
    for name in [name for name in os.environ if name.startswith(("AWS_", "RAY_", "ROADBED_", "CAMVID"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.mark.timeout(900)
def test_the_tutorial_runs_and_shows_what_it_says(surroundings: Path) -> None:
    notebook = nbformat.read(shutil.copy(NOTEBOOK, surroundings), as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(FACTS))
    where = {"metadata": {"path": str(surroundings)}}
    try:
        NotebookClient(notebook, timeout=PATIENCE_S, kernel_name="python3", resources=where).execute()
    finally:
        for folder in surroundings.glob("roadbed-tutorial-*"):
            local.down(folder / ".roadbed")
    facts: dict[str, Any] = json.loads(notebook.cells[-1].outputs[0].text)
    assert facts["by_hand"] == pytest.approx(facts["by_roadbed"], abs=1e-9)
    assert facts["by_hand"] > 0.3  # a model that never looks at the picture has 0.2, one without training less
    assert facts["lazy"] < 0.25
    assert facts["lazy_accuracy"] > 0.5
    assert facts["by_frame"] > facts["by_drive"] + 0.1
    assert facts["equal_share"] == 1.0
    assert facts["tuned"]["from-champion val"] > facts["tuned"]["from-imagenet val"]
    assert facts["status"] == 0
    assert facts["ended"]


def test_its_pictures_are_there_and_nothing_of_a_machine() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    text = NOTEBOOK.read_text(encoding="utf-8")
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) >= 20
    assert all(output.output_type != "error" for output in outputs)
    assert len(text) < 1_500_000
    said = "".join(output.get("text", "") for output in outputs)
    for trace in ("/tmp/", "/home/", "/root/", "/Users/", "127.0.0.1:", "pid="):
        assert trace not in said, trace
