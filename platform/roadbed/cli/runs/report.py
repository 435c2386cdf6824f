"""`roadbed runs report`."""

from __future__ import annotations

from pathlib import Path

import click

from roadbed.cli.store import connection, store_option


@click.command()
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="HTML file.  [default: NAME.html]"
)
@store_option
def report(name: str, output: Path | None, store: str) -> None:
    """Write a run as a page: scores, curves, classes, what was trained on what, and where the time went.

    The page needs nothing beside itself. `roadbed evaluate` makes one of what a version sees.

    \b
    roadbed runs report camvid-quick -o report.html
    """
    from roadbed.cli.runs.existing import existing_run
    from roadbed.report.files import write_text
    from roadbed.report.run import RunStory, run_page

    path = output or Path(f"{name}.html")
    with connection(store):
        story = RunStory.of(*existing_run(store, name))
    write_text(path, run_page(story))
    click.echo(f"report: {path}")
