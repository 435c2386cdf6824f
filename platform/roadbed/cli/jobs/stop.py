"""`roadbed jobs stop`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from roadbed.cli.jobs.known import Runs, cluster_options, connect, facts_of, job_store_option
from roadbed.cli.store import advise, tell
from roadbed.errors import NoSuchObjectError, RoadbedError

if TYPE_CHECKING:
    from roadbed.kube.facts import JobFacts

POLL_S = 1.0


@click.command()
@click.argument("name")
@click.option(
    "--grace-s",
    type=click.FloatRange(min=0.0),
    default=60.0,
    show_default=True,
    help="Seconds that its run has to save what it did.",
)
@cluster_options
@job_store_option
def stop(
    name: str, grace_s: float, namespace: str | None, context: str | None, as_json: bool, store: str | None
) -> None:
    """Let a job's run save what it did, then take the job away. Its run stays, and `roadbed jobs resume` goes on.

    A run that does not save in time has its pods' own grace besides. A job that does not train yet, or has ended, is
    taken away at once, and its pods with it.

    \b
    roadbed jobs stop camvid-quick
    roadbed jobs stop camvid-quick --grace-s 300
    """
    from roadbed.kube.jobs import state_of

    cluster = connect(context, namespace)
    facts = facts_of(cluster, name, store)
    is_saved = _let_save(facts, Runs(store), grace_s=grace_s)
    try:
        cluster.delete("rayjobs", name)
    except NoSuchObjectError:
        tell(f"{name}: somebody else has taken it away meanwhile")
    was = state_of(facts)
    if as_json:
        click.echo(json.dumps({"name": name, "was": was, "is_saved": is_saved}))
        return
    saved = ", its run saved what it did" if is_saved else ""
    click.echo(f"{name}: {'taken away' if facts.is_over else 'stopped'} (it was {was}){saved}")
    if facts.run_status is not None and facts.run_status.state != "finished":
        advise(f"next: roadbed jobs resume {name}")


def _let_save(facts: JobFacts, runs: Runs, *, grace_s: float) -> bool:
    """Ask the run's attempt to end, and wait for it; whether it has ended by that. Sweeps save by themselves."""
    from roadbed.kube.gather import folder_of

    status = facts.own_run_status
    if facts.store_error:
        tell(f"{facts.name}: its run cannot be asked to save ({facts.store_error}); its pods have their own grace")
        return False
    if status is None or status.state != "running" or folder_of(facts.rayjob) != "runs":
        return False
    deadline = time.monotonic() + grace_s
    try:
        with runs.of(facts.rayjob) as run:
            if not run.ask_to_stop(attempt=status.attempt):
                return False
            tell(f"{facts.name}: asked attempt {status.attempt} to save what it did; waiting up to {grace_s:.0f} s")
            while time.monotonic() < deadline:
                now = run.status()
                if now is None or now.attempt != status.attempt or now.state != "running":
                    return now is not None and now.state in ("stopped", "finished")
                time.sleep(POLL_S)
    except RoadbedError as error:
        tell(f"{facts.name}: the store does not answer any more ({error})")
    return False
