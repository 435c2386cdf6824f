"""A job spec to begin with: sizes and numbers that suit a folder's frames, everything else as it is by default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

# Enough steps to see whether it learns, in minutes to an hour on a few CPU cores.
STEPS = 1500
LEAST_EPOCHS, MOST_EPOCHS = 10, 100
BATCH = 8
EVALUATIONS = 10
SMALLEST_CROP_PX, LARGEST_CROP_PX, CROP_STEP_PX = 64, 512, 16


# Of training from ImageNet's weights, and of going on from a model of the same kind.
LEARNING_RATE, TUNING_RATE = 0.003, 0.001
FIRST_MODEL = {"architecture": "deeplabv3plus", "backbone": "efficientnet_lite0", "weights": "imagenet"}


@dataclass(frozen=True)
class Ancestor:
    """A version to go on from: how a spec names it, and the `model` section that it was trained with (of its card)."""

    reference: str
    model: Mapping[str, Any]


def propose_job(name: str, *, num_train: int, frame_px: tuple[int, int], ancestor: Ancestor | None = None) -> str:
    """The text of a spec of kind train for `num_train` frames of `frame_px` (height, width), for `roadbed train`.

    With an `ancestor` it goes on from those weights, with a new classifier where the classes are others.
    """
    model: Mapping[str, Any] = FIRST_MODEL
    if ancestor is not None:
        model = {**ancestor.model, "weights": ancestor.reference, "new_classifier": True}
    section = yaml.safe_dump({"model": dict(model)}, sort_keys=False).rstrip()
    batch = max(min(BATCH, num_train), 1)
    epochs = min(max(round(STEPS * batch / max(num_train, 1)), LEAST_EPOCHS), MOST_EPOCHS)
    height_px, width_px = (_crop_side(side) for side in frame_px)
    return f"""# A first training, as `roadbed data init` proposes it; `roadbed explain train` prints every field.
kind: train
name: {name}
data:
  uri: s3://roadbed/datasets/{name}
  crop_px: [{height_px}, {width_px}]
{section}
train:
  epochs: {epochs}
  global_batch: {batch}
  learning_rate: {LEARNING_RATE if ancestor is None else TUNING_RATE}
  backbone_rate_factor: 0.3
  eval_every: {max(epochs // EVALUATIONS, 1)}
workers:
  num_workers: 2
  cpus_per_worker: 1
output:
  store: s3://roadbed
  register_as: {name}
"""


def job_name(text: str) -> str:
    """A folder's name as the name of a run, a dataset and a model: small letters, digits and dashes."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return name[:40].strip("-") or "own"


def _crop_side(side_px: int) -> int:
    """Two thirds of a side of the frame, in steps that strides divide, within bounds."""
    wanted = round(2 * side_px / 3 / CROP_STEP_PX) * CROP_STEP_PX
    return min(max(wanted, SMALLEST_CROP_PX), LARGEST_CROP_PX)
