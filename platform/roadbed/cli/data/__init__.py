"""`roadbed data ...`: one module per command."""

from __future__ import annotations

import click

from roadbed.cli.data.copy import copy
from roadbed.cli.data.doctor import doctor
from roadbed.cli.data.init import init
from roadbed.cli.data.list import list_all
from roadbed.cli.data.prepare import prepare
from roadbed.cli.data.show import show
from roadbed.cli.data.verify import verify


@click.group()
def data() -> None:
    """Prepare datasets in a store, look at them, check and copy them.

    \b
    roadbed data prepare painted s3://roadbed/datasets/town
    roadbed data show s3://roadbed/datasets/town
    """


for command in (copy, doctor, init, list_all, prepare, show, verify):
    data.add_command(command)
