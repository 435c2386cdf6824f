"""An evaluation as a page of its own: how good, in which classes, what is taken for what, and what it looks like.

Sections of figures are of `evaluation_sections`, frames of `evaluation_frames`, drawings of `evaluation_pictures`.
"""

from __future__ import annotations

from html import escape

from roadbed.evaluation import Comparison, Evaluation
from roadbed.evaluation.result import NAMES
from roadbed.report.curves import Lines
from roadbed.report.evaluation_frames import Look, differing_card, frames_card
from roadbed.report.evaluation_matrix import confusion_card
from roadbed.report.evaluation_sections import (
    calibration_card,
    classes_card,
    comparison_card,
    lineage_card,
    time_card,
)
from roadbed.report.evaluation_words import estimate_words
from roadbed.report.page import card, html_page
from roadbed.report.run_pictures import curves_for_page
from roadbed.report.sweep_table import one_line

STYLE = "figures.css"


def evaluation_page(
    evaluation: Evaluation,
    look: Look,
    compared: tuple[Comparison, Look] | None = None,
    *,
    trained: Lines = (),
) -> str:
    """The whole page, as HTML, under 5 MB. `look` gives frame, truth and prediction of a sample.

    `compared` is what sets it beside another, and how that one sees a sample; `trained` are the metric lines of the
    run that the version is of, where they are still there.
    """
    scoring = evaluation.scoring
    cards = [_head(evaluation, compared[0] if compared else None)]
    if compared is not None:
        cards += [comparison_card(compared[0]), differing_card(compared[0], look, compared[1])]
    cards += [classes_card(evaluation), frames_card(evaluation, look), confusion_card(evaluation)]
    cards.append(f'<div class="pair">{calibration_card(evaluation)}{time_card(evaluation)}</div>')
    cards.append(lineage_card(evaluation))
    if trained:
        cards.append(card("How it was trained", curves_for_page(trained)))
    reference = one_line(scoring.reference)
    return html_page(
        cards,
        title=f"{reference} on {one_line(scoring.split)}: an evaluation of roadbed",
        heading=reference,
        below=f"Evaluated on {len(evaluation.frames)} frames: {one_line(f'{scoring.split} of {scoring.dataset_uri}')}",
        footer=_footer(evaluation),
        styles=(STYLE,),
    )


def _head(evaluation: Evaluation, comparison: Comparison | None) -> str:
    """The figures of the split, and who is better."""
    figures = "".join(_figure(NAMES[name], *estimate_words(estimate)) for name, estimate in evaluation.overall.items())
    told = f"<p>{escape(one_line(comparison.sentence))}.</p>" if comparison else ""
    return card("", f'<dl class="figures">{figures}</dl>{told}')


def _figure(name: str, words: str, within: str) -> str:
    told = f'<b>{escape(words)}</b> <span class="faint">{escape(within)}</span>'
    return f"<div><dt>{escape(name)}</dt><dd>{told}</dd></div>"


def _footer(evaluation: Evaluation) -> str:
    draws = evaluation.bootstrap
    return (
        f"Small, beside a figure: where it lies in 95 % of {draws.num_draws} draws of the frames with repetition (seed "
        f"{draws.seed}). Frames of one drive resemble each other, so for another drive these bounds are too narrow."
    )
