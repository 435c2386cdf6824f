"""The learning rate as a pure function of the step, so that a resumed run needs no state for it."""

from __future__ import annotations

import math

from roadbed.spec import TrainSpec


def rate_factor(step: int, spec: TrainSpec, *, num_steps: int) -> float:
    """The learning rate of a step over its peak: a linear rise, then the fall that the spec names.

    `step` counts from 0. Sources: Chen et al., DeepLab (arXiv:1606.00915), section 4.1.2, "poly"; Loshchilov and
    Hutter (arXiv:1608.03983), cosine, without restarts.
    """
    warmup_steps = round(num_steps * spec.warmup_share)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    remaining = 1 - (step - warmup_steps) / max(1, num_steps - warmup_steps)
    if spec.schedule == "cosine":
        return 0.5 - 0.5 * math.cos(math.pi * max(0.0, remaining))
    return float(max(0.0, remaining) ** spec.poly_power)
