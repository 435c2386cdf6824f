"""Evaluations without any model: painted truths, predictions that are wrong here and there, and confidences."""

from __future__ import annotations

from typing import Any

import numpy as np

from roadbed.data.labels import LabelClass, LabelSpace
from roadbed.evaluation import Bootstrap, Evaluation, Scoring
from roadbed.evaluation.boundary import boundary_counts
from roadbed.evaluation.calibration import calibration_counts
from roadbed.evaluation.tallies import FrameTally
from roadbed.scores import confusion_counts

Look = tuple[np.ndarray, np.ndarray, np.ndarray]

CARD = {
    "model": {"architecture": "deeplabv3plus", "backbone": "efficientnet_lite0", "output_stride": 16},
    "label_space": {},
    "dataset": {"uri": "s3://roadbed/datasets/camvid", "digest": "d" * 64, "split": "val"},
    "spec": {"data": {"uri": "s3://roadbed/datasets/camvid", "train_split": "train"}, "model": {"weights": "imagenet"}},
    "run": {"name": "camvid-best", "uri": "s3://roadbed/runs/camvid-best", "attempt": 1, "step": 920},
    "environment": {"roadbed": "0.1.0", "commit": "c" * 40, "packages": {"torch": "2.14.1"}},
    "weights_sha256": "e" * 64,
    "created_at": 1_790_000_000.0,
}


def label_space(num_classes: int = 5, *, name: str = "Class") -> LabelSpace:
    colors = np.random.default_rng(3).integers(30, 226, (num_classes, 3)).tolist()
    return LabelSpace("made", tuple(LabelClass(f"{name} {k}", tuple(color)) for k, color in enumerate(colors)))


def look(sample: int, *, num_classes: int = 5, wrong: float = 0.2, size_px: tuple[int, int] = (36, 48)) -> Look:
    """Frame, truth (blocks; a few unlabelled rows) and prediction; the last class is in every fourth frame alone."""
    dice = np.random.default_rng([7, sample])
    height, width = size_px
    most = num_classes if sample % 4 == 0 else max(1, num_classes - 1)
    blocks = dice.integers(0, most, (6, 8)).astype(np.uint8)
    truth_HW = np.kron(blocks, np.ones((height // 6, width // 8), np.uint8))
    guess = dice.integers(0, most, truth_HW.shape).astype(np.uint8)
    predicted_HW = np.where(dice.random(truth_HW.shape) < wrong * (0.5 + sample % 3), guess, truth_HW).astype(np.uint8)
    truth_HW[:2] = 255
    image_HW3 = np.stack([40 * np.minimum(predicted_HW, 5) + 20] * 3, axis=2).astype(np.uint8)
    return image_HW3, truth_HW, predicted_HW


def tally(
    sample: int, truth_HW: np.ndarray, predicted_HW: np.ndarray, *, num_classes: int, is_calibrated: bool = True
) -> FrameTally:
    confidence_HW = 0.3 + 0.7 * np.random.default_rng(sample).random(truth_HW.shape)
    facts = {"num_classes": num_classes, "ignore_id": 255}
    return FrameTally(
        sample=sample,
        key=f"frame_{sample:03d}",
        counts_KK=confusion_counts(truth_HW, predicted_HW, **facts),
        boundary_3K=boundary_counts(truth_HW, predicted_HW, **facts, share=0.02),
        calibration_3B=calibration_counts(truth_HW, predicted_HW, confidence_HW, ignore_id=255)
        if is_calibrated
        else None,
        seconds=(0.01, 0.2, 0.02),
    )


def evaluation(
    num_frames: int = 12,
    *,
    num_classes: int = 5,
    wrong: float = 0.2,
    reference: str = "road:1",
    labels: LabelSpace | None = None,
    draws: int = 200,
    is_calibrated: bool = True,
    card: dict[str, Any] = CARD,
    **scoring: Any,
) -> Evaluation:
    name, _, number = reference.rpartition(":")
    facts: dict[str, Any] = {
        "model": name,
        "number": int(number),
        "version_uri": f"s3://roadbed/models/{name}/versions/{number}",
        "dataset_uri": "s3://roadbed/datasets/camvid",
        "dataset_digest": "d" * 64,
        "split": "val",
        "engine": "torch",
        "dilation": 0.02,
        "is_calibrated": is_calibrated,
    }
    frames = []
    for sample in range(num_frames):
        _, truth_HW, predicted_HW = look(sample, num_classes=num_classes, wrong=wrong)
        frames.append(tally(sample, truth_HW, predicted_HW, num_classes=num_classes, is_calibrated=is_calibrated))
    return Evaluation(
        Scoring(**facts | scoring),
        labels or label_space(num_classes),
        card,
        "torch 2.14.1, float32, cpu",
        frames,
        wall_s=3.0,
        workers="2 threads",
        bootstrap=Bootstrap(draws),
    )
