"""Figures of an evaluation in words."""

from __future__ import annotations

from roadbed.evaluation import Evaluation
from roadbed.evaluation.calibration import UNIT
from roadbed.evaluation.result import Estimate
from roadbed.inference.engines import needs_files
from roadbed.words import percent


def estimate_words(estimate: Estimate) -> tuple[str, str]:
    """A figure and its interval: "61.2 %" and "58.0 to 64.1"; "-" and "" where there is none."""
    if estimate.value is None or estimate.interval is None:
        return percent(estimate.value), ""
    low, high = estimate.interval
    return percent(estimate.value), f"{100 * low:.1f} to {100 * high:.1f}"


def points(difference: float | None) -> str:
    """A difference of shares: "+1.2"; "-" of None."""
    return "-" if difference is None else f"{100 * difference:+.1f}"


def sentence_of_calibration(evaluation: Evaluation) -> str:
    """What confidences come to, and whose they are."""
    bins_3B = evaluation.tallies.calibration_3B
    if bins_3B is None:
        return "Confidences were not counted (--no-calibration)."
    pixels, right, units = (int(part.sum()) for part in bins_3B)
    surplus = units / UNIT / pixels - right / pixels
    lean = "surer than right" if surplus > 0 else "righter than sure"
    engine = evaluation.scoring.engine
    whose = f"of the logits that {engine} gives in the same pass as the mask"
    if evaluation.scoring.tiles is not None or not evaluation.scoring.views.is_one:
        whose = f"of the logits that {engine} gives, the mean over all that is seen of a frame"
    elif needs_files(engine):
        whose = f"of {engine}'s logits, which it computes in a second pass; the mask is that of the first"
    return (
        f"On the whole it is {lean} by {abs(100 * surplus):.1f} points: sure to {percent(units / UNIT / pixels)}, "
        f"right in {percent(right / pixels)}. Confidences are the softmax {whose}."
    )
