"""A small model in a registry, and pictures to ask it about."""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from roadbed.data.labels import CAMVID_11
from roadbed.models import build_model
from roadbed.registry import Gates, Registry
from roadbed.spec import ModelSpec

SPEC = ModelSpec(weights="none", head_channels=16)
SCORES = {"miou": 0.5, "pixel_accuracy": 0.8, "mean_accuracy": 0.6, "iou_per_class": {}}


@functools.cache
def weights(seed: int) -> bytes:
    torch.manual_seed(seed)
    return safetensors.torch.save(build_model(SPEC, num_classes=11).state_dict())


def publish(registry: Registry, *, seed: int = 0, **card: Any) -> int:
    """The number of a new version of the model `road`; another seed is another model."""
    facts = {
        "model": SPEC.model_dump(mode="json"),
        "label_space": CAMVID_11.to_json(),
        "normalization": {"mean": [0.3, 0.4, 0.5], "std": [0.2, 0.3, 0.4]},
        "scores": SCORES,
        "dataset": {"uri": "s3://roadbed/datasets/camvid", "digest": "0" * 64, "split": "val"},
    }
    return registry.publish("road", {"weights.safetensors": weights(seed)}, facts | card).number


def promote(registry: Registry, number: int) -> None:
    registry.promote("road", number, gates=Gates(), force=True, by="test")


def pixels(height: int = 48, width: int = 64) -> np.ndarray:
    """Noise."""
    return np.random.default_rng(7).integers(0, 256, (height, width, 3)).astype(np.uint8)


def saved(image: np.ndarray | Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, format=kind, **settings)
    return buffer.getvalue()
