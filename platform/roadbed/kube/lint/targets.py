"""What `roadbed lint` may be given: job specs, manifests, folders, charts, stdin; and the objects in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import yaml

from roadbed.errors import UsageError
from roadbed.kube.lint.faults import Fault
from roadbed.kube.lint.jobs import read_job
from roadbed.kube.lint.reading import Written, read_chart, read_kustomization, read_text
from roadbed.spec.job import KINDS

_SUFFIXES = (".yaml", ".yml", ".json")


def read(
    targets: Sequence[str], stdin: TextIO, *, profile: str | None, release: str, namespace: str
) -> tuple[list[Written], list[Fault]]:
    """The objects of all targets, and the faults of job specs from which none could be made.

    What follows a chart are its values. Raises UsageError for what cannot be read.
    """
    first = Path(targets[0])
    if (first / "Chart.yaml").is_file():
        values = [_existing(target) for target in targets[1:]]
        return read_chart(first, values, release=release, namespace=namespace), []
    written: list[Written] = []
    found: list[Fault] = []
    for target in targets:
        for text, origin in _texts(target, stdin):
            if _is_job(text):
                objects, faults = read_job(text, origin=origin, profile=profile, namespace=namespace)
                written, found = written + objects, found + faults
            else:
                written += read_text(text, origin=origin)
        if _is_kustomization(Path(target)):
            written += read_kustomization(Path(target))
    return written, found


def _texts(target: str, stdin: TextIO) -> list[tuple[str, str]]:
    """(text, origin) of every file of a target."""
    if target == "-":
        return [(stdin.read(), "stdin")]
    path = _existing(target)
    if _is_kustomization(path):
        return []
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in _SUFFIXES)
    if not files:
        raise UsageError(f"{path}: no YAML file is in this folder; name a file, a chart or a folder of manifests")
    try:
        return [(file.read_text(encoding="utf-8"), str(file)) for file in files]
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is no text: {error}") from None


def _existing(target: str) -> Path:
    path = Path(target)
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; name a job spec, a manifest, a folder or a chart")
    return path


def _is_kustomization(path: Path) -> bool:
    return (path / "kustomization.yaml").is_file()


def _is_job(text: str) -> bool:
    """Whether a text is a job spec: one of its kinds, and no version of an API."""
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and "apiVersion" not in values and str(values.get("kind")) in KINDS
