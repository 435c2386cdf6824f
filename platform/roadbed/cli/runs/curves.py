"""`roadbed runs curves`."""

from __future__ import annotations

from pathlib import Path

import click

from roadbed.cli.store import connection, store_option


@click.command()
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="PNG or SVG file, by its suffix.  [default: NAME.png]"
)
@store_option
def curves(name: str, output: Path | None, store: str) -> None:
    """Draw loss, learning rate, mIoU and the classes' IoU over the steps.

    \b
    roadbed runs curves camvid-quick -o curves.svg
    """
    from roadbed.cli.runs.existing import existing_run
    from roadbed.errors import NotFoundError
    from roadbed.report.curves import draw_curves
    from roadbed.report.pictures import check_picture

    path = check_picture(output or Path(f"{name}.png"))
    with connection(store):
        run, status = existing_run(store, name)
        lines = run.lines("metrics")
    if not lines:
        raise NotFoundError(f"{run.uri}: no metrics yet (it is {status.state}); see `roadbed runs show {name}`")
    draw_curves(lines, path, title=name)
    click.echo(f"curves: {path}")
