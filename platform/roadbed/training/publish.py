"""From a run's best checkpoint to a version in the registry, with the card that says what it is.

Copies bytes and JSON; needs neither torch nor ray.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from roadbed import __version__
from roadbed.data.dataset import Dataset
from roadbed.errors import DataError, NotFoundError
from roadbed.registry import Registry, Version
from roadbed.runs import Run
from roadbed.spec import TrainJob
from roadbed.storage import get_json

WEIGHTS = "weights.safetensors"

_PACKAGES = ("ray", "torch", "torchvision", "albumentations", "numpy", "opencv-python-headless")


def publish_best(
    job: TrainJob,
    run: Run,
    dataset: Dataset,
    registry: Registry,
    *,
    name: str,
    lineage: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Version, bool]:
    """The version of `name` made from the run's best checkpoint, and whether it is new. Its card has `lineage` too.

    A run that was published before is not published twice: a version of the same run and the same weights is returned
    as it is. Raises NotFoundError if the run has no evaluated checkpoint.
    """
    best = run.pointer().best
    if best is None:
        raise NotFoundError(f"{run.uri}: no evaluated checkpoint to publish; train it to its end first")
    folder = run.store.child(best.key)
    entry = get_json(folder, "manifest.json")["files"]["ema.safetensors"]
    for number in reversed(registry.versions(name)):
        version = registry.resolve(f"{name}:{number}")
        is_same = WEIGHTS in version.files and version.sha256(WEIGHTS) == entry["sha256"]
        if is_same and version.card().get("run", {}).get("uri") == run.uri:
            return version, False
    weights = folder.get("ema.safetensors", sha256=entry["sha256"])
    state = get_json(folder, "state.json")
    if state["dataset_digest"] != dataset.digest:
        raise DataError(
            f"{dataset.uri} has changed since run {run.name} was scored on it (dataset.json was "
            f"{state['dataset_digest'][:12]}..., is {dataset.digest[:12]}...); train a run of another name on it"
        )
    card = make_card(job, dataset, state) | {
        "run": {"name": run.name, "uri": run.uri, "attempt": best.attempt, "step": best.step},
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        **lineage,
    }
    return registry.publish(name, {WEIGHTS: weights}, card), True


def make_card(job: TrainJob, dataset: Dataset, state: dict[str, Any]) -> dict[str, Any]:
    """What a version says of itself: model, classes, data, scores on the evaluation split, environment, spec."""
    return {
        "model": job.model.model_dump(mode="json") | {"weights": "none"},
        "label_space": dataset.label_space.to_json(),
        "normalization": state["normalization"],
        "dataset": {
            "uri": dataset.uri,
            "digest": dataset.digest,
            "split": job.data.eval_split,
            "class_shares": _class_shares(dataset, job.data.train_split),
        },
        "scores": state["scores"],
        "precision": state["precision"],
        "spec": job.model_dump(mode="json"),
        "environment": environment(),
        "created_at": round(time.time(), 3),
    }


def _class_shares(dataset: Dataset, split: str) -> dict[str, float]:
    """Every class's share of the labelled pixels that were learnt from, 0 to 1: what answers are compared with."""
    pixels_K = dataset.split(split).class_pixels
    shares_K = pixels_K / max(1, int(pixels_K.sum()))
    return {name: round(float(share), 6) for name, share in zip(dataset.label_space.class_names, shares_K, strict=True)}


def environment() -> dict[str, Any]:
    """Versions of what computed it, and the commit of the source where it is a checkout."""
    packages = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        "roadbed": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": packages,
    }


def _commit() -> str | None:
    """The checked-out commit of roadbed's own source, None for an installed wheel."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, check=False)
        found = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return found.stdout.strip() or None if tracked.returncode == 0 else None
