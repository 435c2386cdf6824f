"""A look as lines of a terminal: runs, sweeps, endpoints. No line is wider than the terminal, and all of them fit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from roadbed.cli.top.rows import RunRows, endpoint_line, sweep_line
from roadbed.watching import Look

STATES = ("running", "retrying", "failed", "lost", "stopped", "finished")
CARD_LINES = 3


def most_sweeps(height: int) -> int:
    """How many sweeps there is room for beside the runs."""
    return max(1, height // 8)


def picture(look: Look, *, store: str, url: str, width: int, height: int, trouble: str = "") -> Text:
    """The whole picture, of `height` lines at most. `trouble` says why it is not newer."""
    head = [_head(store, look.at, width)]
    if trouble:
        head.append(Text(trouble, "bold red"))
    below = [*_sweeps(look), *_endpoints(look, url)]
    runs = list(_runs(look, width, height - len(head) - len(below)))
    lines = [*head, *runs, *below][:height]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def fitted(num_live: int, num_runs: int, room: int) -> tuple[int, int]:
    """How many runs are told in full, and how many in one line each, in `room` lines.

    All that live are told before any is told in full, and three of those that ended. Rows have a line of titles, and
    one that tells how many do not fit.
    """
    for cards in range(num_live, -1, -1):
        rest = num_runs - cards
        wanted = num_live - cards + min(3, num_runs - num_live)
        left = room - CARD_LINES * cards
        if left >= wanted + (wanted > 0) + (rest > wanted) or cards == 0:
            rows = left - 1
            return cards, max(0, rest if rest <= rows else rows - 1)
    raise AssertionError("without a card everything is taken as it comes")


def _head(store: str, at: float, width: int) -> Text:
    clock = time.strftime("%H:%M:%S", time.localtime(at))
    name = f"roadbed top  {store}"[: max(0, width - len(clock) - 2)]
    return Text.assemble((name, "bold"), " " * (width - len(name) - len(clock)), (clock, "dim"))


def _title(word: str, told: str = "") -> list[Text]:
    return [Text(), Text.assemble((word, "bold cyan"), (f"  {told}" if told else "", "dim"))]


def _runs(look: Look, width: int, room: int) -> Iterator[Text]:
    yield from _title("runs", _counts(look.num_runs) or "none yet; start one with `roadbed train jobs/NAME.yaml`")
    num_runs, num_live = sum(look.num_runs.values()), sum(run.is_live for run in look.runs)
    cards, rows = fitted(num_live, num_runs, room - 2)
    rows = min(rows, len(look.runs) - cards)
    told = RunRows(look.runs, width)
    for run in look.runs[:cards]:
        yield from told.card(run)
    if rows:
        yield told.titles()
        yield from map(told.row, look.runs[cards : cards + rows])
    if cards + rows < num_runs:
        yield Text(f"and {num_runs - cards - rows} more; see `roadbed runs list`", "dim")


def _sweeps(look: Look) -> Iterator[Text]:
    if look.sweeps:
        more = look.num_sweeps - len(look.sweeps)
        yield from _title("sweeps", "trials begun/planned" + (f"; {more} more: `roadbed sweeps list`" if more else ""))
        for sweep in look.sweeps:
            yield sweep_line(sweep)


def _endpoints(look: Look, url: str) -> Iterator[Text]:
    """What tells of itself, and what the endpoint's own port says; one line if there is neither."""
    yield from _title("endpoints")
    if look.is_ready is not None:
        yield Text.assemble(f"{url}  ", (look.said, "green" if look.is_ready else "yellow"))
    elif not look.endpoints:
        yield Text(f"none: {url}: {look.said}; no metrics tell of one", "dim")
    for endpoint in look.endpoints:
        yield endpoint_line(endpoint)
    for problem in look.problems:
        yield Text(problem, "yellow")


def _counts(counts: Mapping[str, int]) -> str:
    ordered: Sequence[str] = [state for state in STATES if counts.get(state)]
    return ", ".join(f"{counts[state]} {state}" for state in ordered)
