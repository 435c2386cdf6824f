"""`roadbed submit JOB`."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from roadbed.cli.store import advise, tell
from roadbed.errors import UsageError

if TYPE_CHECKING:
    from roadbed.kube.client import Cluster
    from roadbed.kube.profile import Profile
    from roadbed.kube.sizes import ClusterJob

DEFAULT_NAMESPACE = "roadbed"


@click.command()
@click.argument("spec", metavar="JOB", type=click.Path(path_type=Path))
@click.option("--profile", metavar="NAME", help="Sizes of the pods, image and store (default: gpu or cpu, by the job).")
@click.option("--queue", metavar="NAME", help="Kueue's LocalQueue; \"\" for none (default: the profile's).")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a field: train.epochs=3.")
@click.option("--namespace", "-n", metavar="NAME", help="Namespace (default: the kubeconfig's).")
@click.option("--context", metavar="NAME", help="Context of the kubeconfig (default: the current one).")
@click.option("--profiles", "profiles_file", type=click.Path(path_type=Path), help="Take profiles from this YAML file.")
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Print the manifest, and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --dry-run that of the manifest.")
@click.option("--ray-address", metavar="URL", help="A Ray without Kubernetes instead: http://HOST:8265.")
def submit(
    spec: Path,
    profile: str | None,
    queue: str | None,
    overrides: tuple[str, ...],
    namespace: str | None,
    context: str | None,
    profiles_file: Path | None,
    is_dry_run: bool,
    as_json: bool,
    ray_address: str | None,
) -> None:
    """Send the JOB (a YAML file of kind train or tune) to a Kubernetes cluster with the KubeRay operator.

    It is the spec that runs on a laptop. A job that is sent again under its name goes on from its last checkpoint.
    What the job takes at most is told before anything is sent.

    \b
    roadbed submit jobs/camvid-quick.yaml
    roadbed submit jobs/cityscapes-r50.yaml --profile gpu --queue vision --set cluster.deadline_h=48
    roadbed submit jobs/camvid-tune.yaml --dry-run | kubectl apply --server-side -f -
    RAY_AUTH_MODE=token RAY_AUTH_TOKEN=... roadbed submit JOB --ray-address http://head.example.org:8265
    """
    job = _job(spec, overrides, profile=profile, queue=queue)
    if ray_address is not None:
        _refuse_beside_ray(
            {"--profile": profile, "--queue": queue, "--namespace": namespace, "--context": context}
            | {"--profiles": profiles_file, "--dry-run": is_dry_run or None}
        )
        _to_ray(job, ray_address, as_json=as_json)
        return

    def connect() -> Cluster:
        from roadbed.kube.client import Cluster

        return Cluster.connect(context=context, namespace=namespace)

    chosen = _profile(job, profile, profiles_file, connect, may_be_offline=is_dry_run)
    if is_dry_run:
        from roadbed.kube.manifest import as_yaml

        manifest = _manifest(job, chosen, namespace=namespace or _own_namespace(connect))
        click.echo(json.dumps(manifest, indent=1) + "\n" if as_json else as_yaml(manifest), nl=False)
    else:
        _to_cluster(job, chosen, connect(), as_json=as_json)


def _job(spec: Path, overrides: tuple[str, ...], *, profile: str | None, queue: str | None) -> ClusterJob:
    """The job with the options in its spec. Raises UsageError with the chart's values for one of kind serve."""
    from roadbed.kube.serve_values import serve_values
    from roadbed.spec import ServeJob, load_any

    asked = {"cluster.profile": profile, "cluster.queue": queue}
    given = [f"{key}={json.dumps(text)}" for key, text in asked.items() if text is not None]
    job = load_any(spec, overrides)
    if isinstance(job, ServeJob):
        raise UsageError(
            f"{spec}: an endpoint is no job that ends: the chart runs it. Write these values into a file and install "
            "them with `helm upgrade --install roadbed helm/roadbed --namespace roadbed --values FILE`:\n"
            + serve_values(job).rstrip()
        )
    again = load_any(spec, (*overrides, *given))
    assert not isinstance(again, ServeJob)
    return again


def _profile(job: ClusterJob, asked: str | None, path: Path | None, connect: Any, *, may_be_offline: bool) -> Profile:
    from roadbed.kube.find_profile import choose, known_profiles, profile_name

    profiles, origin = known_profiles(path, connect, notify=tell, may_be_offline=may_be_offline)
    return choose(profiles, profile_name(job, asked), origin=origin)


def _manifest(job: ClusterJob, profile: Profile, *, namespace: str, submission: str = "") -> dict[str, Any]:
    """The RayJob; what it takes is told, and so is what may go wrong. Raises UsageError for what would be refused."""
    from roadbed.kube.lint import refuse_faults
    from roadbed.kube.rayjob import rayjob
    from roadbed.kube.rooted import rooted
    from roadbed.kube.sizes import estimate, size_of

    job = rooted(job, profile)
    manifest = rayjob(job, profile, namespace=namespace, submission=submission)
    refuse_faults([manifest], notify=tell)
    tell(f"{job.kind} {job.name}: {estimate(job, profile, size_of(job, profile.worker))}")
    return manifest


def _to_cluster(job: ClusterJob, profile: Profile, cluster: Cluster, *, as_json: bool) -> None:
    from roadbed.kube.records import remove_old_records
    from roadbed.kube.sending import send

    submission = secrets.token_hex(8)
    manifest = _manifest(job, profile, namespace=cluster.namespace, submission=submission)
    remove_old_records(cluster, notify=tell)
    send(cluster, manifest, notify=tell)
    if as_json:
        told = {"name": job.name, "kind": job.kind, "namespace": cluster.namespace, "server": cluster.server}
        click.echo(json.dumps(told | {"submission": submission}))
        return
    click.echo(f"RayJob {job.name} is in namespace {cluster.namespace} of {cluster.server}")
    advise(f"next: roadbed jobs show {job.name}; roadbed jobs logs {job.name} --follow")


def _own_namespace(connect: Any) -> str:
    """The kubeconfig's namespace, else the one that the chart is installed into by its documentation."""
    from roadbed.errors import ClusterError

    try:
        return str(connect().namespace)
    except ClusterError:
        return DEFAULT_NAMESPACE


def _refuse_beside_ray(options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value is not None:
            raise UsageError(
                f"{name} is for Kubernetes, and --ray-address is for a Ray without it; leave one of them out"
            )


def _to_ray(job: ClusterJob, address: str, *, as_json: bool) -> None:
    from roadbed.runtime.ray_jobs import submit_to_ray

    number = job.workers.num_workers.max
    tell(
        f"{job.kind} {job.name}: at most {number} workers x {job.workers.cpus_per_worker} CPU, "
        f"{job.workers.gpus_per_worker} GPU{' a trial' if job.kind == 'tune' else ''}"
    )
    submission = submit_to_ray(job, address, submission=secrets.token_hex(8))
    if as_json:
        told = {"name": job.name, "kind": job.kind, "ray_address": address, "submission": submission}
        click.echo(json.dumps(told))
        return
    click.echo(f"Ray job {submission} is at {address}")
    advise(f"next: ray job logs --address {address} --follow {submission}")
