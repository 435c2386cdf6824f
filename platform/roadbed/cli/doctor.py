"""`roadbed doctor`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from roadbed.cli.store import store_option

if TYPE_CHECKING:
    from roadbed.doctor import Finding

COLOURS = {"ok": "green", "note": "cyan", "problem": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def doctor(as_json: bool, store: str) -> None:
    """Look at this machine: Python, torch, accelerator, Ray, store, cluster; each problem with its fix.

    Nothing is started and nothing changed; the object with which the store's writing is tried is deleted again. Exit
    status: 0 nothing is broken (notes do not count), 1 something is. `roadbed data doctor` looks at data.

    \b
    roadbed doctor
    roadbed doctor --store s3://team/roadbed --json
    """
    from roadbed.doctor import CHECKS, examine

    found = []
    for finding in examine(CHECKS, store):
        found.append(finding)
        if not as_json:
            _print(finding)
    counts = {state: sum(one.state == state for one in found) for state in COLOURS}
    if as_json:
        click.echo(json.dumps({"counts": counts, "checks": [one.to_json() for one in found]}, indent=1))
    else:
        click.echo(f"ok: {counts['ok']}, notes: {counts['note']}, problems: {counts['problem']}")
    if counts["problem"]:
        sys.exit(1)


def _print(finding: Finding) -> None:
    state = click.style(f"{finding.state:<7}", fg=COLOURS[finding.state])
    click.echo(f"{state}  {finding.check:<11}  {finding.what}")
    if finding.fix:
        click.echo(f"{'':7}  {'':11}  fix: {finding.fix}")
