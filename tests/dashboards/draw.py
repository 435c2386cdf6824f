"""`python -m dashboards.draw URL --from T --to T -o FOLDER`, run in tests/: pictures of the dashboards for docs/.

Draws what Grafana would show of helm/roadbed/dashboards out of a real Prometheus, one PNG for each file: its layout,
units, thresholds, stacks, legends and annotations. Knows the kinds of panels and units that our dashboards use alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
from matplotlib.figure import Figure

from dashboards.all import FOLDER
from dashboards.answers import Prometheus, Series, Window, choices, filled, variables_of
from dashboards.panels import draw_panel
from dashboards.parts import GRID_COLUMNS
from dashboards.sheet import LETTER_WIDTH, MARGIN, MEDIUM, SMALL, WIDTH, Box, Sheet, color_of
from roadbed.report.inline import FAINT, drawing, drawn_words
from roadbed.report.pictures import save_figure

CELL_WIDTH, CELL_HEIGHT, GAP, HEAD_HEIGHT = (WIDTH - 2 * MARGIN) / GRID_COLUMNS, 25, 5, 52
Moments = dict[str, tuple[str, list[float]]]
"""The colour of each annotation, and when it begins to hold, in unix seconds."""


def draw(board: Mapping[str, Any], prometheus: Prometheus, chosen: Mapping[str, str]) -> Figure:
    """The picture of a dashboard, as its file has it. `chosen` are values of its variables; it may lack some of them.

    Raises click.ClickException, with the panel's title, for a query that Prometheus refuses.
    """
    patterns, said = choices(board, prometheus, chosen)
    words = prometheus.window.words | patterns
    moments = _moments(board, prometheus, words)
    places = [panel["gridPos"] for panel in board["panels"]]
    height = HEAD_HEIGHT + CELL_HEIGHT * max(place["y"] + place["h"] for place in places) + MARGIN
    with drawing():
        sheet = Sheet(
            height, prometheus.window, [(time_s, color) for color, times in moments.values() for time_s in times]
        )
        _head(sheet, board["title"], prometheus.window, said)
        _name_moments(sheet, moments)
        for panel in board["panels"]:
            box = _box(panel["gridPos"])
            if panel["type"] == "row":
                sheet.text(box.left, box.top + 5, panel["title"], MEDIUM + 1.5, weight="bold")
            else:
                draw_panel(sheet, box, panel, _answers(panel, prometheus, words))
    return sheet.figure


def _moments(board: Mapping[str, Any], prometheus: Prometheus, words: Mapping[str, str]) -> Moments:
    made = {}
    for annotation in (one for one in board["annotations"]["list"] if "expr" in one):
        times = set()
        for one in prometheus.query(filled(annotation["expr"], words)):
            is_there = np.isfinite(one.values)
            times |= {*prometheus.window.times[is_there & ~np.concatenate(([False], is_there[:-1]))].tolist()}
        made[annotation["name"]] = (color_of(annotation["iconColor"]), sorted(times))
    return made


def _answers(panel: Mapping[str, Any], prometheus: Prometheus, words: Mapping[str, str]) -> list[Series]:
    """All series of a panel that have a value."""
    found = []
    for target in panel["targets"]:
        expression = filled(target["expr"], words)
        try:
            found += prometheus.query(expression, target["legendFormat"], is_instant=target["instant"])
        except click.ClickException as error:
            raise click.ClickException(f"panel {panel['title']!r}: {error.message}") from error
    return [one for one in found if np.isfinite(one.values).any()]


def _box(place: Mapping[str, int]) -> Box:
    left, top = MARGIN + place["x"] * CELL_WIDTH, HEAD_HEIGHT + place["y"] * CELL_HEIGHT
    return Box(left, top, place["w"] * CELL_WIDTH - GAP, place["h"] * CELL_HEIGHT - GAP)


def _head(sheet: Sheet, title: str, window: Window, said: Mapping[str, str]) -> None:
    since, until = (datetime.fromtimestamp(time_s, UTC) for time_s in (window.since, window.until))
    sheet.text(MARGIN, 8, title, 14, weight="bold")
    sheet.text(WIDTH - MARGIN, 10, f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC", MEDIUM, ha="right")
    variables = "    ".join(drawn_words(f"{name}: {value}", 56) for name, value in said.items())
    sheet.text(MARGIN, 32, variables, SMALL + 0.5, color=FAINT)


def _name_moments(sheet: Sheet, moments: Moments) -> None:
    left: float = WIDTH - MARGIN
    for name, (color, times) in moments.items():
        words = f"┆ {name} ({len(times)})"
        sheet.text(left, 32, words, SMALL + 0.5, color=color, ha="right", weight="bold")
        left -= 14 + 1.2 * LETTER_WIDTH * len(words)


def _seconds(_: click.Context, __: click.Parameter, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return datetime.fromisoformat(value).timestamp()


@click.command()
@click.argument("url")
@click.option("--from", "since", required=True, callback=_seconds, help="unix seconds, or 2026-11-26T19:00:00Z")
@click.option("--to", "until", required=True, callback=_seconds, help="the same")
@click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", help="choose a value of a variable, as run=night")
@click.option("--scrape", "scrape_s", default=15, show_default=True, help="seconds between Prometheus' scrapes")
@click.option("-o", "--output", "folder", required=True, type=click.Path(file_okay=False, path_type=Path))
def main(url: str, since: float, until: float, sets: tuple[str, ...], scrape_s: int, folder: Path) -> None:
    """Draw all dashboards out of the Prometheus at URL into FOLDER."""
    prometheus = Prometheus(url, Window(since, until, scrape_s))
    boards = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
    chosen = {name: value for name, _, value in (one.partition("=") for one in sets)}
    known = sorted({one["name"] for board in boards.values() for one in variables_of(board)})
    for name in chosen:
        if name not in known:
            raise click.UsageError(f"no dashboard has the variable {name}; there are {', '.join(known)}")
    for stem, board in boards.items():
        save_figure(draw(board, prometheus, chosen), folder / f"{stem}.png")


if __name__ == "__main__":
    main()
