"""The ranked table of a sweep's page: a row per trial, which narrow screens show as a paragraph each."""

from __future__ import annotations

from html import escape

from roadbed.report.page import card
from roadbed.report.sweep_table import (
    ABSENT,
    epochs_words,
    metric_name,
    one_line,
    score_words,
    short_names,
    value_in_words,
)
from roadbed.tuning.results import SweepResult, Trial
from roadbed.words import duration

# So many trials are shown at once; the others are there to be unfolded.
ROWS_SHOWN = 20


def rows_card(result: SweepResult) -> str:
    """The card with all trials by rank."""
    ranked = list(enumerate(result.ranked(), start=1))
    shown, folded = ranked[:ROWS_SHOWN], ranked[ROWS_SHOWN:]
    body = _table(result, shown, "Trials by rank")
    if folded:
        label = f"The other {len(folded)} trials"
        body += f"<details><summary>{label}</summary>{_table(result, folded, label)}</details>"
    return card("Trials", body)


def _table(result: SweepResult, ranked: list[tuple[int, Trial]], label: str) -> str:
    rows = "".join(_row(result, rank, trial) for rank, trial in ranked)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}"><table role="table">'
        f'<thead role="rowgroup">{_head(result)}</thead><tbody role="rowgroup">{rows}</tbody></table></div>'
    )


def _head(result: SweepResult) -> str:
    names = short_names(result.parameters)
    cells = [("", "rank"), ("", "trial"), ("text", "run"), ("text", "state"), ("", metric_name(result.metric))]
    cells += [("", "epochs"), ("", "worker time")] + [("", "GPU time")] * _has_gpus(result)
    told = "".join(
        f'<th role="columnheader" scope="col" class="{kind}">{_breakable(name)}</th>' for kind, name in cells
    )
    for key in result.parameters:
        title = escape(one_line(key))
        told += f'<th role="columnheader" scope="col" title="{title}">{_breakable(names[key])}</th>'
    return f'<tr role="row">{told}</tr>'


def _row(result: SweepResult, rank: int, trial: Trial) -> str:
    score = result.score(trial)
    reason = f'<span class="reason">{escape(one_line(trial.reason))}</span>' if trial.reason else ""
    cells = [
        _cell("rank", ABSENT if score is None else f"{rank}."),
        _cell("number", str(trial.number), "trial"),
        _cell("score", score_words(result.metric, score), metric_name(result.metric)),
    ]
    run = _cell("text run", one_line(trial.run))
    state = f'<td role="cell" class="text state"><span class="is">{trial.state}</span>{reason}</td>'
    cells[2:2] = [run, state]
    cells += [_cell("", epochs_words(trial), "epochs"), _cell("time", duration(trial.worker_s), "worker time")]
    if _has_gpus(result):
        cells.append(_cell("time", duration(trial.gpu_s), "GPU time"))
    names = short_names(result.parameters)
    cells += [_cell("", value_in_words(trial.last_values, key), names[key]) for key in result.parameters]
    kinds = f"{trial.state} best" if trial is result.winner else trial.state
    return f'<tr role="row" class="{kinds}">{"".join(cells)}</tr>'


def _cell(kind: str, words: str, name: str = "") -> str:
    kind = f"{kind} absent" if words == ABSENT else kind
    named = f' data-name="{escape(name)}"' if name else ""
    return f'<td role="cell" class="{kind}"{named}>{escape(words)}</td>'


def _breakable(name: str) -> str:
    """A name that may be broken after its dots and underscores; HTML."""
    return escape(name).replace("_", "_<wbr>").replace(".", ".<wbr>")


def _has_gpus(result: SweepResult) -> bool:
    return any(trial.gpu_s for trial in result.trials)
