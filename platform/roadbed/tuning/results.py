"""What a sweep came to: its trials as values, their ranking, what stopping early saved, and all of it as JSON.

Reads and writes nothing; whoever rebuilds a sweep from its runs fills these in.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Mode = Literal["max", "min"]
TrialState = Literal["waiting", "running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class Change:
    """From `epoch` on a trial goes on from the weights of trial `donor`, with these values in place of its own.

    Population based training does that: Jaderberg et al., arXiv:1711.09846.
    """

    epoch: float
    donor: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """One training run of a sweep.

    `values` are those that it began with: dotted key of the spec -> value, without those that its other values leave
    no room for. `reason` is why it failed, or which rule stopped it. `curve` has (epoch, metric) of every evaluation.
    `worker_s` and `gpu_s` are seconds times workers and GPUs.
    """

    number: int
    run: str
    values: Mapping[str, Any]
    state: TrialState
    reason: str
    curve: tuple[tuple[float, float], ...]
    epochs: float
    epochs_planned: int
    worker_s: float
    gpu_s: float
    changes: tuple[Change, ...] = ()

    def best_evaluation(self, mode: Mode) -> tuple[float, float] | None:
        """(epoch, metric) of the best evaluation, the first of equals. What is no finite number is no evaluation."""
        sign = 1 if mode == "max" else -1
        return max(self.sound_curve, key=lambda point: sign * point[1], default=None)

    def best(self, mode: Mode) -> float | None:
        """The best value of the metric; None without an evaluation."""
        evaluation = self.best_evaluation(mode)
        return None if evaluation is None else evaluation[1]

    def best_until(self, epoch: float, mode: Mode) -> float | None:
        """The best value of the metric up to `epoch`; None without an evaluation."""
        return replace(self, curve=tuple(point for point in self.curve if point[0] <= epoch)).best(mode)

    @property
    def last(self) -> float | None:
        """The newest value of the metric; None without an evaluation."""
        return self.sound_curve[-1][1] if self.sound_curve else None

    @property
    def sound_curve(self) -> tuple[tuple[float, float], ...]:
        """The curve without evaluations whose metric is no finite number."""
        return tuple(point for point in self.curve if math.isfinite(point[1]))

    def values_from(self, epoch: float) -> dict[str, Any]:
        """The values with which it trains on from `epoch`."""
        values = dict(self.values)
        for change in self.changes:
            values |= change.values if change.epoch <= epoch else {}
        return values

    @property
    def last_values(self) -> dict[str, Any]:
        """The values that it ended with, or has now."""
        return self.values_from(math.inf)


def comparable(trials: Collection[Trial], *, fewest: int) -> tuple[float | None, list[Trial]]:
    """The latest epoch that at least `fewest` trials were scored at with the values that they began with, and those.

    None and no trial, if there is no such epoch. A scheduler ends bad trials early, so that few are ever scored at the
    last one.
    """
    reached = {trial.number: _epochs_as_begun(trial) for trial in trials}
    counts = Counter(epoch for epochs in reached.values() for epoch in epochs)
    epoch = max((epoch for epoch, count in counts.items() if count >= fewest), default=None)
    return epoch, [trial for trial in trials if epoch in reached[trial.number]]


def _epochs_as_begun(trial: Trial) -> set[float]:
    """Epochs that it was scored at with the values that it began with."""
    until = min((change.epoch for change in trial.changes), default=math.inf)
    return {epoch for epoch, _ in trial.sound_curve if epoch <= until}


@dataclass(frozen=True)
class Baseline:
    """What the sweep is measured against: a run with the values that the spec had before, and its score."""

    run: str
    score: float


@dataclass(frozen=True)
class Stretch:
    """Epochs (`begin` to `end`) that weights were trained for in trial `trial` with `values`."""

    begin: float
    end: float
    trial: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class SweepResult:
    """A sweep, ended or under way. `importance` has the share of the score's spread that each value explains, 0..1, by
    the scores that trials had after `importance_epoch`.

    `registered` is the version that its winner became ("camvid:4").
    """

    name: str
    metric: str
    mode: Mode
    trials: tuple[Trial, ...]
    wall_s: float
    importance: Mapping[str, float] = field(default_factory=dict)
    importance_epoch: float | None = None
    registered: str | None = None
    baseline: Baseline | None = None

    def score(self, trial: Trial) -> float | None:
        """What a trial is ranked by."""
        return trial.best(self.mode)

    def ranked(self) -> tuple[Trial, ...]:
        """The trials, best first, those without a score last; of equals the one with the lower number first."""
        sign = -1 if self.mode == "max" else 1

        def place(trial: Trial) -> tuple[bool, float, int]:
            score = self.score(trial)
            return score is None, 0.0 if score is None else sign * score, trial.number

        return tuple(sorted(self.trials, key=place))

    @property
    def winner(self) -> Trial | None:
        """The first in rank; None as long as no trial has a score."""
        first = next(iter(self.ranked()), None)
        return None if first is None or self.score(first) is None else first

    @property
    def is_over(self) -> bool:
        """Whether no trial waits or runs."""
        return all(trial.state not in ("waiting", "running") for trial in self.trials)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The dotted keys that any trial has a value for, in the order in which they are first met."""
        trials = sorted(self.trials, key=lambda trial: trial.number)
        return tuple(dict.fromkeys(key for trial in trials for key in trial.last_values))

    @property
    def epochs(self) -> float:
        """Epochs that were trained."""
        return sum(trial.epochs for trial in self.trials)

    @property
    def epochs_planned(self) -> int:
        """Epochs of all trials, had each run to its end."""
        return sum(trial.epochs_planned for trial in self.trials)

    @property
    def epochs_saved(self) -> float:
        """Epochs that stopped trials did not train. Those that a failed trial lacks were not saved but lost."""
        stopped = [trial for trial in self.trials if trial.state == "stopped"]
        return sum(max(0.0, trial.epochs_planned - trial.epochs) for trial in stopped)

    def lineage(self, trial: Trial) -> tuple[Stretch, ...]:
        """How the weights of a trial's best evaluation came about: the stretches that led there, the oldest first.

        Without changes that is one stretch. A change leads to what its donor had trained up to the same epoch; a donor
        that is not among the trials ends the search.
        """
        trials = {one.number: one for one in self.trials}
        evaluation = trial.best_evaluation(self.mode)
        end = trial.epochs if evaluation is None else evaluation[0]
        stretches: list[Stretch] = []
        current: Trial | None = trial
        while current is not None:
            before = [change for change in current.changes if change.epoch < end]
            change = max(before, key=lambda change: change.epoch, default=None)
            begin = 0.0 if change is None else change.epoch
            stretches.append(Stretch(begin, end, current.number, current.values_from(begin)))
            current, end = (None if change is None else trials.get(change.donor)), begin
        return tuple(reversed(stretches))

    def to_json(self) -> dict[str, Any]:
        """All of it for JSON, the trials by rank; the same sweep gives the same text. What is not finite is null."""
        document = {
            "name": self.name,
            "metric": self.metric,
            "mode": self.mode,
            "is_over": self.is_over,
            "wall_s": self.wall_s,
            "epochs": self.epochs,
            "epochs_planned": self.epochs_planned,
            "epochs_saved": self.epochs_saved,
            "registered": self.registered,
            "baseline": None if self.baseline is None else vars(self.baseline),
            "importance": self.importance,
            "importance_epoch": self.importance_epoch,
            "trials": [{"rank": rank, "score": self.score(trial)} | vars(trial) for rank, trial in self._with_ranks()],
        }
        plain: dict[str, Any] = _plain(document)
        return plain

    def _with_ranks(self) -> list[tuple[int | None, Trial]]:
        return [
            (None if self.score(trial) is None else rank, trial) for rank, trial in enumerate(self.ranked(), start=1)
        ]


def _plain(value: Any) -> Any:
    """What JSON can hold: mappings in the order of their keys, tuples as lists, null for what is not finite."""
    match value:
        case Change():
            return _plain(vars(value))
        case Mapping():
            return {key: _plain(value[key]) for key in sorted(value)}
        case list() | tuple():
            return [_plain(one) for one in value]
        case float() if not math.isfinite(value):
            return None
    return value
