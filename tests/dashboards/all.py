"""The dashboards there are, and the text of their files."""

from __future__ import annotations

import json
from pathlib import Path

from dashboards.data import DATA
from dashboards.endpoint import ENDPOINT
from dashboards.models import MODELS
from dashboards.overview import OVERVIEW
from dashboards.parts import Dashboard
from dashboards.sweep import SWEEP
from dashboards.training import TRAINING

FOLDER = Path(__file__).parents[2] / "helm" / "roadbed" / "dashboards"
DASHBOARDS: tuple[Dashboard, ...] = (OVERVIEW, TRAINING, SWEEP, ENDPOINT, DATA, MODELS)


def texts() -> dict[str, str]:
    """The content of every file, by its name."""
    return {f"{one.name}.json": json.dumps(one.to_json(), indent=1) + "\n" for one in DASHBOARDS}
