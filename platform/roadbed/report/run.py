"""A training run as a page of its own: what came out, how it got there, what was trained on what, and the time it took.

Reads what `RunFigures` and the run's metric lines hold; its drawings are of `run_pictures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import yaml

from roadbed.errors import NotFoundError
from roadbed.evaluation import Evaluation
from roadbed.report.curves import Lines
from roadbed.report.evaluation_frames import Look, frames_card
from roadbed.report.evaluation_matrix import confusion_card
from roadbed.report.evaluation_sections import calibration_card
from roadbed.report.page import bar, card, facts, html_page
from roadbed.report.run_pictures import curves_for_page
from roadbed.report.sweep_table import one_line
from roadbed.runs import Run, RunFigures, RunStatus
from roadbed.words import duration, percent


@dataclass(frozen=True)
class RunStory:
    """All that the page tells. `attempts` are claims, each with its end if it has one ("end")."""

    uri: str
    figures: RunFigures
    lines: Lines
    attempts: Sequence[Mapping[str, Any]]
    spec_text: str

    @classmethod
    def of(cls, run: Run, status: RunStatus) -> RunStory:
        """Read from the store. Raises NotFoundError if the run has not logged anything yet."""
        lines = run.lines("metrics")
        if not lines:
            raise NotFoundError(f"{run.uri}: no metrics yet (it is {status.state}); see `roadbed runs show {run.name}`")
        attempts = [claim | {"end": run.end_of(number)} for number, claim in run.attempts()]
        return cls(run.uri, RunFigures.of(run, status), lines, attempts, run.spec() or "")


def run_page(story: RunStory, seen: tuple[Evaluation, Look] | None = None) -> str:
    """The whole page, as HTML. `seen` is what the best checkpoint makes of the frames that it was scored on."""
    figures, name = story.figures, one_line(story.figures.name)
    cards = [_head(figures), card("How it went", curves_for_page(story.lines))]
    cards.append(
        f'<div class="pair">{_classes(figures)}<div class="stack">{_time(figures)}{_made_of(story)}</div></div>'
    )
    if seen is not None:
        cards += [frames_card(*seen), confusion_card(seen[0]), calibration_card(seen[0])]
    cards += [_attempts(story), _spec(story)]
    return html_page(
        cards,
        title=f"{name}: a run of roadbed",
        heading=name,
        below=f"A training run, {figures.state}: {one_line(story.uri)}",
        footer=f"<code>roadbed runs show {escape(name)}</code> tells how it stands now; <code>roadbed runs report "
        f"{escape(name)} --frames</code> adds what it sees: frames, confusion, calibration.",
        styles=("figures.css",),
    )


def _head(figures: RunFigures) -> str:
    best, last = figures.best, figures.last
    rows = [
        ("best mIoU", _score(best, "miou"), f"in epoch {best['epoch']}" if best else "not evaluated yet"),
        ("its pixel accuracy", _score(best, "pixel_accuracy"), ""),
        ("last mIoU", _score(last, "miou"), f"in epoch {last['epoch']}" if last else ""),
        ("loss at the end", "-" if figures.loss is None else f"{figures.loss:.4f}", "nats per pixel"),
        ("steps", str(figures.step), f"of {figures.num_steps or '?'}"),
        ("time", duration(figures.seconds), _speed(figures)),
    ]
    told = "".join(
        f'<div><dt>{name}</dt><dd><b>{escape(value)}</b> <span class="faint">{escape(more)}</span></dd></div>'
        for name, value, more in rows
    )
    reason = f"<p>{escape(one_line(figures.reason))}</p>" if figures.reason else ""
    return card("", f'<dl class="figures">{told}</dl>{reason}')


def _score(line: Mapping[str, Any] | None, key: str) -> str:
    return percent(None if line is None else float(line[key]))


def _speed(figures: RunFigures) -> str:
    return "" if figures.images_per_s is None else f"{figures.images_per_s:.1f} images/s"


def _classes(figures: RunFigures) -> str:
    """IoU per class where the mIoU was best."""
    if figures.best is None:
        return card("Classes", '<p class="faint">It was not evaluated yet.</p>')
    ious = figures.best.get("iou_per_class", {})
    bars = "".join(bar(one_line(name), percent(iou), iou or 0.0) for name, iou in ious.items())
    told = "IoU where the mIoU was best; - where a class occurs in no frame."
    return card("Classes", f'<p class="faint">{told}</p><ul class="bars">{bars}</ul>')


def _time(figures: RunFigures) -> str:
    """Evaluating is timed; of the rest a share was waiting for data."""
    evaluating_s = min(sum(float(line.get("eval_s", 0.0)) for line in figures.evaluations), figures.seconds)
    rest_s = figures.seconds - evaluating_s
    waiting_s = rest_s * (figures.data_wait_share or 0.0)
    parts = {"training": rest_s - waiting_s, "evaluating": evaluating_s, "waiting for data": waiting_s}
    total_s = max(figures.seconds, 1e-9)
    bars = "".join(bar(name, f"{duration(s)}, {percent(s / total_s)}", s / total_s) for name, s in parts.items())
    return card("Where the time went", f'<ul class="bars">{bars}</ul>')


def _made_of(story: RunStory) -> str:
    """What was trained on what; the spec below has all of it."""
    spec = yaml.safe_load(story.spec_text) or {}
    model, data, train = (spec.get(key) or {} for key in ("model", "data", "train"))
    rows = [
        ("model", " over ".join(str(model[key]) for key in ("architecture", "backbone") if key in model)),
        ("began from", str(model.get("weights", ""))),
        ("trained on", f"{data['uri']}, {data.get('train_split', 'train')}" if "uri" in data else ""),
        ("evaluated on", str(data.get("eval_split", ""))),
        ("epochs", str(train.get("epochs", ""))),
        ("global batch", str(train.get("global_batch", ""))),
        ("workers", "" if story.figures.num_workers is None else str(story.figures.num_workers)),
    ]
    return card("What was trained", facts([(name, one_line(value)) for name, value in rows]))


def _attempts(story: RunStory) -> str:
    items = "".join(f"<li>{escape(one_line(_attempt_words(claim)))}</li>" for claim in story.attempts)
    told_of = [one_line(f"step {line['step']}: {line['notice']}") for line in story.figures.notices]
    notices = "".join(f"<li>{escape(words)}</li>" for words in told_of)
    told = f"<h3>Notices</h3><ul class='steps'>{notices}</ul>" if notices else ""
    return card("Attempts", f'<ol class="steps">{items}</ol>{told}')


def _attempt_words(claim: Mapping[str, Any]) -> str:
    begun = f"from step {claim['resumed_step']}" if claim.get("resumed_attempt") else "from the start"
    number, end = claim.get("num_workers"), claim.get("end")
    worked = "" if number is None else f", {number} worker{'s' * (number != 1)} on {claim.get('host', '?')}"
    lost = f"; {claim['lost_steps']} steps of the one before were lost" if claim.get("lost_steps") else ""
    ended = f"; ended: {end['cause']}: {end['reason']}; {end['verdict']}" if end else ""
    return f"{begun}{worked}{lost}{ended}"


def _spec(story: RunStory) -> str:
    if not story.spec_text.strip():
        return ""
    text = "\n".join(one_line(line) if line.strip() else "" for line in _kept_indents(story.spec_text))
    return card("Spec", f"<details><summary>All of spec.yaml</summary><pre>{escape(text)}</pre></details>")


def _kept_indents(text: str) -> list[str]:
    """Lines whose leading spaces are such that do not go lost."""
    lines = text.splitlines()
    return ["\N{NO-BREAK SPACE}" * (len(line) - len(line.lstrip(" "))) + line.lstrip(" ") for line in lines]
