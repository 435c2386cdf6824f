"""What `roadbed lint` may be given: job specs, manifests, folders, charts, stdin; and the objects in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from roadbed.errors import UsageError
from roadbed.kube.lint.faults import Fault
from roadbed.kube.lint.jobs import is_job, read_job
from roadbed.kube.lint.reading import Written, read_chart, read_kustomization, read_text

_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Settings:
    """How targets are read: the profile of job specs and the file that has it, the release of charts, the namespace."""

    profile: str | None = None
    profiles_file: Path | None = None
    release: str = "roadbed"
    namespace: str = "roadbed"


def read(targets: Sequence[str], stdin: TextIO, settings: Settings) -> tuple[list[Written], list[Fault]]:
    """The objects of all targets, and the faults of job specs from which none could be made.

    What follows a chart are its values. Raises UsageError for what cannot be read.
    """
    first = Path(targets[0])
    if (first / "Chart.yaml").is_file():
        values = [_existing(target) for target in targets[1:]]
        return read_chart(first, values, release=settings.release, namespace=settings.namespace), []
    written: list[Written] = []
    found: list[Fault] = []
    for target in targets:
        for text, origin in _texts(target, stdin):
            if is_job(text):
                objects, faults = read_job(
                    text,
                    origin=origin,
                    profile=settings.profile,
                    profiles_file=settings.profiles_file,
                    namespace=settings.namespace,
                )
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
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if _may_be_manifest(p))
    if charts := [file.parent for file in files if file.name == "Chart.yaml" and file != path]:
        raise UsageError(f"{path}: holds the chart {charts[0]}; name that by itself, and its values after it")
    if not files:
        raise UsageError(f"{path}: no YAML file is in this folder; name a file, a chart or a folder of manifests")
    try:
        return [(file.read_text(encoding="utf-8"), str(file)) for file in files]
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is no text: {error}") from None


def _may_be_manifest(path: Path) -> bool:
    """Whether a file of a folder is looked at: not what kustomize reads, for that is no object of the API server."""
    return path.suffix in _SUFFIXES and path.name != "kustomization.yaml"


def _existing(target: str) -> Path:
    path = Path(target)
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; name a job spec, a manifest, a folder or a chart")
    return path


def _is_kustomization(path: Path) -> bool:
    return (path / "kustomization.yaml").is_file()
