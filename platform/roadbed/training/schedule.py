"""The learning rate as a pure function of the step, so that a resumed run needs no state for it."""

from __future__ import annotations


def rate_factor(step: int, *, num_steps: int, warmup_share: float, poly_power: float) -> float:
    """The learning rate of a step over its peak: a linear rise, then the polynomial fall of DeepLab.

    `step` counts from 0. Source: Chen et al., DeepLab (arXiv:1606.00915), section 4.1.2, "poly".
    """
    warmup_steps = round(num_steps * warmup_share)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    remaining = 1 - (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return float(max(0.0, remaining) ** poly_power)
