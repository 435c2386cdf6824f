"""Sections of an evaluation's page: classes, a comparison, calibration, time, whence the version is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

from roadbed.evaluation import Comparison, Evaluation
from roadbed.evaluation.comparison import Difference
from roadbed.evaluation.result import NAMES, ClassEstimates
from roadbed.report.evaluation_pictures import reliability_for_page
from roadbed.report.evaluation_words import estimate_words, points, sentence_of_calibration
from roadbed.report.page import bar, card, facts
from roadbed.report.sweep_table import one_line
from roadbed.words import duration, percent


def classes_card(evaluation: Evaluation) -> str:
    """A bar of IoU per class with its interval, in id order; the colours are those of the masks."""
    total = sum(one.pixels for one in evaluation.classes)
    rows = "".join(
        _class_bar(one, color, one.pixels / total)
        for one, color in zip(evaluation.classes, swatches(evaluation), strict=True)
    )
    told = "IoU of each class; the light part of a bar is where it lies in 95 % of the draws."
    return card("Classes", f'<p class="faint">{told}</p><ul class="classes">{rows}</ul>')


def swatches(evaluation: Evaluation) -> list[str]:
    """A square in the colour of every class; HTML."""
    return [swatch(label_class.color) for label_class in evaluation.labels.classes]


def swatch(color: tuple[int, int, int]) -> str:
    """A square in a colour; HTML, which says nothing by itself."""
    return f'<i class="swatch" style="background:rgb({",".join(map(str, color))})"></i>'


def comparison_card(comparison: Comparison) -> str:
    """Both versions' figures, and the difference with its interval."""
    first, second = (one_line(one.scoring.reference) for one in (comparison.first, comparison.second))
    names = {one.name: NAMES[one.name] for one in comparison.overall}
    rows = "".join(_row(one, names[one.name], first, second) for one in comparison.overall)
    of_classes = "".join(_row(one, one_line(one.name), first, second) for one in comparison.classes)
    told = (
        f"Points by which {second} differs from {first}, scored on the same frames in every draw; in brackets where "
        f"95 % of the draws lie. Of twenty classes that do not differ, one would seem to by luck alone."
    )
    body = f'<p class="faint">{escape(told)}</p>{_table(rows, "figure", first, second)}<h3>IoU per class</h3>'
    return card(f"{second} beside {first}", body + _table(of_classes, "class", first, second))


def calibration_card(evaluation: Evaluation) -> str:
    """How often the network is right when it is so sure."""
    drawing = reliability_for_page(evaluation)
    told = f'<p class="faint">{escape(sentence_of_calibration(evaluation))}</p>'
    return card("Is it as sure as it is right?", drawing + told)


def time_card(evaluation: Evaluation) -> str:
    """Where the time went, over all workers."""
    parts = dict(zip(("predicting", "reading and decoding", "counting"), _in_order(evaluation.seconds), strict=True))
    total_s = sum(parts.values())
    bars = "".join(bar(name, f"{duration(s)}, {percent(s / total_s)}", s / total_s) for name, s in parts.items())
    told = (
        f"{duration(evaluation.wall_s)} by the clock, {len(evaluation.frames) / evaluation.wall_s:.2f} frames a second "
        f"by {evaluation.workers}; a prediction takes {evaluation.frame_ms:.0f} ms on one (median)."
    )
    return card("Where the time went", f'<p class="faint">{escape(told)}</p><ul class="bars">{bars}</ul>')


def lineage_card(evaluation: Evaluation) -> str:
    """What was evaluated: the version's card, the data, and how frames were seen."""
    scoring, card_ = evaluation.scoring, evaluation.card
    tiles = scoring.tiles
    rows = [
        ("version", scoring.version_uri),
        *card_facts(card_),
        ("evaluated on", f"{scoring.dataset_uri}, {scoring.split}"),
        ("its digest", scoring.dataset_digest),
        ("engine", evaluation.engine_note),
        ("views", f"{scoring.views.words} (sizes over the frame's own)"),
        ("tiles", "" if tiles is None else f"{tiles.width_px}x{tiles.height_px}"),
        ("boundaries", f"{percent(scoring.dilation)} of a frame's diagonal wide"),
    ]
    return card("What was evaluated", facts([(name, one_line(value)) for name, value in rows]))


