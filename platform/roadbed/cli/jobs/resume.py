"""`roadbed jobs resume`."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from roadbed.cli.jobs.known import Runs, cluster_options, connect, job_store_option
from roadbed.cli.store import DEFAULT_STORE, advise, tell
from roadbed.errors import NoSuchObjectError, RoadbedError, UsageError

if TYPE_CHECKING:
    from roadbed.kube.client import Cluster
    from roadbed.kube.facts import Object
    from roadbed.kube.sizes import ClusterJob


@click.command()
@click.argument("name")
@click.option("--profile", metavar="NAME", help="Another profile than that of the job's spec.")
@click.option("--profiles", "profiles_file", type=click.Path(path_type=Path), help="Take profiles from this YAML file.")
@cluster_options
@job_store_option
def resume(
    name: str,
    profile: str | None,
    profiles_file: Path | None,
    namespace: str | None,
    context: str | None,
    as_json: bool,
    store: str | None,
) -> None:
    """Send a job that has ended, or was stopped, once more: its run goes on from its last checkpoint.

    The spec is that of the job, or of the run in the store where the job is gone. To change it, `roadbed submit` it.

    \b
    roadbed jobs resume camvid-quick
    roadbed jobs resume camvid-quick --profile gpu
    """
    from roadbed.kube.gather import find_job

    cluster = connect(context, namespace)
    try:
        rayjob: Object | None = find_job(cluster, name)
    except NoSuchObjectError as error:
        job, how = _job_of_store(name, store or DEFAULT_STORE, error), "sent anew"
        _send(cluster, job, profile, profiles_file)
    else:
        assert rayjob is not None
        _check_may_resume(rayjob, store)
        how = _again(cluster, rayjob, profile, profiles_file)
    if as_json:
        click.echo(json.dumps({"name": name, "namespace": cluster.namespace, "how": how}))
        return
    click.echo(f"{name}: {how}; its run goes on from its last checkpoint")
    advise(f"next: roadbed jobs show {name}; roadbed jobs logs {name} --follow")


def _check_may_resume(rayjob: Object, store: str | None) -> None:
    """Raises UsageError for a job that goes on by itself, or whose run has nothing left to do."""
    from roadbed.kube.facts import JobFacts
    from roadbed.kube.gather import Belongings

    facts: JobFacts = Runs(store).facts(rayjob, Belongings((), (), None))
    if not facts.is_over and not _is_suspended(rayjob):
        raise UsageError(
            f"{facts.name}: has not ended ({facts.deployment or 'new'}), so there is nothing to resume; see `roadbed "
            f"jobs why {facts.name}`, or end it with `roadbed jobs stop {facts.name}`"
        )
    if facts.run_status is not None and facts.run_status.state == "finished":
        raise UsageError(
            f"{facts.name}: its run is finished (step {facts.run_status.step}); to train longer submit a spec of more "
            "epochs under another name"
        )


def _is_suspended(rayjob: Object) -> bool:
    """Whether somebody suspended it by hand; with a queue suspending is Kueue's own way."""
    from roadbed.kube.names import QUEUE_LABEL

    has_queue = QUEUE_LABEL in (rayjob["metadata"].get("labels") or {})
    return bool(rayjob["spec"].get("suspend")) and not has_queue


def _again(cluster: Cluster, rayjob: Object, profile: str | None, profiles_file: Path | None) -> str:
    """Wake a suspended job, or send one that has ended anew; which of it was done."""
    from roadbed.kube.names import JOB_ANNOTATION

    name = rayjob["metadata"]["name"]
    if _is_suspended(rayjob):
        cluster.patch("rayjobs", name, {"spec": {"suspend": False}})
        return "woken"
    text = (rayjob["metadata"].get("annotations") or {}).get(JOB_ANNOTATION)
    if text is None:
        raise UsageError(
            f"RayJob {name} in namespace {cluster.namespace}: was not made by `roadbed submit`; submit a spec"
        )
    _send(cluster, _parsed(text, f"RayJob {name}"), profile, profiles_file)
    return "sent anew"


def _job_of_store(name: str, store: str, absent: RoadbedError) -> ClusterJob:
    """The spec of the run or sweep of that name. Raises `absent` if there is none."""
    from roadbed.kube.gather import FOLDERS
    from roadbed.runs import Run
    from roadbed.storage import open_store

    for folder in FOLDERS.values():
        run = Run(open_store(store), name, folder=folder)
        text = run.spec()
        if text is not None:
            tell(f"{name}: its job is gone; the spec is that of {run.uri}")
            return _parsed(text, f"{run.uri}/spec.yaml")
    raise absent


def _parsed(text: str, origin: str) -> ClusterJob:
    from roadbed.spec import ServeJob, parse_any

    job = parse_any(text, origin=origin)
    if isinstance(job, ServeJob):
        raise UsageError(f"{origin}: is of kind serve, which the chart runs")
    return job


def _send(cluster: Cluster, job: ClusterJob, asked: str | None, profiles_file: Path | None) -> None:
    from roadbed.kube.find_profile import choose, known_profiles, profile_name
    from roadbed.kube.rayjob import rayjob
    from roadbed.kube.sending import send

    profiles, origin = known_profiles(profiles_file, lambda: cluster, notify=tell, may_be_offline=False)
    profile = choose(profiles, profile_name(job, asked), origin=origin)
    manifest: dict[str, Any] = rayjob(job, profile, namespace=cluster.namespace, submission=secrets.token_hex(8))
    send(cluster, manifest, notify=tell)
