"""Objects from where they are written: YAML files, charts rendered by helm, kustomize folders built by kubectl.

Runs the helm and kubectl binaries, which talk to no cluster here.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from roadbed.errors import RoadbedError, UsageError
from roadbed.kube.schemas import child_path

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SOURCE = re.compile(r"^# Source: (.+)$", re.MULTILINE)
_RENDER_TIMEOUT_S = 120


@dataclass(frozen=True)
class Written:
    """An object with the place where it is written, and the paths of keys that are given twice there."""

    obj: Any
    source: str
    duplicates: tuple[str, ...] = ()


def read_text(text: str, *, origin: str) -> list[Written]:
    """The objects of a YAML text; those of a List one by one, empty documents left out.

    Raises UsageError if it is no YAML, or not such as JSON can hold.
    """
    loader = _LOADER(text)
    written = []
    try:
        while loader.check_node():
            node: Any = loader.get_node()
            duplicates = tuple(_duplicates(node, ""))
            # Through JSON, as the API server gets it: dates become texts, and so do all keys.
            obj = json.loads(json.dumps(loader.construct_document(node), default=str))
            source = _source(text, node.start_mark.line) or origin
            for item in _unpacked(obj):
                written.append(Written(item, source, duplicates))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"{origin}: not YAML of Kubernetes objects: {error}") from None
    finally:
        loader.dispose()
    return written


def read_chart(chart: Path, values: Sequence[Path], *, release: str, namespace: str) -> list[Written]:
    """The objects that `helm template` makes of a chart.

    Raises RoadbedError with helm's words if it refuses the chart or its values.
    """
    command = [binary("helm"), "template", release, str(chart), "--namespace", namespace]
    for path in values:
        command += ["--values", str(path)]
    return read_text(_run(command), origin=str(chart))


def read_kustomization(folder: Path) -> list[Written]:
    """The objects that `kubectl kustomize` makes of a folder. Raises RoadbedError with its words if it refuses."""
    return read_text(_run([binary("kubectl"), "kustomize", str(folder)]), origin=str(folder))


def binary(name: str) -> str:
    """The path of a tool, on PATH or beside the Python that runs. Raises UsageError if it is in neither."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.prefix) / "bin"))
    if not found:
        raise UsageError(f"{name} is not on PATH; install it (in a checkout of roadbed: `make install`)")
    return found


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_RENDER_TIMEOUT_S, check=False)
    if done.returncode:
        tool = Path(command[0]).name
        raise RoadbedError(f"{tool} refuses it: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return done.stdout


def _unpacked(obj: Any) -> list[Any]:
    if isinstance(obj, dict) and obj.get("kind") == "List" and isinstance(obj.get("items"), list):
        return list(obj["items"])
    return [] if obj is None else [obj]


def _source(text: str, line: int) -> str | None:
    """The file of a chart that helm names above the document that starts at `line`."""
    above = text.splitlines()[max(0, line - 3) : line]
    found = _SOURCE.search("\n".join(above))
    return found[1] if found else None


def _duplicates(node: Any, path: str) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            where = child_path(path, key.value if isinstance(key, yaml.ScalarNode) else "?")
            if where in seen and not where.endswith("<<]"):
                yield where
            seen.add(where)
            yield from _duplicates(value, where)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _duplicates(item, f"{path}[{index}]")
