"""`roadbed lint JOB|MANIFEST|FOLDER|CHART [VALUES...]`."""

from __future__ import annotations

import difflib
import fnmatch
import json
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from roadbed.cli.completion import files

if TYPE_CHECKING:
    from roadbed.kube.lint import Fault
    from roadbed.kube.lint.reading import Written
    from roadbed.kube.schemas import Schemas


@click.command()
@click.argument(
    "targets", nargs=-1, required=False, metavar="JOB|MANIFEST|FOLDER|CHART [VALUES]...", shell_complete=files
)
@click.option("--profile", metavar="NAME", help="Profile for job specs (default: gpu or cpu, by the job).")
@click.option("--profiles", "profiles_file", type=click.Path(path_type=Path), help="Take profiles from this YAML file.")
@click.option("--crds", envvar="ROADBED_CRDS", metavar="DIR", help="Folder of CRDs to check against (ROADBED_CRDS).")
@click.option("--secret", "secrets", multiple=True, metavar="NAME", help="A secret that the namespace has; repeatable.")
@click.option("--release", default="roadbed", show_default=True, help="Name of the release, for a chart.")
@click.option("-n", "--namespace", default="roadbed", show_default=True, help="Namespace of a chart or job.")
@click.option("--skip", "skipped", multiple=True, metavar="RULE", help="Leave a rule out; repeatable; pss-* for many.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--rules", "list_rules", is_flag=True, help="Print the table of rules, and leave.")
def lint(
    targets: tuple[str, ...],
    profile: str | None,
    profiles_file: Path | None,
    crds: str | None,
    secrets: tuple[str, ...],
    release: str,
    namespace: str,
    skipped: tuple[str, ...],
    strict: bool,
    as_json: bool,
    list_rules: bool,
) -> None:
    """Find what would go wrong on a cluster, without one.

    Looks at job specs, at manifests (one file or many, - for stdin), at folders of manifests, at kustomize folders, and
    at charts with their values. Exit status: 0 no error, 1 errors found, 2 asked in a way that cannot be meant.

    \b
    roadbed lint jobs/camvid-quick.yaml
    roadbed lint helm/roadbed my-values.yaml --secret roadbed-store
    kubectl get rayjobs -o yaml | roadbed lint - --crds crds/
    """
    from roadbed.kube.lint import OTHER_RULES, RULES
    from roadbed.kube.lint.faults import faults_of
    from roadbed.kube.lint.targets import Settings, read
    from roadbed.kube.schemas import Schemas

    if list_rules:
        for rule in RULES:
            click.echo(f"{rule.id:20} {rule.severity:8} {rule.looks_at:24} {rule.refuses}")
        for name, refuses in OTHER_RULES.items():
            click.echo(f"{name:20} {'error':8} {'':24} {refuses}")
        return
    if not targets:
        raise click.UsageError("name a job spec, a manifest, a folder or a chart; - reads stdin")
    schemas = Schemas(Path(crds)) if crds else None
    settings = Settings(profile, profiles_file, release, namespace)
    written, found = read(targets, sys.stdin, settings)
    found = found + faults_of(written, schemas=schemas, secrets=secrets or None)
    left_out = _rules(skipped)
    found = [fault for fault in found if fault.rule not in left_out]
    if as_json:
        click.echo(json.dumps(_as_json(written, found, crds), indent=2))
    else:
        _print(written, found, schemas)
    if any(fault.severity == "error" or strict for fault in found):
        sys.exit(1)


def _rules(patterns: tuple[str, ...]) -> set[str]:
    """The rules that patterns name. Raises a usage error for one that names none."""
    from roadbed.kube.lint import OTHER_RULES, RULES

    known = [rule.id for rule in RULES] + list(OTHER_RULES)
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            near = difflib.get_close_matches(pattern, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "`roadbed lint --rules` prints them"
            raise click.UsageError(f"--skip {pattern}: no rule of this name; {hint}")
    return {rule for pattern in patterns for rule in fnmatch.filter(known, pattern)}


def _as_json(written: list[Written], found: list[Fault], crds: str | None) -> dict[str, object]:
    from roadbed.kube.schemas import has_cel

    return {
        "objects": len(written),
        "errors": _count(found, "error"),
        "warnings": _count(found, "warning"),
        "crds": crds,
        "cel": has_cel(),
        "faults": [fault.as_json() for fault in found],
    }


def _count(found: list[Fault], severity: str) -> int:
    return sum(fault.severity == severity for fault in found)


def _print(written: list[Written], found: list[Fault], schemas: Schemas | None) -> None:
    for (source, name), faults in groupby(found, lambda fault: (fault.source, fault.object)):
        click.secho(f"{source}  {name}", bold=True)
        for fault in faults:
            colour = "red" if fault.severity == "error" else "yellow"
            click.echo(f"  {click.style(fault.severity, fg=colour)} [{fault.rule}] {fault.path}: {fault.problem}")
            if fault.fix:
                click.echo(f"    {fault.fix}")
    errors, warnings = _count(found, "error"), _count(found, "warning")
    click.echo(f"objects: {len(written)}, errors: {errors}, warnings: {warnings}")
    for note in _unchecked(written, schemas):
        click.echo(note, err=True)


def _unchecked(written: list[Written], schemas: Schemas | None) -> Iterator[str]:
    """What was not looked at, a line each."""
    from roadbed.kube.schemas import has_cel

    if schemas is None:
        yield "not checked against schemas: name a folder of CRDs by --crds or ROADBED_CRDS"
        return
    unknown = schemas.unknown(one.obj for one in written)
    if unknown:
        yield f"not checked, no schema in --crds: {', '.join(unknown)}"
    if not has_cel():
        yield "rules in CEL were not evaluated: `pip install common-expression-language`"
