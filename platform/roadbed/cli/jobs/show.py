"""`roadbed jobs show`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from roadbed.cli.jobs.known import cluster_options, connect, facts_of, job_store_option
from roadbed.words import duration, percent

if TYPE_CHECKING:
    from roadbed.kube.facts import JobFacts, Object
    from roadbed.kube.jobs import JobView

NUM_EVENTS = 5


@click.command()
@click.argument("name")
@cluster_options
@job_store_option
def show(name: str, namespace: str | None, context: str | None, as_json: bool, store: str | None) -> None:
    """Show a job: its state, its run, its pods, and what happened to them last.

    \b
    roadbed jobs show camvid-quick
    """
    from roadbed.kube.jobs import view_of

    facts = facts_of(connect(context, namespace), name, store)
    view = view_of(facts)
    pods = [_pod_row(pod) for pod in facts.pods]
    events = [_event_row(event) for event in _warnings(facts)]
    if as_json:
        click.echo(json.dumps(view.to_json() | {"pod_list": pods, "events": events}, indent=1))
        return
    click.echo(_head(view))
    click.echo(_run(view, facts))
    _print_pods(pods)
    for event in events:
        click.echo(f"event: {event['about']}: {event['reason']}: {event['message']}")
    if view.reasons:
        click.echo(f"why: {view.reasons[0].text}\nnext: {view.reasons[0].next_step}")


def _head(view: JobView) -> str:
    queue = f", queue {view.queue}" if view.queue else ""
    ray = f" (KubeRay: {view.ray})" if view.ray else ""
    return f"{view.name}: {view.state}, {view.kind}, {duration(view.age_s)}{queue}{ray}"


def _run(view: JobView, facts: JobFacts) -> str:
    from roadbed.kube.gather import folder_of, store_of

    where = f"{store_of(facts.rayjob)}/{folder_of(facts.rayjob)}/{view.name}"
    if facts.store_error:
        return f"run: {where}: not known here: {facts.store_error}"
    if view.run_state is None:
        return f"run: {where}: not begun"
    unit = "trials over" if view.kind == "tune" else "step"
    miou = "" if view.miou is None else f", mIoU {percent(view.miou)}"
    return f"run: {where}: {view.run_state}, attempt {view.attempt}, {unit} {view.step}/{view.num_steps or '?'}{miou}"


def _pod_row(pod: Object) -> dict[str, Any]:
    from roadbed.kube.facts import is_ready, phase_of, role_of

    return {
        "name": pod["metadata"]["name"],
        "role": role_of(pod),
        "phase": phase_of(pod),
        "is_ready": is_ready(pod),
        "node": (pod.get("spec") or {}).get("nodeName"),
    }


def _print_pods(rows: Sequence[dict[str, Any]]) -> None:
    from roadbed.cli.table import print_table

    if rows:
        cells = [
            [row["name"], row["role"], row["phase"] + ("" if row["is_ready"] else ", not ready"), row["node"] or "-"]
            for row in rows
        ]
        print_table(["pod", "role", "phase", "node"], cells)


def _warnings(facts: JobFacts) -> list[Object]:
    """The newest warnings, oldest first."""
    from roadbed.kube.facts import event_at

    found = [event for event in facts.events if event.get("type") == "Warning"]
    return sorted(found, key=event_at)[-NUM_EVENTS:]


def _event_row(event: Object) -> dict[str, Any]:
    from roadbed.kube.facts import event_at

    return {
        "at": event_at(event),
        "about": (event.get("involvedObject") or {}).get("name"),
        "reason": event.get("reason"),
        "message": event.get("message"),
    }
