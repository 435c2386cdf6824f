"""Job specs: whether they are valid and fit their profile, and the RayJobs that `roadbed submit` would make of them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import yaml

from roadbed.errors import UsageError
from roadbed.kube.lint.faults import Fault
from roadbed.kube.lint.reading import Written
from roadbed.spec.job import ServeJob, TrainJob, TuneJob
from roadbed.spec.load import job_class


def read_job(text: str, *, origin: str, profile: str | None, namespace: str) -> tuple[list[Written], list[Fault]]:
    """The RayJob of a job spec, or the faults for which there is none. `kind: serve` becomes no object: the chart's is.

    `profile` is a built-in one or a file; None: the spec's, else gpu for workers with GPUs, else cpu. Raises UsageError
    if there is none.
    """
    values = yaml.safe_load(text)
    name = f"{values['kind']}/{values.get('name', '?')}"
    try:
        job = job_class(values["kind"], origin=origin).parse(values, origin=origin)
    except UsageError as error:
        return [], _spec_faults(error, name, origin)
    if isinstance(job, ServeJob):
        return [], []
    chosen = _profile(profile or _profile_of(job))
    try:
        manifest = importlib.import_module("roadbed.kube.rayjob").rayjob(job, chosen, namespace=namespace)
    except UsageError as error:
        return [], _spec_faults(error, name, origin)
    return [Written(manifest, origin)], []


def _spec_faults(error: UsageError, name: str, origin: str) -> list[Fault]:
    """A fault for every line of an error."""
    lines = [line.removeprefix(f"{origin}: ") for line in str(error).splitlines()]
    return [Fault("spec", "error", name, "", line, "", source=origin) for line in lines]


def _profile_of(job: TrainJob | TuneJob) -> str:
    cluster = getattr(job, "cluster", None)
    return getattr(cluster, "profile", None) or ("gpu" if job.workers.gpus_per_worker else "cpu")


def _profile(name: str) -> Any:
    profiles = importlib.import_module("roadbed.kube.profile")
    built_in = profiles.built_in_profiles()
    if name in built_in:
        return built_in[name]
    path = Path(name)
    if not path.is_file():
        known = ", ".join(built_in)
        raise UsageError(
            f"--profile {name}: is neither built in ({known}) nor a file; name one of them, or a YAML file"
        )
    return profiles.parse_profile(path.read_text(encoding="utf-8"), origin=str(path))
