"""`roadbed runs ...`: one module per command, or two that are near each other."""

from __future__ import annotations

import click

from roadbed.cli.runs.compare import compare
from roadbed.cli.runs.curves import curves
from roadbed.cli.runs.list import list_all
from roadbed.cli.runs.logs import logs, metrics
from roadbed.cli.runs.report import report
from roadbed.cli.runs.show import show


@click.group()
def runs() -> None:
    """Training runs: what state they are in, what they logged, how they compare.

    \b
    roadbed runs list
    roadbed runs show camvid-quick
    """


for command in (compare, curves, list_all, logs, metrics, report, show):
    runs.add_command(command)
