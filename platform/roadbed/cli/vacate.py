"""`roadbed vacate JOB`: hidden, for the preStop hooks of a job's pods."""

from __future__ import annotations

import socket
from pathlib import Path

import click

from roadbed.cli.store import tell
from roadbed.errors import UsageError


@click.command(hidden=True)
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--within-s", type=click.FloatRange(min=0), required=True, help="Seconds that this pod has.")
@click.option("--head", "is_head", is_flag=True, help="This is the pod of Ray's head.")
def vacate(spec: Path, within_s: float, is_head: bool) -> None:
    """Let the runs on this pod save a checkpoint before it goes, and wait until it is in the store."""
    from roadbed.runtime.vacate import RayNodes
    from roadbed.runtime.vacate import vacate as let_save
    from roadbed.spec import ServeJob, load_any

    job, host = load_any(spec), socket.gethostname()
    if isinstance(job, ServeJob):
        raise UsageError(f"{spec}: a job of kind serve has no checkpoints to save")
    nodes = RayNodes(within_s=within_s)
    hosts = {host, *nodes.hosts()} if is_head else None
    is_saved = let_save(job, host=host, cluster_hosts=hosts, drain=nodes.drain, within_s=within_s)
    tell("saved, or nothing to save" if is_saved else f"no newer checkpoint within {within_s:g} s")
