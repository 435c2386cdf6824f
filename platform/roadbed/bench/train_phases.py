"""Where the time of a step goes: the parts of some steps, timed by hooks that torch has for it.

On a CPU every call waits for its result, so the clock between hooks is the time of what lies between them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import nn

from roadbed.training.optimizer import AveragedModel

PHASES = ("data wait", "forward", "loss and backward", "optimiser", "average", "other")
"""`average` is that of the weights (EMA); `other` the journal, sums over workers, and the loop itself."""


class Phases:
    """Watches a model and its optimiser until `end`, which tells the seconds of every phase."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, averaged: AveragedModel | None = None
    ) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._last = time.perf_counter()
        self._averaged = averaged
        if averaged is not None:
            vars(averaged)["update"] = self._timed(averaged.update)
        self._hooks = [
            model.register_forward_pre_hook(lambda *_: self.mark("other")),
            model.register_forward_hook(lambda *_: self.mark("forward")),
            optimizer.register_step_pre_hook(lambda *_: self.mark("other")),
            optimizer.register_step_post_hook(lambda *_: self.mark("optimiser")),
        ]

    def mark(self, phase: str) -> None:
        """What was done since the last mark was `phase`."""
        now = time.perf_counter()
        self._seconds[phase] += now - self._last
        self._last = now

    def waited(self, seconds: float) -> None:
        """So much of "other" was waiting for data."""
        self._seconds["data wait"] += seconds
        self._seconds["other"] -= seconds

    def end(self) -> dict[str, float]:
        """Take the hooks away. Seconds by phase."""
        self.mark("other")
        for hook in self._hooks:
            hook.remove()
        if self._averaged is not None:
            del vars(self._averaged)["update"]
        return {phase: self._seconds[phase] for phase in PHASES}

    def _timed(self, update: Callable[..., None]) -> Callable[..., None]:
        def timed(*, step: int) -> None:
            self.mark("other")
            update(step=step)
            self.mark("average")

        return timed
