"""A sweep as rows of words: for a terminal, and for the cells of its page."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from textwrap import shorten
from typing import Any

from roadbed.tuning.results import SweepResult, Trial
from roadbed.words import duration, percent

ABSENT = "-"
"""What stands where there is no value."""
REASON_LETTERS = 60


def sweep_table(result: SweepResult) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the trials, best first, for `print_table`. Columns of GPUs and reasons come where there are any.

    The values are those that a trial ended with, or has now.
    """
    has_gpus = any(trial.gpu_s for trial in result.trials)
    has_reasons = any(trial.reason for trial in result.trials)
    names = short_names(result.parameters)
    head = ["rank", "trial", "run", "state", metric_name(result.metric), "epochs", "worker time"]
    head += ["GPU time"] * has_gpus + [names[key] for key in result.parameters] + ["reason"] * has_reasons
    rows = []
    for rank, trial in enumerate(result.ranked(), start=1):
        score = result.score(trial)
        row = [ABSENT if score is None else str(rank), str(trial.number), one_line(trial.run), trial.state]
        row += [score_words(result.metric, score), epochs_words(trial), duration(trial.worker_s)]
        row += [duration(trial.gpu_s)] * has_gpus
        row += [value_in_words(trial.last_values, key) for key in result.parameters]
        rows.append(row + [shorten(one_line(trial.reason), REASON_LETTERS)] * has_reasons)
    return head, rows


def metric_name(metric: str) -> str:
    """A metric as people write it."""
    return {"miou": "mIoU", "pixel_accuracy": "pixel accuracy"}.get(metric, one_line(metric))


def is_share(metric: str) -> bool:
    """Whether a metric is a share 0..1, which people read in percent."""
    return "iou" in metric.lower() or "accuracy" in metric.lower()


def score_words(metric: str, score: float | None) -> str:
    """A score for people: "61.2 %" of a share, four digits of anything else, "-" of None."""
    if score is None or is_share(metric):
        return percent(score)
    return f"{score:.4g}"


def value_in_words(values: Mapping[str, Any], key: str) -> str:
    """The value of a key, "-" if there is none."""
    return value_words(values[key]) if key in values else ABSENT


def value_words(value: Any) -> str:
    """A value of a spec for people: four digits, text as it is, anything else as JSON."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}"
    return json.dumps(value, default=str, ensure_ascii=False)


def override_words(values: Mapping[str, Any]) -> list[str]:
    """What gives a run these values: "train.epochs=3", each to follow a `--set`. Numbers keep all of their digits."""
    texts = {key: value if isinstance(value, str) else json.dumps(value, default=str) for key, value in values.items()}
    return [f"{key}={one_line(text)}" for key, text in texts.items()]


def epochs_words(trial: Trial) -> str:
    """Epochs trained of those planned: "3/10"."""
    return f"{number_words(trial.epochs)}/{trial.epochs_planned}"


def number_words(number: float) -> str:
    """A count that may end in a fraction: "3", "2.5"."""
    return f"{round(number, 1):g}" if abs(number) < 1e5 else f"{number:.0f}"


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Each dotted key by its last part, or whole where two end alike."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: one_line(part if last.count(part) == 1 else key) for key, part in zip(keys, last, strict=True)}


def numbers_words(numbers: Iterable[int]) -> str:
    """ "trial 3", "trials 3, 5 and 8"."""
    first = [str(number) for number in numbers]
    if len(first) == 1:
        return f"trial {first[0]}"
    return f"trials {', '.join(first[:-1])} and {first[-1]}"


def one_line(text: str) -> str:
    """Text without line breaks and control characters."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(text.split()))
