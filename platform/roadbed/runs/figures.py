"""A run in figures: what its metric lines, its status and its claims come to. Reads a run, writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from roadbed.runs.run import Run
from roadbed.runs.state import RunStatus

# The loss at the end is the mean over this share of all steps that were taken.
LAST_SHARE = 0.05

Lines = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class RunFigures:
    """`evaluations` are the metric lines that tell scores (`step`, `epoch`, `miou`, `iou_per_class`, ...), in order.

    `notices` are those that tell of nodes about to go (`step`, `notice`).
    `loss` is the mean over the last steps.
    `images_per_s` and `data_wait_share` are means over the time of all steps. `seconds` is the time that the attempts
    took whose steps count, from claim to last line: waiting between attempts is no part of it, nor work that was lost.
    """

    name: str
    state: str
    reason: str | None
    step: int
    num_steps: int | None
    num_attempts: int
    num_workers: int | None
    loss: float | None
    evaluations: Lines
    notices: Lines
    images_per_s: float | None
    data_wait_share: float | None
    seconds: float

    @classmethod
    def of(cls, run: Run, status: RunStatus) -> RunFigures:
        """The figures of a run whose status is given."""
        attempts = run.lines_of_attempts("metrics")
        lines = [line for _, of_attempt in attempts for line in of_attempt]
        steps = [line for line in lines if "loss" in line]
        return cls(
            name=run.name,
            state=status.state,
            reason=status.reason,
            step=status.step,
            num_steps=status.progress.get("num_steps"),
            num_attempts=len(attempts),
            num_workers=attempts[-1][0].get("num_workers") if attempts else None,
            loss=_last_loss(steps),
            evaluations=[*{(line["step"], line["epoch"]): line for line in lines if "miou" in line}.values()],
            notices=[line for line in lines if "notice" in line],
            images_per_s=mean_over_time(steps, "images_per_s"),
            data_wait_share=mean_over_time(steps, "data_wait_share"),
            seconds=sum(_seconds(claim, of_attempt) for claim, of_attempt in attempts),
        )

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The evaluation of the highest mIoU, the first of several; None before the first."""
        return max(self.evaluations, key=lambda line: float(line["miou"]), default=None)

    @property
    def last(self) -> Mapping[str, Any] | None:
        """The last evaluation, None before the first."""
        return self.evaluations[-1] if self.evaluations else None

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON, under the field names, with `best` and `last` instead of all evaluations."""
        return {key: value for key, value in asdict(self).items() if key != "evaluations"} | {
            "best": self.best,
            "last": self.last,
        }


def _last_loss(steps: Lines) -> float | None:
    chosen = steps[-max(1, round(LAST_SHARE * len(steps))) :]
    return float(sum(line["loss"] for line in chosen)) / len(chosen) if chosen else None


def mean_over_time(steps: Lines, key: str) -> float | None:
    """The mean of a value of steps, each weighed by its time: one over its images per second. None without steps."""
    timed = [(1 / line["images_per_s"], line[key]) for line in steps if line.get("images_per_s")]
    total = float(sum(time for time, _ in timed))
    return float(sum(time * value for time, value in timed)) / total if timed else None


def _seconds(claim: Mapping[str, Any], lines: Lines) -> float:
    times = [line["at"] for line in lines if "at" in line]
    return max(0.0, max(times) - claim["claimed_at"]) if times else 0.0
