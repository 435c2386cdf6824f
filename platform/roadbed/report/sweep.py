"""A sweep as a page of its own: who won, every trial, their curves, their values, what mattered and what it cost.

Its drawings are of `sweep_pictures`, its rows of `sweep_rows`, its other sections of `sweep_sections`.
"""

from __future__ import annotations

from collections import Counter
from html import escape

from roadbed.report.inline import SCORE_INKS
from roadbed.report.page import card, html_page
from roadbed.report.sweep_curves import trials_without_curve
from roadbed.report.sweep_pictures import curves_for_page, parallel_for_page
from roadbed.report.sweep_rows import rows_card
from roadbed.report.sweep_sections import changes_card, cost_card, importance_card
from roadbed.report.sweep_table import (
    is_share,
    metric_name,
    number_words,
    one_line,
    override_words,
    score_words,
)
from roadbed.tuning.results import SweepResult, Trial
from roadbed.words import duration

NO_BREAK = "\N{NO-BREAK SPACE}"
RAMP = "".join(f'<i style="background:var(--score-{number})"></i>' for number in range(len(SCORE_INKS)))


def sweep_page(result: SweepResult) -> str:
    """The whole page, as HTML."""
    cards = [_head(result), rows_card(result), *_drawings(result)]
    cards.append(f'<div class="pair">{importance_card(result)}{cost_card(result)}</div>')
    cards.append(changes_card(result))
    name, direction = one_line(result.name), "highest" if result.mode == "max" else "lowest"
    return html_page(
        cards,
        title=f"{name}: a sweep of roadbed",
        heading=name,
        below=f"A sweep for the {direction} {metric_name(result.metric)}",
        footer="Every trial is a run: roadbed runs show NAME tells all of it.",
    )


def _head(result: SweepResult) -> str:
    winner = result.winner
    lines = [f'<p id="won">{_won(result, winner)}</p>', f"<p>{escape(_effort(result))}</p>"]
    if result.registered is not None:
        lines.append(f"<p>Registered as <code>{escape(one_line(result.registered))}</code>.</p>")
    if winner is not None and winner.values:
        lines.append(_settings(winner))
    return card("", "".join(lines))


def _won(result: SweepResult, winner: Trial | None) -> str:
    """The sentence that tells who won; HTML."""
    trials = _count(len(result.trials), "trial")
    if winner is None:
        has_failed = bool(result.trials) and all(trial.state == "failed" for trial in result.trials)
        return (
            f"All {trials} failed." if has_failed and len(result.trials) > 1 else f"None of {trials} has a score yet."
        )
    score = escape(f"{metric_name(result.metric)} {score_words(result.metric, result.score(winner))}")
    score = score.replace(" ", NO_BREAK)
    verb = "won with" if result.is_over else "leads with"
    against = escape(_against_baseline(result, winner)).replace(" %", f"{NO_BREAK}%")
    return f"Trial {winner.number} {verb} <b>{score}</b>, the best of {trials}{against}."


def _against_baseline(result: SweepResult, winner: Trial) -> str:
    score = result.score(winner)
    if result.baseline is None or score is None:
        return ""
    before = score_words(result.metric, result.baseline.score)
    difference = score - result.baseline.score
    told = f"{100 * difference:+.1f} points" if is_share(result.metric) else f"{difference:+.4g}"
    return f"; before the sweep {one_line(result.baseline.run)} had {before} ({told})"


def _effort(result: SweepResult) -> str:
    """How many of each state, how long, and what stopping early saved."""
    states = Counter(trial.state for trial in result.trials)
    told = ", ".join(
        f"{states[state]} {state}" for state in ("finished", "stopped", "failed", "running", "waiting") if states[state]
    )
    verb = "It took" if result.is_over else "So far it has taken"
    sentences = [f"{told}." if told else "No trial yet.", f"{verb} {duration(result.wall_s)}."]
    planned, saved = result.epochs_planned, result.epochs_saved
    sentences.append(f"Epochs trained: {number_words(result.epochs)} of {planned} planned.")
    if saved and planned:
        share = f"{100 * saved / planned:.0f} %"
        sentences.append(f"Stopping trials early saved {number_words(saved)} epochs, {share} of what all would take.")
    return " ".join(sentences)


def _settings(winner: Trial) -> str:
    """The winner's values as what gives another run the same ones."""
    texts = "".join(f"<code>--set {escape(text)}</code>" for text in override_words(winner.last_values))
    last = ", as they were at its end" if winner.changes else ""
    return f'<p class="faint">The same values for another run{last}:</p><div id="settings">{texts}</div>'


def _drawings(result: SweepResult) -> list[str]:
    curves = curves_for_page(result)
    absent = trials_without_curve(result)
    note = f'<p class="faint">{escape(absent)}</p>' if absent else ""
    num_scored = sum(result.score(trial) is not None for trial in result.trials)
    key = f'<p class="faint ramp">{RAMP} worst to best score</p>' if num_scored > 1 else ""
    last = '<p class="faint">Where values changed on the way, the last are drawn.</p>' if _has_changes(result) else ""
    cards = [card("Scores over epochs", key + curves + note)]
    if result.parameters and result.trials:
        cards.append(card("Values and scores", key + last + parallel_for_page(result)))
    return cards


def _has_changes(result: SweepResult) -> bool:
    return any(trial.changes for trial in result.trials)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