def card_facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a version's card tells of its making, as far as it does."""
    model, run, spec = (found.get(key) or {} for key in ("model", "run", "spec"))
    data, environment, sweep = spec.get("data") or {}, found.get("environment") or {}, found.get("sweep") or {}
    created = found.get("created_at")
    stride = f", output stride {model['output_stride']}" if "output_stride" in model else ""
    return [
        (
            "model",
            f"{model['architecture']} over {model.get('backbone', '?')}{stride}" if "architecture" in model else "",
        ),
        ("trained on", f"{data['uri']}, {data.get('train_split', 'train')}" if "uri" in data else ""),
        ("began from", str((spec.get("model") or {}).get("weights", ""))),
        ("run", f"{run['uri']}, attempt {run.get('attempt')}, step {run.get('step')}" if "uri" in run else ""),
        ("sweep", f"{sweep.get('name')}, trial {sweep.get('trial')}" if sweep else ""),
        ("weights", f"sha256 {found['weights_sha256']}" if "weights_sha256" in found else ""),
        ("made by", f"roadbed {environment['roadbed']}" if "roadbed" in environment else ""),
        ("commit", str(environment.get("commit") or "")),
        ("created", "" if created is None else f"{datetime.fromtimestamp(created, UTC):%Y-%m-%d %H:%M} UTC"),
    ]


def _in_order(seconds: tuple[float, float, float]) -> tuple[float, float, float]:
    read_s, predict_s, count_s = seconds
    return predict_s, read_s, count_s


def _class_bar(one: ClassEstimates, mark: str, share: float) -> str:
    name, (iou, within) = escape(one_line(one.name)), estimate_words(one.iou)
    if one.iou.value is None:
        return f'<li><span>{mark}{name}</span><span class="faint">does not occur</span></li>'
    low, high = one.iou.interval or (one.iou.value, one.iou.value)
    drawn = (
        f'<span class="bar"><i style="width:{100 * low:.1f}%"></i>'
        f'<i class="within" style="width:{100 * (high - low):.1f}%"></i></span>'
    )
    more = (
        f"accuracy {percent(one.accuracy.value)}, boundary IoU {percent(one.boundary_iou.value)}; {percent(share)} of "
        f"the labelled pixels, in {one.num_frames} frame{'s' * (one.num_frames != 1)}"
    )
    return (
        f'<li><span>{mark}{name}</span><span><b>{iou}</b> <span class="faint">{within}</span></span>{drawn}'
        f'<span class="faint more">{escape(more)}</span></li>'
    )


def _table(rows: str, what: str, first: str, second: str) -> str:
    heads = [("text", what), *(("", name) for name in (first, second, "points", "better in", "verdict"))]
    head = "".join(f'<th role="columnheader" scope="col" class="{kind}">{escape(name)}</th>' for kind, name in heads)
    label = escape(f"{second} beside {first}, by {what}")
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table role="table">'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead><tbody role="rowgroup">{rows}</tbody></table></div>'
    )


def _row(one: Difference, name: str, first: str, second: str) -> str:
    within = "" if one.interval is None else f" ({points(one.interval[0])} to {points(one.interval[1])})"
    better = "-" if one.probability is None else f"{percent(one.probability)} of draws"
    cells = [
        ("text name", "", name),
        ("", first, percent(one.first)),
        ("", second, percent(one.second)),
        ("", "points", points(one.difference) + within),
        ("", "better in", better),
        (one.verdict, "", one.verdict),
    ]
    told = "".join(
        f'<td role="cell" class="{kind}"{_named(title)}>{escape(words)}</td>' for kind, title, words in cells
    )
    return f'<tr role="row">{told}</tr>'


def _named(title: str) -> str:
    return f' data-name="{escape(title)}"' if title else ""
