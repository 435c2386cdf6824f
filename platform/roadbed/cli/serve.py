"""`roadbed serve SPEC|MODEL`."""

from __future__ import annotations

import json
from typing import Any

import click

from roadbed.cli.completion import files
from roadbed.cli.signals import stopped_by_signals
from roadbed.cli.store import connection, store_option, tell


@click.command()
@click.argument("what", metavar="SPEC|MODEL", shell_complete=files)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a field: serve.replicas.max=4.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; 0.0.0.0 for other machines too.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free one.")
@click.option("--haproxy", "with_haproxy", is_flag=True, help="HAProxy in front, in place of Ray's own proxy.")
@store_option
def serve(what: str, overrides: tuple[str, ...], host: str, port: int, with_haproxy: bool, store: str) -> None:
    """Answer over HTTP with a model, until Ctrl-C.

    WHAT is a job spec (a YAML file of kind serve), or a model: NAME@ALIAS is followed as it moves, NAME:NUMBER stays.
    `roadbed explain serve` prints what can be set. A page to try it is at the printed address.

    \b
    roadbed serve camvid@champion
    roadbed serve jobs/camvid-serve.yaml --set serve.replicas.max=4
    curl --data-binary @street.jpg http://127.0.0.1:8000/v1/segment -o mask.png
    """
    from roadbed.runtime.local.processes import free_ports
    from roadbed.runtime.serve import served, wait_until_answered

    job = _job(what, overrides, store)
    with (
        connection(job.output.store, needs_ray=True),
        stopped_by_signals() as stopped,
        served(job, host=host, port=port or free_ports(1)[0], with_haproxy=with_haproxy, notify=tell) as endpoint,
    ):
        status, body = wait_until_answered(endpoint)
        click.echo(_told(endpoint.url, status, json.loads(body), job.serve.model))
        stopped.wait()
        tell("stopping: requests that came are answered")


def _job(what: str, overrides: tuple[str, ...], store: str) -> Any:
    from pathlib import Path

    import yaml

    from roadbed.spec import ServeJob, load_kind, parse_kind

    if what.endswith((".yaml", ".yml")):
        return load_kind(ServeJob, Path(what), overrides)
    spec = {"kind": "serve", "serve": {"model": what}, "output": {"store": store}}
    return parse_kind(ServeJob, yaml.safe_dump(spec), origin=what, overrides=overrides)


def _told(url: str, status: int, answer: dict[str, Any], model: str) -> str:
    if status == 200:
        return f"serving {answer['model']} ({model}) at {url} - Ctrl-C stops it"
    return f"waiting for a model at {url} - Ctrl-C stops it\n{answer['error']['message']}"
