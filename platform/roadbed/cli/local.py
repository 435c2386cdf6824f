"""`roadbed local up|down|status|env|monitor`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from roadbed.cli.store import advise, connection, store_option, tell

if TYPE_CHECKING:
    from roadbed.runtime.local import LocalState

dir_option = click.option(
    "--dir", "folder", type=click.Path(path_type=Path), default=None, help="Folder of the local store and Ray."
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def local() -> None:
    """A real S3 server and a Ray head on this machine, on loopback only, in a folder of their own.

    The folder is --dir, else $ROADBED_LOCAL_DIR, else the nearest .roadbed of this folder and those above. Commands use
    what runs there; without it they start a store and a Ray of their own for their own time. Settings of AWS in the
    environment (AWS_ENDPOINT_URL, AWS_PROFILE, ...) and RAY_ADDRESS come first.

    \b
    roadbed local up
    roadbed local status
    """


@local.command()
@dir_option
@click.option("--ray/--no-ray", "with_ray", default=True, help="Also start a Ray head.")
@click.option("--num-cpus", type=int, default=None, help="CPUs that Ray may use (default: all).")
@json_option
def up(folder: Path | None, with_ray: bool, num_cpus: int | None, as_json: bool) -> None:
    """Start the store and Ray, to stay until `roadbed local down`.

    \b
    roadbed local up
    roadbed local up --no-ray --dir /data/roadbed
    """
    from roadbed.runtime.local import up as start

    _print_state(start(folder, with_ray=with_ray, num_cpus=num_cpus, notify=tell), as_json=as_json)


@local.command()
@dir_option
@json_option
def down(folder: Path | None, as_json: bool) -> None:
    """End the store and Ray. The data stay.

    \b
    roadbed local down
    """
    from roadbed.runtime.local import down as end
    from roadbed.runtime.local import local_folder

    where = local_folder(folder)
    was_running = end(folder) is not None
    if as_json:
        click.echo(json.dumps({"folder": str(where), "was_running": was_running}))
        return
    click.echo(f"ended what ran in {where}; the data stay" if was_running else f"nothing runs in {where}")


@local.command()
@dir_option
@json_option
def status(folder: Path | None, as_json: bool) -> None:
    """Tell what runs and how other tools reach it. Exit status 1 if nothing runs.

    \b
    roadbed local status --json
    """
    _print_state(_running(folder), as_json=as_json)


@local.command()
@dir_option
@json_option
def env(folder: Path | None, as_json: bool) -> None:
    """Print the variables by which aws, boto3, pyarrow and ray find it. Secrets are among them.

    \b
    eval "$(roadbed local env)"
    roadbed local env --json
    """
    from roadbed.runtime.local import environment

    variables = environment(_running(folder))
    if as_json:
        click.echo(json.dumps(variables, indent=1))
        return
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")


@local.command()
@dir_option
@click.option("--port", type=click.IntRange(0, 65535), default=9090, show_default=True, help="0: any free one.")
@store_option
def monitor(folder: Path | None, port: int, store: str) -> None:
    """Run a Prometheus with the chart's rules, until Ctrl-C: it asks the local Ray, and the store's state.

    What trains, tunes and serves is seen if it uses the Ray that `roadbed local up` started; that may come later and
    go again. Alerts are at the printed address. For Grafana, its provisioning folder is printed too: data source and
    dashboards. What Prometheus has seen stays in the folder for 15 days.

    \b
    roadbed local up
    roadbed local monitor
    """
    from roadbed.cli.signals import stopped_by_signals
    from roadbed.exporter import StateCollector, listen, parts_of
    from roadbed.runtime.local import follow_ray, monitored
    from roadbed.storage import open_store

    with connection(store), stopped_by_signals() as stopped:
        collector = StateCollector(parts_of(open_store(store), newest=50), cache_s=10.0, timeout_s=8.0)
        with (
            listen(collector, host="127.0.0.1", port=0) as exporter,
            monitored(folder, exporter=exporter.removeprefix("http://"), port=port) as seen,
        ):
            tell(f"Prometheus is at {seen.url} (alerts: {seen.url}/alerts) - Ctrl-C stops it")
            tell(f"Grafana shows the dashboards with GF_PATHS_PROVISIONING={seen.folder}/monitor/grafana")
            follow_ray(seen, stopped)


def _running(folder: Path | None) -> LocalState:
    from roadbed.errors import RoadbedError
    from roadbed.runtime.local import local_folder
    from roadbed.runtime.local import status as read

    state = read(folder)
    if state is None:
        raise RoadbedError(f"nothing runs in {local_folder(folder)}; start it with `roadbed local up`")
    return state


def _print_state(state: LocalState, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_document(state), indent=1))
        return
    click.echo(f"folder:    {state.folder}")
    click.echo(f"store:     {state.store.endpoint} (bucket roadbed)" if state.store else "store:     not running")
    if state.ray is None:
        click.echo("ray:       not running")
    else:
        click.echo(f"ray:       {state.ray.address}")
        click.echo(f"dashboard: {state.ray.dashboard_url} (token in {state.ray.token_path})")
    if state.monitor is not None:
        click.echo(f"monitor:   {state.monitor.url}")
    for fault in state.faults:
        click.echo(f"fault:     {fault}")
    advise("other tools (aws, boto3, pyarrow, ray) find them after:")
    advise(f'  eval "$(roadbed local env --dir {shlex.quote(str(state.folder))})"')


def _document(state: LocalState) -> dict[str, object]:
    """What runs and where, without the store's secret key."""
    store, ray = state.store, state.ray
    return {
        "folder": str(state.folder),
        "store": None if store is None else {"endpoint": store.endpoint, "bucket": "roadbed", "pid": store.process.pid},
        "ray": None
        if ray is None
        else {
            "address": ray.address,
            "dashboard_url": ray.dashboard_url,
            "token_path": ray.token_path,
            "pid": ray.process.pid,
        },
        "monitor": None if state.monitor is None else {"url": state.monitor.url, "pid": state.monitor.process.pid},
        "is_kept": state.is_kept,
        "faults": state.faults,
    }
