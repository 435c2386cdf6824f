"""What the commands about jobs share: their options, the cluster, and all that is known of a job."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from roadbed.errors import RoadbedError

if TYPE_CHECKING:
    from roadbed.kube.client import Cluster
    from roadbed.kube.facts import JobFacts, Object
    from roadbed.kube.gather import Belongings
    from roadbed.runs import Run

_TOLD_OF_STORE = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_DEFAULT_PROFILE")


def cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--namespace, --context and --json."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--context", metavar="NAME", help="Context of the kubeconfig (default: the current one)."),
        click.option("--namespace", "-n", metavar="NAME", help="Namespace (default: the kubeconfig's)."),
    ):
        function = option(function)
    return function


def job_store_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--store, for one that is reached by another name from here."""
    return click.option(
        "--store",
        envvar="ROADBED_STORE",
        metavar="URI",
        help="Root of runs, if not that of the job's spec (or set ROADBED_STORE).",
    )(function)


def connect(context: str | None, namespace: str | None) -> Cluster:
    """The cluster's namespace."""
    from roadbed.kube.client import Cluster

    return Cluster.connect(context=context, namespace=namespace)


class Runs:
    """The runs of jobs, read from their stores. A store that does not answer is asked once."""

    def __init__(self, store: str | None) -> None:
        self._store = store
        self._errors: dict[str, str] = {}

    @contextmanager
    def of(self, rayjob: Object) -> Iterator[Run]:
        """The run of a job, where the store is reached as here, or else as the job's pods are told to."""
        from roadbed.kube.gather import folder_of, store_of, store_settings
        from roadbed.runs import Run
        from roadbed.runtime.local.variables import variables_set
        from roadbed.storage import open_store

        is_told = any(os.environ.get(name) for name in _TOLD_OF_STORE)
        with variables_set({} if is_told else store_settings(rayjob)):
            root = open_store(self._store or store_of(rayjob))
            yield Run(root, rayjob["metadata"]["name"], folder=folder_of(rayjob))

    def facts(self, rayjob: Object, belongings: Belongings) -> JobFacts:
        """All that is known of a job."""
        from roadbed.kube.facts import JobFacts
        from roadbed.kube.gather import store_of

        known = (rayjob, belongings.pods, belongings.events, belongings.workload)
        root = self._store or store_of(rayjob)
        if root in self._errors:
            return JobFacts(*known, now=time.time(), store_error=self._errors[root])
        try:
            with self.of(rayjob) as run:
                status = run.status()
                end = run.end_of(status.attempt) if status is not None and status.state == "failed" else None
        except RoadbedError as error:
            self._errors[root] = str(error)
            return JobFacts(*known, now=time.time(), store_error=str(error))
        return JobFacts(*known, run_status=status, now=time.time(), run_end=end)


def facts_of(cluster: Cluster, name: str, store: str | None) -> JobFacts:
    """All that is known of the job of a name. Raises NoSuchObjectError that names the nearest."""
    from roadbed.kube.gather import Snapshot, find_job

    rayjob = find_job(cluster, name)
    return Runs(store).facts(rayjob, Snapshot.take(cluster, run=name).of(rayjob))
