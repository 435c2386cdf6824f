"""What was counted of frames, a row of integers each, and the figures that sums of rows come to.

Sums first, then division: figures of all frames, of one, and of frames drawn with repetition are the same arithmetic.

Shapes: N frames, R sums of rows, C columns, K classes, B bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from roadbed.evaluation.calibration import NUM_BINS, calibration_error
from roadbed.scores import CountArray, ShareArray


@dataclass(frozen=True)
class FrameTally:
    """What was counted of one frame. `calibration_3B` is None where no confidences were asked for.

    `seconds` are what its reading, its prediction and its counting took; they are the only thing here that another run
    finds otherwise.
    """

    sample: int
    key: str
    counts_KK: CountArray
    boundary_3K: CountArray
    calibration_3B: CountArray | None
    seconds: tuple[float, float, float]


@dataclass(frozen=True)
class Figures:
    """Figures of R sums, shares 0..1, nan where there is nothing to divide by. `ece` is None without confidences."""

    miou: ShareArray
    pixel_accuracy: ShareArray
    mean_accuracy: ShareArray
    frequency_weighted_iou: ShareArray
    boundary_miou: ShareArray
    ece: ShareArray | None
    iou_per_class: ShareArray
    accuracy_per_class: ShareArray
    boundary_iou_per_class: ShareArray


class Tallies:
    """The rows of frames, in the order of their samples."""

    def __init__(self, frames: Sequence[FrameTally]) -> None:
        self.frames = sorted(frames, key=lambda frame: frame.sample)
        self.num_classes = len(frames[0].counts_KK)
        self._rows_NC = np.stack([_row(frame) for frame in self.frames])

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def counts_KK(self) -> CountArray:  # noqa: N802
        """The confusion matrix over all frames."""
        return np.asarray(sum(frame.counts_KK for frame in self.frames))

    @property
    def calibration_3B(self) -> CountArray | None:  # noqa: N802
        """The bins of confidence over all frames."""
        parts = [frame.calibration_3B for frame in self.frames if frame.calibration_3B is not None]
        return np.asarray(sum(parts)) if parts else None

    def figures(self) -> Figures:
        """Of all frames together, R = 1."""
        return self._figures(self._rows_NC.sum(axis=0, keepdims=True))

    def figures_of_frames(self) -> Figures:
        """Of every frame by itself, R = N."""
        return self._figures(self._rows_NC)

    def figures_of_draws(self, times_RN: CountArray) -> Figures:
        """Of R draws, in each of which a frame comes so many times."""
        # Whole numbers below 2 ** 53, so the product in floats, which is the fast one, is exact.
        return self._figures(times_RN.astype(np.float64) @ self._rows_NC.astype(np.float64))

    def _figures(self, sums_RC: np.ndarray[Any, Any]) -> Figures:
        num_sums, k = len(sums_RC), self.num_classes
        hits_RK, truth_RK, predicted_RK = np.moveaxis(sums_RC[:, : 3 * k].reshape(num_sums, 3, k), 1, 0)
        both_RK, edge_truth_RK, edge_RK = np.moveaxis(sums_RC[:, 3 * k : 6 * k].reshape(num_sums, 3, k), 1, 0)
        iou_RK = _divide(hits_RK, truth_RK + predicted_RK - hits_RK)
        accuracy_RK = _divide(hits_RK, truth_RK)
        boundary_RK = _divide(both_RK, edge_truth_RK + edge_RK - both_RK)
        truth_R = truth_RK.sum(axis=1)
        bins_RC = sums_RC[:, 6 * k :]
        return Figures(
            miou=_mean(iou_RK),
            pixel_accuracy=_divide(hits_RK.sum(axis=1), truth_R),
            mean_accuracy=_mean(accuracy_RK),
            frequency_weighted_iou=_divide((truth_RK * np.nan_to_num(iou_RK)).sum(axis=1), truth_R),
            boundary_miou=_mean(boundary_RK),
            ece=calibration_error(bins_RC.reshape(num_sums, 3, NUM_BINS)) if bins_RC.shape[1] else None,
            iou_per_class=iou_RK,
            accuracy_per_class=accuracy_RK,
            boundary_iou_per_class=boundary_RK,
        )


def joined(parts: Sequence[Figures]) -> Figures:
    """Figures of several sums of rows, one after the other."""

    def all_of(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays)

    return Figures(**{field.name: all_of(field.name) for field in fields(Figures)})


def _row(frame: FrameTally) -> CountArray:
    counts_KK = frame.counts_KK
    parts = [np.diag(counts_KK), counts_KK.sum(axis=1), counts_KK.sum(axis=0), frame.boundary_3K.ravel()]
    if frame.calibration_3B is not None:
        parts.append(frame.calibration_3B.ravel())
    return np.concatenate(parts)


def _divide(parts: np.ndarray[Any, Any], wholes: np.ndarray[Any, Any]) -> ShareArray:
    return np.asarray(np.divide(parts, wholes, out=np.full(parts.shape, np.nan), where=wholes > 0))


def _mean(shares_RK: ShareArray) -> ShareArray:
    """The mean over the classes that occur."""
    return _divide(np.nansum(shares_RK, axis=1), (~np.isnan(shares_RK)).sum(axis=1))
