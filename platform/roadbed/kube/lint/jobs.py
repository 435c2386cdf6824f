"""Job specs: whether they are valid and fit their profile, and the RayJobs that `roadbed submit` would make of them."""

from __future__ import annotations

from pathlib import Path

import yaml

from roadbed.errors import UsageError
from roadbed.kube.find_profile import choose, profile_name, profiles_of_file
from roadbed.kube.lint.faults import Fault
from roadbed.kube.lint.reading import Written
from roadbed.kube.profile import built_in_profiles
from roadbed.kube.rayjob import rayjob
from roadbed.kube.rooted import rooted
from roadbed.spec.job import KINDS, ServeJob
from roadbed.spec.load import job_class


def is_job(text: str) -> bool:
    """Whether a text is a job spec: one of its kinds, and no version of an API."""
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and "apiVersion" not in values and str(values.get("kind")) in KINDS


def read_job(
    text: str, *, origin: str, profile: str | None, profiles_file: Path | None, namespace: str
) -> tuple[list[Written], list[Fault]]:
    """The RayJob of a job spec, or the faults for which there is none. `kind: serve` becomes no object: the chart's is.

    Profiles are the built-in ones, or those of a file. Raises UsageError if it has none of that name.
    """
    values = yaml.safe_load(text)
    name = f"{values['kind']}/{values.get('name', '?')}"
    try:
        job = job_class(values["kind"], origin=origin).parse(values, origin=origin)
    except UsageError as error:
        return [], _faults(error, name, origin)
    if isinstance(job, ServeJob):
        return [], []
    profiles = built_in_profiles() if profiles_file is None else profiles_of_file(profiles_file)
    chosen = choose(profiles, profile_name(job, profile), origin=str(profiles_file or "built-in profiles"))
    try:
        return [Written(rayjob(rooted(job, chosen), chosen, namespace=namespace), origin)], []
    except UsageError as error:
        return [], _faults(error, name, origin)


def _faults(error: UsageError, name: str, origin: str) -> list[Fault]:
    """A fault for every line of an error; the lines say themselves which key and what to do."""
    found = []
    for line in str(error).splitlines():
        problem, _, fix = line.removeprefix(f"{origin}: ").partition("; ")
        path, colon, rest = problem.partition(": ")
        is_key = bool(colon) and " " not in path
        found.append(
            Fault("spec", "error", name, path if is_key else "", rest if is_key else problem, fix, source=origin)
        )
    return found
