"""`roadbed jobs why`."""

from __future__ import annotations

import json

import click

from roadbed.cli.jobs.known import cluster_options, connect, facts_of, job_store_option
from roadbed.words import duration


@click.command()
@click.argument("name")
@cluster_options
@job_store_option
def why(name: str, namespace: str | None, context: str | None, as_json: bool, store: str | None) -> None:
    """Say why a job waits or failed, the likeliest reason first, and what to do about each.

    \b
    roadbed jobs why camvid-quick
    """
    from roadbed.kube.jobs import view_of

    view = view_of(facts_of(connect(context, namespace), name, store))
    if as_json:
        reasons = [reason.to_json() for reason in view.reasons]
        click.echo(json.dumps({"name": name, "state": view.state, "reasons": reasons}, indent=1))
        return
    click.echo(f"{name}: {view.state}, {duration(view.age_s)}")
    if not view.reasons:
        click.echo("nothing is wrong with it" if view.state != "failed" else f"see `roadbed jobs logs {name}`")
    for number, reason in enumerate(view.reasons, start=1):
        click.echo(f"{number}. {reason.text}\n   next: {reason.next_step}")
