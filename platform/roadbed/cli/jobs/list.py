"""`roadbed jobs list`."""

from __future__ import annotations

import json
from textwrap import shorten
from typing import TYPE_CHECKING

import click

from roadbed.cli.jobs.known import Runs, cluster_options, connect, job_store_option
from roadbed.words import duration

if TYPE_CHECKING:
    from roadbed.kube.jobs import JobView

REASON_LETTERS = 70
PLAIN_WIDTH = 200  # Of a line that no terminal shows.


@click.command("list")
@cluster_options
@job_store_option
def list_all(namespace: str | None, context: str | None, as_json: bool, store: str | None) -> None:
    """List the jobs of a namespace, the newest first; one whose run gives no heartbeat is shown as lost.

    \b
    roadbed jobs list
    roadbed jobs list --namespace vision --json
    """
    from roadbed.kube.gather import Snapshot, all_jobs
    from roadbed.kube.jobs import view_of

    cluster = connect(context, namespace)
    found = all_jobs(cluster)
    runs, snapshot = Runs(store), Snapshot.take(cluster) if found else None
    views = [view_of(runs.facts(rayjob, snapshot.of(rayjob))) for rayjob in found if snapshot is not None]
    if as_json:
        click.echo(json.dumps([view.to_json() for view in views], indent=1))
    elif not views:
        click.echo(f"no jobs in namespace {cluster.namespace} yet; send one with `roadbed submit jobs/NAME.yaml`")
    else:
        _show(views)


def _show(views: list[JobView]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("job", "kind", "state", "age", "pods", "GPUs", "step", "mIoU", "why", box=None, header_style="bold")
    for view in views:
        step = "" if view.step is None else f"{view.step}/{view.num_steps or '?'}"
        miou = "" if view.miou is None else f"{100 * view.miou:.1f} %"
        pods = f"{view.ready_pods}/{view.pods}" if view.pods else ""
        cells = (view.name, view.kind, view.state, duration(view.age_s), pods, str(view.gpus or ""), step, miou)
        table.add_row(*map(escape, cells), escape(shorten(view.reason, REASON_LETTERS, placeholder=" ...")))
    console = Console(highlight=False)
    Console(highlight=False, width=None if console.is_terminal else PLAIN_WIDTH).print(table)
