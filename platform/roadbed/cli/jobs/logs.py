"""`roadbed jobs logs`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from roadbed.cli.jobs.known import Runs, cluster_options, connect, job_store_option
from roadbed.cli.store import tell
from roadbed.errors import ClusterError, NoSuchObjectError, NotFoundError

if TYPE_CHECKING:
    from roadbed.kube.client import Cluster
    from roadbed.kube.facts import JobFacts, Object

POLL_S = 3.0


@click.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes until the job ends, over all its tries.")
@click.option("--pod", metavar="NAME", help="Of this pod (see `roadbed jobs show`), not of the job's driver.")
@click.option("--tail", "tail_lines", type=click.IntRange(min=1), metavar="LINES", help="Of a pod the last lines only.")
@cluster_options
@job_store_option
def logs(
    name: str,
    follow: bool,
    pod: str | None,
    tail_lines: int | None,
    namespace: str | None,
    context: str | None,
    as_json: bool,
    store: str | None,
) -> None:
    """Print the log of a job's driver while its pods are there, afterwards what its run has left in the store.

    \b
    roadbed jobs logs camvid-quick --follow
    roadbed jobs logs camvid-quick --pod camvid-quick-abcde-worker-fghij --tail 100
    """
    from roadbed.kube.gather import find_job

    cluster = connect(context, namespace)
    if pod is not None:
        _print_all(_of_pod(cluster, pod, follow=follow, tail_lines=tail_lines), as_json=as_json)
        return
    runs, rayjob = Runs(store), find_job(cluster, name)
    if follow:
        has_lines = _follow(cluster, name, runs, tail_lines=tail_lines, as_json=as_json)
    else:
        driver = _started_driver(_facts(runs, cluster, rayjob))
        has_lines = driver is not None and _print_all(
            _of_pod(cluster, driver, follow=False, tail_lines=tail_lines), as_json=as_json
        )
    if not has_lines and not _print_all(_of_store(runs, rayjob), as_json=as_json):
        raise NotFoundError(f"{name}: has no log yet, neither of a pod nor in the store; see `roadbed jobs why {name}`")


def _follow(cluster: Cluster, name: str, runs: Runs, *, tail_lines: int | None, as_json: bool) -> bool:
    """Print what drivers write until the job is over, one driver after the other; whether there was a line.

    A connection that breaks is made again, and goes on after the last line that came.
    """
    from roadbed.kube.gather import find_job

    last_at: dict[str, str] = {}
    told = ""
    while True:
        try:
            facts = _facts(runs, cluster, find_job(cluster, name))
        except NoSuchObjectError:
            return bool(last_at)  # It was stopped, or its record's time is over.
        driver = _started_driver(facts)
        if driver is not None:
            first = None if driver in last_at else tail_lines
            for line in _of_pod(cluster, driver, follow=True, tail_lines=first, after=last_at.get(driver, "")):
                last_at[driver] = line["at"]
                _print(line, as_json=as_json)
        if facts.is_over:
            return bool(last_at)
        if driver is None and (said := _standing(facts)) != told:
            tell(f"{name}: {said}")
            told = said
        time.sleep(POLL_S)


def _standing(facts: JobFacts) -> str:
    """How a job stands that has no driver yet, in a line."""
    from roadbed.kube.jobs import view_of

    view = view_of(facts)
    return f"{view.state}: {view.reason}" if view.reason else view.state


def _facts(runs: Runs, cluster: Cluster, rayjob: Object) -> JobFacts:
    from roadbed.kube.gather import Snapshot

    return runs.facts(rayjob, Snapshot.take(cluster, run=rayjob["metadata"]["name"]).of(rayjob))


def _started_driver(facts: JobFacts) -> str | None:
    """The pod that prints the driver's log: the newest submitter whose container has begun."""
    from roadbed.kube.facts import newest, phase_of

    pod = newest(facts.pods, "submitter")
    return None if pod is None or phase_of(pod) == "Pending" else str(pod["metadata"]["name"])


def _of_pod(
    cluster: Cluster, pod: str, *, follow: bool, tail_lines: int | None, after: str = ""
) -> Iterator[dict[str, Any]]:
    """The lines of a pod that were written `after`. One that goes, or whose connection breaks, has no more of them."""
    try:
        for text in cluster.log(pod, follow=follow, tail_lines=tail_lines, timestamps=True):
            at, _, line = text.partition(" ")
            if at > after:  # The kubelet writes nine digits of a second always, so they sort as texts.
                yield {"pod": pod, "at": at, "text": line}
    except NoSuchObjectError:
        if not follow:
            raise
    except ClusterError as error:
        tell(f"pod {pod}: {error}")


def _of_store(runs: Runs, rayjob: Object) -> Iterator[dict[str, Any]]:
    """The lines that the run's attempts have brought to the store."""
    with runs.of(rayjob) as run:
        yield from run.new_segments("log", set())


def _print_all(lines: Iterator[dict[str, Any]], *, as_json: bool) -> bool:
    """Print lines as they come; whether there was one."""
    has_lines = False
    for line in lines:
        has_lines = True
        _print(line, as_json=as_json)
    return has_lines


def _print(line: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(line, ensure_ascii=False))
    elif "pod" in line:
        click.echo(line["text"])
    else:
        at = datetime.fromtimestamp(line["at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
        click.echo(f"{at} {line['level']:<7} {line['text']}")
