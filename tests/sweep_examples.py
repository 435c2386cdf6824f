"""Sweeps to report on: what a scheduler leaves of twelve trials, a population that changed its values, and many."""

from __future__ import annotations

import math
import random
from typing import Any

from roadbed.tuning.results import Baseline, Change, SweepResult, Trial

EPOCHS = 27


def trial(number: int, scores: list[float] | None = None, **given: Any) -> Trial:
    """A trial that was evaluated after every epoch, finished if nothing else is given."""
    curve = tuple((float(epoch), score) for epoch, score in enumerate(scores or [], start=1))
    usual: dict[str, Any] = {
        "run": f"camvid-tune-{number:03d}",
        "values": {"train.learning_rate": 0.001 * (number + 1)},
        "state": "finished",
        "reason": "",
        "epochs": float(len(curve)),
        "epochs_planned": max(len(curve), 1),
        "worker_s": 60.0 * len(curve),
        "gpu_s": 0.0,
    }
    return Trial(number=number, curve=curve, **(usual | given))


def sweep(*trials: Trial, **given: Any) -> SweepResult:
    usual: dict[str, Any] = {"name": "camvid-tune", "metric": "miou", "mode": "max", "wall_s": 4000.0}
    return SweepResult(trials=tuple(trials), **(usual | given))


def rising(top: float, epochs: int, dice: random.Random) -> list[float]:
    """Scores that rise to `top` as those of a training do."""
    return [top * (1 - 0.75 * math.exp(-epoch / 5)) + dice.uniform(-0.012, 0.012) for epoch in range(1, epochs + 1)]


def drawn_values(dice: random.Random) -> dict[str, Any]:
    """One draw from a space of rates, choices, and one value that only one of the choices has."""
    schedule = dice.choice(["poly", "cosine"])
    values = {
        "train.learning_rate": 10 ** dice.uniform(-4, -2),
        "train.weight_decay": 10 ** dice.uniform(-5, -1.3),
        "train.backbone_rate_factor": dice.uniform(0.05, 1),
        "train.global_batch": dice.choice([4, 8, 16]),
        "train.schedule": schedule,
        "data.augment.flip": dice.choice([True, False]),
    }
    return values | ({"train.poly_power": dice.uniform(0.6, 1.4)} if schedule == "poly" else {})


def asha_sweep(num_trials: int = 12) -> SweepResult:
    """Stopped at 3 and 9 of 27 epochs by score; trial 4 failed, and trial 6 before its first evaluation."""
    dice = random.Random(7)
    trials = []
    for number in range(num_trials):
        values = drawn_values(dice)
        miss = abs(math.log10(values["train.learning_rate"]) + 2.7) + 0.2 * (values["train.schedule"] == "cosine")
        top = 0.66 - 0.16 * miss + dice.uniform(-0.02, 0.02)
        epochs = EPOCHS if top > 0.6 else 9 if top > 0.54 else 3
        state, reason = (
            ("finished", "") if epochs == EPOCHS else ("stopped", f"ASHA: not in the best third at epoch {epochs}")
        )
        if number % 12 == 4:
            epochs, state = 5, "failed"
            reason = "step 310: the loss is nan; take a smaller train.learning_rate or set train.clip_norm"
        if number % 12 == 6:
            epochs, state, reason = 0, "failed", "the dataset's shard train-00003.tar is damaged"
        trials.append(
            trial(
                number,
                rising(top, epochs, dice),
                values=values,
                state=state,
                reason=reason,
                epochs_planned=EPOCHS,
                epochs=epochs + (0.4 if state == "failed" else 0),
                worker_s=epochs * dice.uniform(80, 110) + 20,
            )
        )
    importance = {
        "train.learning_rate": 0.58,
        "train.schedule": 0.17,
        "train.weight_decay": 0.11,
        "train.poly_power": 0.06,
    }
    importance |= {"train.backbone_rate_factor": 0.05, "train.global_batch": 0.02, "data.augment.flip": 0.01}
    return sweep(
        *trials, importance=importance, registered="camvid:4", baseline=Baseline("camvid-best", 0.587), wall_s=11_130.0
    )


def pbt_sweep() -> SweepResult:
    """Six trials; every four epochs the worst two go on from the best two with other values."""
    dice = random.Random(2)
    rates = [10 ** dice.uniform(-4.2, -1.8) for _ in range(6)]
    decays = [10 ** dice.uniform(-5, -2) for _ in range(6)]
    started = [
        {"train.learning_rate": rate, "train.weight_decay": decay} for rate, decay in zip(rates, decays, strict=True)
    ]
    now = [dict(values) for values in started]
    scores: list[list[float]] = [[] for _ in range(6)]
    level = [0.1] * 6
    changes: list[list[Change]] = [[] for _ in range(6)]
    for epoch in range(1, 21):
        for number in range(6):
            miss = abs(math.log10(now[number]["train.learning_rate"]) + 2.2 + 0.04 * epoch)
            level[number] += (0.68 - 0.1 * miss - level[number]) * 0.16 + dice.uniform(-0.006, 0.006)
            scores[number].append(level[number])
        if epoch % 4 == 0 and epoch < 20:
            order = sorted(range(6), key=lambda number: level[number])
            for worst, donor in zip(order[:2], (order[-1], order[-2]), strict=True):
                now[worst] = {key: value * dice.choice([0.8, 1.2]) for key, value in now[donor].items()}
                level[worst] = level[donor]
                changes[worst].append(Change(float(epoch), donor, now[worst]))
    trials = [
        trial(number, scores[number], values=started[number], changes=tuple(changes[number]), gpu_s=1900.0)
        for number in range(6)
    ]
    return sweep(*trials, name="camvid-population", wall_s=2 * 3600)
