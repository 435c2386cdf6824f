"""What the tests of the endpoint share: small versions in a registry, a service that follows them, and pictures."""

from __future__ import annotations

import functools
import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from roadbed.bench.tree import tree_of
from roadbed.data.labels import CAMVID_11
from roadbed.models import build_model
from roadbed.registry import Gates, Registry
from roadbed.serving.follower import Follower
from roadbed.serving.service import Service
from roadbed.spec import ModelSpec
from roadbed.spec.serve import ServeSpec
from sinks import Counted

SPEC = ModelSpec(weights="none", head_channels=16)
SCORES = {"miou": 0.5, "pixel_accuracy": 0.8, "mean_accuracy": 0.6, "iou_per_class": {}}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@functools.cache
def weights(seed: int) -> bytes:
    """Weights that have learnt nothing, but answer with many classes: fresh ones give every pixel the same class."""
    torch.manual_seed(seed)
    model = build_model(SPEC, num_classes=11)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    noise_BCHW = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        model.train()(noise_BCHW)
        model.head.classifier.bias -= model.eval()(noise_BCHW).mean((0, 2, 3))
    return safetensors.torch.save(model.state_dict())


def publish(registry: Registry, *, seed: int = 0, **card: Any) -> int:
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


def made(registry: Registry, metrics: Counted | None = None, clock: Clock | None = None, **spec: Any) -> Service:
    serve = ServeSpec.parse({"model": "road@champion", "engine": "torch"} | spec, origin="test")
    metrics = metrics or Counted()
    return Service(serve, Follower(serve, registry, metrics=metrics, clock=clock or Clock()), metrics=metrics)


def pixels(height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3)).astype(np.uint8)


def saved(image: np.ndarray | Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, format=kind, **settings)
    return buffer.getvalue()


def replicas_below(pid: int) -> list[int]:
    """Processes of replicas among the descendants of one that we started."""
    found = []
    for member in tree_of(pid):
        with suppress(OSError):
            if b"ServeReplica" in Path(f"/proc/{member}/cmdline").read_bytes():
                found.append(member)
    return found
