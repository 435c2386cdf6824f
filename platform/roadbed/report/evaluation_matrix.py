"""The confusion matrix of an evaluation's page: what share of a true class's pixels was taken for which class."""

from __future__ import annotations

from html import escape

import numpy as np

from roadbed.evaluation import Evaluation
from roadbed.report.page import card
from roadbed.report.sweep_table import one_line
from roadbed.scores import ShareArray
from roadbed.words import percent

# With more classes than this, those with the fewest pixels are left out of the table.
MOST_CLASSES = 40
CONFUSIONS_TOLD = 8
# A confusion of fewer pixels than this share of all is no news.
LEAST_SHARE = 1e-4


def confusion_card(evaluation: Evaluation) -> str:
    """The largest confusions in words, and the whole matrix, normalised by the truth."""
    counts_KK = evaluation.tallies.counts_KK
    names = [one_line(name) for name in evaluation.labels.class_names]
    shares_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    told = "".join(
        f"<li>{escape(f'{percent(shares_KK[truth, taken])} of {names[truth]} is taken for {names[taken]}')}</li>"
        for truth, taken in largest_confusions(evaluation)
    )
    words = f'<ul class="steps">{told}</ul>' if told else '<p class="faint">Nothing is taken for anything else.</p>'
    return card("What is taken for what", words + _table(names, shares_KK, _shown(counts_KK)))


def largest_confusions(evaluation: Evaluation, number: int = CONFUSIONS_TOLD) -> list[tuple[int, int]]:
    """Pairs of true and predicted class, by the share of the true class's pixels, without those of very few pixels."""
    counts_KK = evaluation.tallies.counts_KK
    shares_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    least = max(1.0, LEAST_SHARE * counts_KK.sum())
    pairs = [
        (int(truth), int(taken)) for truth, taken in zip(*np.nonzero(counts_KK >= least), strict=True) if truth != taken
    ]
    return sorted(pairs, key=lambda pair: -shares_KK[pair])[:number]


def _shown(counts_KK: np.ndarray) -> list[int]:
    """The classes that occur, in id order; of very many those with the most pixels."""
    weight_K = counts_KK.sum(axis=0) + counts_KK.sum(axis=1)
    there = [int(number) for number in np.argsort(-weight_K, kind="stable") if weight_K[number]]
    return sorted(there[:MOST_CLASSES])


def _table(names: list[str], shares_KK: ShareArray, shown: list[int]) -> str:
    head = "".join(f'<th scope="col"><span>{escape(names[number])}</span></th>' for number in shown)
    rows = ""
    for truth in shown:
        cells = "".join(_cell(shares_KK[truth, taken]) for taken in shown)
        rows += f'<tr><th scope="row">{escape(names[truth])}</th>{cells}</tr>'
    absent = len(names) - len(shown)
    rest = f" Not shown: {absent} classes that do not occur, or hardly." if absent else ""
    told = f"Rows are the truth, columns the prediction; per cent of the row's pixels.{rest}"
    return (
        f'<p class="faint">{escape(told)}</p>'
        '<div class="scroll matrix" role="region" tabindex="0" aria-label="Confusion matrix"><table>'
        f'<thead><tr><th scope="col"><span>truth</span></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _cell(share: float) -> str:
    if not share:
        return "<td></td>"
    words = f"{100 * share:.0f}" if share >= 0.005 else "<1"
    return f'<td style="--share:{100 * share:.0f}%">{escape(words)}</td>'
