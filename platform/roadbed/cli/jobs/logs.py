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
    """Print the log of a job's driver while its pods are there, afterwards what its run has left in the store."""
    from roadbed.kube.gather import find_job

    cluster = connect(context, namespace)
    if pod is not None:
        _print_all(_of_pod(cluster, pod, follow=follow, tail_lines=tail_lines), as_json=as_json)
        return
    rayjob = find_job(cluster, name)
    if follow:
        has_lines = _follow(cluster, name, Runs(store), tail_lines=tail_lines, as_json=as_json)
    else:
        driver = _driver(Runs(store), cluster, rayjob)
        has_lines = driver is not None and _print_all(
            _of_pod(cluster, driver, follow=False, tail_lines=tail_lines), as_json=as_json
        )
    if not has_lines and not _print_all(_of_store(Runs(store), rayjob), as_json=as_json):
        raise NotFoundError(f"{name}: has no log yet, neither of a pod nor in the store; see `roadbed jobs why {name}`")


def _follow(cluster: Cluster, name: str, runs: Runs, *, tail_lines: int | None, as_json: bool) -> bool:
    """Print what drivers write until the job is over, one driver after the other; whether there was a line."""
    from roadbed.kube.gather import find_job
    from roadbed.kube.jobs import view_of

    seen: set[str] = set()
    has_lines, told = False, ""
    while True:
        try:
            rayjob = find_job(cluster, name)
        except NoSuchObjectError:
            return has_lines  # It was stopped, or its record's time is over.
        facts = _facts(runs, cluster, rayjob)
        driver = _started_driver(facts)
        if driver is not None and driver not in seen:
            seen.add(driver)
            lines = _of_pod(cluster, driver, follow=True, tail_lines=tail_lines)
            has_lines = _print_all(lines, as_json=as_json) or has_lines
            continue
        if facts.is_over:
            return has_lines
        view = view_of(facts)
        if (said := f"{view.state}: {view.reason}" if view.reason else view.state) != told:
            tell(f"{name}: {said}")
            told = said
        time.sleep(POLL_S)


def _facts(runs: Runs, cluster: Cluster, rayjob: Object) -> JobFacts:
    from roadbed.kube.gather import Snapshot

    return runs.facts(rayjob, Snapshot.take(cluster, run=rayjob["metadata"]["name"]).of(rayjob))


def _driver(runs: Runs, cluster: Cluster, rayjob: Object) -> str | None:
    return _started_driver(_facts(runs, cluster, rayjob))


def _started_driver(facts: JobFacts) -> str | None:
    """The pod that prints the driver's log: the newest submitter whose container has begun."""
    from roadbed.kube.facts import newest, phase_of

    pod = newest(facts.pods, "submitter")
    return None if pod is None or phase_of(pod) == "Pending" else str(pod["metadata"]["name"])


def _of_pod(cluster: Cluster, pod: str, *, follow: bool, tail_lines: int | None) -> Iterator[dict[str, Any]]:
    """The lines of a pod. One that goes, or whose connection breaks, has no more of them."""
    try:
        for line in cluster.log(pod, follow=follow, tail_lines=tail_lines):
            yield {"pod": pod, "text": line}
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
        click.echo(json.dumps(line, ensure_ascii=False) if as_json else _in_words(line))
    return has_lines


def _in_words(line: dict[str, Any]) -> str:
    if "pod" in line:
        return str(line["text"])
    at = datetime.fromtimestamp(line["at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{at} {line['level']:<7} {line['text']}"
