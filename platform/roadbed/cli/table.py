"""Tables for people: drawn on a terminal, aligned plain text elsewhere."""

from __future__ import annotations

import click


def print_table(head: list[str], rows: list[list[str]]) -> None:
    """A table on a terminal, aligned plain text elsewhere; the first column to the left, the others to the right."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if console.is_terminal:
        table = Table(head[0], header_style="bold")
        for name in head[1:]:
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        click.echo("  ".join(cells).rstrip())
