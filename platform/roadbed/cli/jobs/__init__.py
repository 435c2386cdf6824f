"""`roadbed jobs ...`: one module per command."""

from __future__ import annotations

import click

from roadbed.cli.jobs.list import list_all
from roadbed.cli.jobs.logs import logs
from roadbed.cli.jobs.resume import resume
from roadbed.cli.jobs.show import show
from roadbed.cli.jobs.stop import stop
from roadbed.cli.jobs.why import why


@click.group()
def jobs() -> None:
    """Jobs on a Kubernetes cluster: how they stand, why they wait or failed, their logs; stop and resume them.

    \b
    roadbed jobs list
    roadbed jobs why camvid-quick
    """


for command in (list_all, logs, resume, show, stop, why):
    jobs.add_command(command)
