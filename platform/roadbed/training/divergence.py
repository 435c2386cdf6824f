"""Whether a training still descends: judged by the losses of its steps alone, which are the same on every worker.

Pure: reads and writes nothing. Checkpoints keep the losses that measure: a resumed training is judged as before.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence
from typing import Literal

Verdict = Literal["sound", "suspicious", "exploded"]

ADVICE = "Lower train.learning_rate, set train.clip_norm, or try train.precision: fp32, under another name"

WINDOW_STEPS = 64
FIRST_STEPS = 8
"""So many losses are needed before one can be called too large. Those of the first steps are a training's largest."""
PATIENCE_STEPS = 5
"""So many steps in a row make an explosion; a hard batch is one, or two."""
SMALLEST_MEASURE = 0.1
"""A median below this counts as this: where almost nothing is left to learn one hard batch is many times the median."""

_NUM_TOLD = 16


class LossWatch:
    """Tells a loss that explodes from one that merely varies.

    A loss is suspicious above `factor` times the median of the last sound ones, and exploded when it is the
    PATIENCE_STEPS-th in a row, or no number. With `factor` 0 only what is no number counts.
    """

    def __init__(self, *, factor: float, sound: Sequence[float] = ()) -> None:
        """`sound` are the losses of an earlier attempt, as `sound` gave them."""
        self._factor = factor
        self._sound: deque[float] = deque(sound, maxlen=WINDOW_STEPS)
        self.num_suspicious = 0
        """How many of the newest losses in a row were not sound."""

    @property
    def sound(self) -> list[float]:
        """The last sound losses, oldest first."""
        return [*self._sound]

    @property
    def measure(self) -> float | None:
        """The median that losses are measured by, None as long as there are too few."""
        if len(self._sound) < FIRST_STEPS:
            return None
        return max(statistics.median(self._sound), SMALLEST_MEASURE)

    def describe(self, loss: float, *, norm: float) -> str:
        """Why a step ends the training whose loss, or norm of gradients, was judged just now."""
        if not math.isfinite(loss):
            return f"is {loss}"
        if not math.isfinite(norm):
            return f"is {loss:.4g}, but the norm of its gradients {norm}"
        return (
            f"is {loss:.4g}, for {self.num_suspicious} steps in a row more than {self._factor:g} times "
            f"(train.explode_factor) the {self.measure:.4g} that it was before,"
        )

    def judge(self, loss: float) -> Verdict:
        """What the loss of the next step is; steps come in order."""
        if not math.isfinite(loss):
            return "exploded"
        measure = self.measure
        if not self._factor or measure is None or loss <= self._factor * measure:
            self._sound.append(loss)
            self.num_suspicious = 0
            return "sound"
        self.num_suspicious += 1
        return "exploded" if self.num_suspicious >= PATIENCE_STEPS else "suspicious"


def shortened(shares: Sequence[Sequence[str]]) -> str:
    """The sample keys of a step by worker, as many as are of use, in one line."""
    keys = [key for share in shares for key in share]
    return ", ".join(keys[:_NUM_TOLD]) + (f" and {len(keys) - _NUM_TOLD} more" if len(keys) > _NUM_TOLD else "")
