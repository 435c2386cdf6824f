"""Sections of a sweep's page that are bars and lists: what mattered, what it cost, what changed on the way."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from roadbed.report.page import bar, card
from roadbed.report.sweep_curves import changed_keys
from roadbed.report.sweep_pictures import changes_for_page
from roadbed.report.sweep_table import number_words, one_line, short_names, value_words
from roadbed.tuning.results import SweepResult, Trial
from roadbed.words import duration, percent

BARS_SHOWN = 15


def importance_card(result: SweepResult) -> str:
    """A bar per value that was searched, the most important first, or why there is none."""
    names = short_names(result.parameters)
    shares = sorted(result.importance.items(), key=lambda item: (-item[1], item[0]))
    if not shares:
        told = "Not told: that takes eight trials with scores after the same epoch, and values that differ."
        return card("What mattered", f'<p class="faint">{told}</p>')
    most = max(share for _, share in shares)
    bars = [
        bar(names.get(key, one_line(key)), percent(share), share / most if most > 0 else 0.0) for key, share in shares
    ]
    epoch = "" if result.importance_epoch is None else f" after epoch {result.importance_epoch:g}"
    told = f"The share of the differences between scores{epoch} that goes with each value. Few trials tell it roughly."
    return card("What mattered", f'<p class="faint">{told}</p><ul class="bars">{"".join(bars)}</ul>')


def cost_card(result: SweepResult) -> str:
    """What the sweep cost, and a bar per trial, the dearest first."""
    worker_s, gpu_s = sum(trial.worker_s for trial in result.trials), sum(trial.gpu_s for trial in result.trials)
    told = f"{duration(worker_s)} of workers" + (f", {duration(gpu_s)} of GPUs" if gpu_s else "") + " in all."
    dearest = sorted(result.trials, key=lambda trial: (-trial.worker_s, trial.number))
    most_s = max((trial.worker_s for trial in dearest), default=0.0)
    bars = [_cost_bar(trial, most_s, is_best=trial is result.winner) for trial in dearest[:BARS_SHOWN]]
    others = dearest[BARS_SHOWN:]
    rest = ""
    if others:
        rest_s = sum(trial.worker_s for trial in others)
        rest = f'<p class="faint">The other {len(others)} trials took {duration(rest_s)} of workers.</p>'
    return card("What it cost", f'<p class="faint">{told}</p><ul class="bars">{"".join(bars)}</ul>{rest}')


def changes_card(result: SweepResult) -> str:
    """What trials changed on their way: drawn, the winner's way as a list, then every change; "" without any."""
    changed = [trial for trial in sorted(result.trials, key=lambda trial: trial.number) if trial.changes]
    if not changed:
        return ""
    lists = "".join(f"<h3>Trial {trial.number}</h3>{_changes(result, trial)}" for trial in changed)
    num_changes = sum(len(trial.changes) for trial in changed)
    every = f"<details><summary>All changes: {num_changes}</summary>{lists}</details>"
    return card("Values that changed on the way", changes_for_page(result) + _way(result) + every)


def _way(result: SweepResult) -> str:
    """The stretches that led to the winner's weights; HTML."""
    if result.winner is None:
        return ""
    names, keys = short_names(result.parameters), changed_keys(result)
    items = []
    for stretch in result.lineage(result.winner):
        values = _assigned({names[key]: stretch.values[key] for key in keys if key in stretch.values})
        span = f"epochs {number_words(stretch.begin)} to {number_words(stretch.end)}"
        items.append(f"<li>{span} in trial {stretch.trial}: {escape(values)}</li>")
    return f'<h3>The way to the best weights</h3><ol class="steps">{"".join(items)}</ol>'


def _changes(result: SweepResult, trial: Trial) -> str:
    names = short_names(result.parameters)
    items = []
    for change in trial.changes:
        values = _assigned({names[key]: value for key, value in change.values.items()})
        told = f"from epoch {number_words(change.epoch)} on with the weights of trial {change.donor}: {values}"
        items.append(f"<li>{escape(told)}</li>")
    return f'<ul class="steps">{"".join(items)}</ul>'


def _assigned(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value_words(value)}" for name, value in values.items())


def _cost_bar(trial: Trial, most_s: float, *, is_best: bool) -> str:
    told = duration(trial.worker_s) + (f", GPUs {duration(trial.gpu_s)}" if trial.gpu_s else "")
    return bar(f"trial {trial.number}", told, trial.worker_s / most_s if most_s > 0 else 0.0, is_best=is_best)
