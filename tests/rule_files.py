"""The chart's alerts and recording rules as promtool reads them, and the series that PromQL names."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[1] / "helm" / "roadbed"
ALERTS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CHART / "alerts").glob("*.yaml"))}
RECORDINGS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CHART / "recordings").glob("*.yaml"))}

_AGGREGATED = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\b\s*(?:\([^)]*\))?")
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTORS = re.compile(r"\{[^}]*\}")
_RANGES = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_NAMES = re.compile(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])")
_WORDS = {"and", "or", "unless", "bool"}


def recorded_series() -> dict[str, str]:
    """The expression of every recorded series."""
    return {rule["record"]: rule["expr"] for rules in RECORDINGS.values() for rule in rules["rules"]}


def series_of(expression: str) -> set[str]:
    """The names of series in an expression; functions, labels and words of the language left out."""
    bare = _RANGES.sub("", _AGGREGATED.sub("", _SELECTORS.sub("", _STRINGS.sub("", expression))))
    return set(_NAMES.findall(bare)) - _WORDS


def without_variables(expression: str, *, choice: str = "x") -> str:
    """What Grafana makes of an expression before Prometheus reads it, where `choice` is chosen of every variable."""
    for variable, value in {"$__rate_interval": "5m", "$__range": "6h"}.items():
        expression = expression.replace(variable, value)
    return re.sub(r"\$\w+", lambda _: choice, expression)


def promtool(*arguments: str) -> str:
    """What promtool says, errors and all; the test is skipped where it is not there."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not there: `apt-get install prometheus` brings it")
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def written(path: Path, document: Mapping[str, Any]) -> str:
    """The path of a new YAML file."""
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return str(path)
