"""`roadbed data ...`: one module per command."""

from __future__ import annotations

import click

from roadbed.cli.data.prepare import prepare
from roadbed.cli.data.show import show


@click.group()
def data() -> None:
    """Prepare datasets in a store, look at them, check and copy them."""


for command in (prepare, show):
    data.add_command(command)
