"""`roadbed bench ...`: one module per benchmark."""

from __future__ import annotations

import click

from roadbed.cli.bench.encodings import encodings
from roadbed.cli.bench.loader import loader
from roadbed.cli.bench.order import order
from roadbed.cli.bench.scale import scale
from roadbed.cli.bench.serve import serve
from roadbed.cli.bench.train import train
from roadbed.cli.bench.tune import tune


@click.group()
def bench() -> None:
    """Measure on this machine what the documentation says of speed and memory.

    \b
    roadbed bench order
    roadbed bench loader --json loader.json
    """


for command in (encodings, loader, order, scale, serve, train, tune):
    bench.add_command(command)
