"""Two versions on the same frames: is the second better, how sure is that, and in which classes?

The bootstrap is paired: in every draw both are scored on the same frames, so what is hard for both cancels out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from roadbed.evaluation.bootstrap import Interval, interval
from roadbed.evaluation.result import OVERALL, Evaluation

Verdict = Literal["better", "worse", "undecided"]
LOWER_IS_BETTER = "ece"


@dataclass(frozen=True)
class Difference:
    """The second's figure less the first's, and the share of draws in which the second is the better one.

    Draws in which both are equal count as half. All is None where one of them has no such figure.
    """

    name: str
    first: float | None
    second: float | None
    difference: float | None
    interval: Interval | None
    probability: float | None
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        bounds = None if self.interval is None else [*self.interval]
        return {
            "first": self.first,
            "second": self.second,
            "difference": self.difference,
            "interval": bounds,
            "probability_second_is_better": self.probability,
            "verdict": self.verdict,
        }


class Comparison:
    """Two evaluations of the same frames, counted in the same way. Raises ValueError for others."""

    def __init__(self, first: Evaluation, second: Evaluation) -> None:
        samples = [[(frame.sample, frame.key) for frame in one.tallies.frames] for one in (first, second)]
        if first.scoring.dataset_digest != second.scoring.dataset_digest or samples[0] != samples[1]:
            raise ValueError("the two were not evaluated on the same frames")
        if first.bootstrap != second.bootstrap or first.scoring.dilation != second.scoring.dilation:
            raise ValueError("the two were not counted and drawn in the same way")
        self.first, self.second = first, second

    @cached_property
    def overall(self) -> list[Difference]:
        """The figures of the split that both have."""
        return [
            self._difference(name, name, None)
            for name in OVERALL
            if name in self.first.overall and name in self.second.overall
        ]

    @cached_property
    def classes(self) -> list[Difference]:
        """The IoU of every class, in id order."""
        names = self.first.labels.class_names
        return [self._difference(name, "iou_per_class", number) for number, name in enumerate(names)]

    @property
    def sentence(self) -> str:
        """Who is better, for people."""
        miou = self.overall[0]
        assert miou.difference is not None
        assert miou.interval is not None
        assert miou.probability is not None
        low, high = (100 * bound for bound in miou.interval)
        second, first = self.second.scoring.reference, self.first.scoring.reference
        told = {
            "better": f"{second} is better than {first}",
            "worse": f"{second} is worse than {first}",
            "undecided": f"whether {second} is better than {first} these frames do not tell",
        }[miou.verdict]
        return (
            f"{told}: mIoU {100 * miou.difference:+.1f} points, 95 % of the draws within {low:+.1f} to {high:+.1f}; "
            f"better in {100 * miou.probability:.1f} % of them"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "first": self.first.scoring.reference,
            "second": self.second.scoring.reference,
            "scores": {one.name: one.to_json() for one in self.overall},
            "iou_per_class": {one.name: one.to_json() for one in self.classes},
        }

    def _difference(self, name: str, figure: str, number: int | None) -> Difference:
        column = slice(None) if number is None else (slice(None), number)
        values = [float(getattr(one.figures, figure)[column][0]) for one in (self.first, self.second)]
        first, second = (None if np.isnan(value) else value for value in values)
        if first is None or second is None:
            return Difference(name, first, second, None, None, None, "undecided")
        draws_R = getattr(self.second.draws, figure)[column] - getattr(self.first.draws, figure)[column]
        draws_R = draws_R[np.isfinite(draws_R)]
        gains_R = -draws_R if figure == LOWER_IS_BETTER else draws_R
        bounds = interval(draws_R)
        return Difference(
            name,
            first,
            second,
            second - first,
            bounds,
            float((gains_R > 0).mean() + (gains_R == 0).mean() / 2) if len(gains_R) else None,
            _verdict(interval(gains_R)),
        )


def _verdict(gain: Interval | None) -> Verdict:
    if gain is None or gain[0] <= 0 <= gain[1]:
        return "undecided"
    return "better" if gain[0] > 0 else "worse"
