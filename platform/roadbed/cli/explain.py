"""`roadbed explain KIND`."""

from __future__ import annotations

import click


@click.command()
@click.argument("kind", default="train")
def explain(kind: str) -> None:
    """Print every field of a job spec of KIND (train, tune, serve), with its default and meaning."""
    from rich.console import Console
    from rich.table import Table

    from roadbed.spec.load import explain as fields_of

    table = Table("field", "default", "meaning", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for field, default, meaning in fields_of(kind):
        table.add_row(field, default, meaning)
    Console(highlight=False).print(table)
