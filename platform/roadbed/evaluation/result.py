"""An evaluation: what was counted of whom, its figures with their intervals, and all of it as plain values."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from roadbed.data.labels import LabelSpace
from roadbed.evaluation.bootstrap import COVERAGE, Bootstrap, Interval, interval
from roadbed.evaluation.calibration import UNIT
from roadbed.evaluation.scoring import Scoring
from roadbed.evaluation.tallies import Figures, FrameTally, Tallies

FORMAT_VERSION = 1
# The figures of a whole split, in the order in which they are told; all but the last are the better the higher.
OVERALL = ("miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "boundary_miou", "ece")
NAMES = {
    "miou": "mIoU",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "frequency_weighted_iou": "frequency-weighted IoU",
    "boundary_miou": "boundary mIoU",
    "ece": "calibration error (ECE)",
}


@dataclass(frozen=True)
class Estimate:
    """A figure, 0..1, and where it lies in most draws; None where nothing of it occurs."""

    value: float | None
    interval: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"value": self.value, "interval": None if self.interval is None else [*self.interval]}


@dataclass(frozen=True)
class ClassEstimates:
    """What is told of one class. `pixels` and `num_frames` are those of the truth."""

    name: str
    iou: Estimate
    accuracy: Estimate
    boundary_iou: Estimate
    pixels: int
    num_frames: int


@dataclass(frozen=True)
class Evaluation:
    """The counts of one version on one split. `workers` says in words who worked, `wall_s` how long they took."""

    scoring: Scoring
    labels: LabelSpace
    card: Mapping[str, Any]
    engine_note: str
    frames: Sequence[FrameTally]
    wall_s: float
    workers: str
    bootstrap: Bootstrap = field(default_factory=Bootstrap)

    @cached_property
    def tallies(self) -> Tallies:
        """The counts as rows, in the order of the samples."""
        return Tallies(self.frames)

    @cached_property
    def figures(self) -> Figures:
        """Of all frames together."""
        return self.tallies.figures()

    @cached_property
    def draws(self) -> Figures:
        """Of every draw of the bootstrap."""
        return self.bootstrap.figures(self.tallies)

    @cached_property
    def overall(self) -> dict[str, Estimate]:
        """The figures of the split by name, in the order of `OVERALL`; without "ece" if no confidences were counted."""
        found = {}
        for name in OVERALL:
            values = getattr(self.figures, name)
            if values is not None:
                found[name] = Estimate(_known(values[0]), interval(getattr(self.draws, name)))
        return found

    @cached_property
    def classes(self) -> list[ClassEstimates]:
        """Every class in id order."""
        truth_K = self.tallies.counts_KK.sum(axis=1)
        frames_K = np.sum([frame.counts_KK.any(axis=1) for frame in self.frames], axis=0)
        return [
            ClassEstimates(
                name=name,
                iou=self._of_class("iou_per_class", number),
                accuracy=self._of_class("accuracy_per_class", number),
                boundary_iou=self._of_class("boundary_iou_per_class", number),
                pixels=int(truth_K[number]),
                num_frames=int(frames_K[number]),
            )
            for number, name in enumerate(self.labels.class_names)
        ]

    @cached_property
    def ranked(self) -> list[tuple[FrameTally, float]]:
        """The frames that have a labelled pixel with their own mIoU, the best first; of equals the first sample."""
        mious = self.tallies.figures_of_frames().miou.tolist()
        scored = [
            (frame, miou) for frame, miou in zip(self.tallies.frames, mious, strict=True) if frame.counts_KK.any()
        ]
        return sorted(scored, key=lambda pair: -pair[1])

    @property
    def seconds(self) -> tuple[float, float, float]:
        """What reading, prediction and counting took, summed over the workers."""
        read, predicted, counted = (math.fsum(part) for part in zip(*(f.seconds for f in self.frames), strict=True))
        return read, predicted, counted

    @property
    def frame_ms(self) -> float:
        """The median time of a prediction on one thread, in milliseconds; what confidences cost is part of it."""
        return 1e3 * statistics.median(frame.seconds[1] for frame in self.frames)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON. All but `timing` is the same whoever worked."""
        scoring = self.scoring
        return {
            "format_version": FORMAT_VERSION,
            "model": {"reference": scoring.reference, "uri": scoring.version_uri},
            "dataset": {"uri": scoring.dataset_uri, "digest": scoring.dataset_digest, "split": scoring.split},
            "engine": {"name": scoring.engine, "note": self.engine_note},
            "views": scoring.views.words,
            "tile_px": None if scoring.tiles is None else [scoring.tiles.width_px, scoring.tiles.height_px],
            "boundary_dilation": scoring.dilation,
            "bootstrap": {"draws": self.bootstrap.num_draws, "seed": self.bootstrap.seed, "coverage": COVERAGE},
            "num_frames": len(self.frames),
            "scores": {name: estimate.to_json() for name, estimate in self.overall.items()},
            "classes": [self._class_json(one) for one in self.classes],
            "confusion": {"rows": "truth", "counts": self.tallies.counts_KK.tolist()},
            "calibration": self._calibration_json(),
            "frames": self._frames_json(),
            "timing": self._timing_json(),
        }

    def _of_class(self, name: str, number: int) -> Estimate:
        return Estimate(_known(getattr(self.figures, name)[0, number]), interval(getattr(self.draws, name)[:, number]))

    def _class_json(self, one: ClassEstimates) -> dict[str, Any]:
        shares = {"iou": one.iou, "accuracy": one.accuracy, "boundary_iou": one.boundary_iou}
        told = {name: estimate.to_json() for name, estimate in shares.items()}
        return {"name": one.name, **told, "pixels": one.pixels, "frames": one.num_frames}

    def _calibration_json(self) -> list[dict[str, Any]] | None:
        bins_3B = self.tallies.calibration_3B
        if bins_3B is None:
            return None
        return [
            {"pixels": pixels, "right": right, "confidence_sum": units / UNIT}
            for pixels, right, units in bins_3B.T.tolist()
        ]

    def _frames_json(self) -> list[dict[str, Any]]:
        figures = self.tallies.figures_of_frames()
        return [
            {
                "key": frame.key,
                "miou": _known(figures.miou[place]),
                "pixel_accuracy": _known(figures.pixel_accuracy[place]),
                "boundary_miou": _known(figures.boundary_miou[place]),
                "labelled_pixels": int(frame.counts_KK.sum()),
            }
            for place, frame in enumerate(self.tallies.frames)
        ]

    def _timing_json(self) -> dict[str, Any]:
        read_s, predict_s, count_s = self.seconds
        return {
            "workers": self.workers,
            "wall_s": self.wall_s,
            "frames_per_s": len(self.frames) / self.wall_s,
            "frame_ms": self.frame_ms,
            "read_s": read_s,
            "predict_s": predict_s,
            "count_s": count_s,
        }


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
