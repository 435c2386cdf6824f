"""Tables for people: drawn on a terminal, aligned plain text elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click


def print_table(head: list[str], rows: list[list[str]]) -> None:
    """A table on a terminal, aligned plain text elsewhere; the first column to the left, the others to the right."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    if console.is_terminal:
        table = Table(escape(head[0]), header_style="bold")
        for name in head[1:]:
            table.add_column(escape(name), justify="right")
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
        return
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        click.echo("  ".join(cells).rstrip())


def iou_table(iou_per_class: Mapping[str, float | None]) -> Any:
    """A table (of rich) of the classes' IoU with bars, in their order; None is a class that does not occur."""
    from rich.table import Table

    table = Table("class", "IoU", "", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name, iou in iou_per_class.items():
        figure = "does not occur" if iou is None else f"{100 * iou:5.1f} %"
        table.add_row(name, figure, "█" * round(20 * (iou or 0.0)))
    return table
