"""`roadbed bench serve`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click

from roadbed.cli.bench.shared import figure_options, write_figures
from roadbed.cli.store import connection, store_option, tell
from roadbed.cli.table import print_table

if TYPE_CHECKING:
    from roadbed.bench.serve_race import Result
    from roadbed.registry import Registry, Version


@click.command()
@click.argument("model")
@click.option("--picture", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="What is sent.")
@click.option("--engine", default="auto", show_default=True, help="Of all contenders but fastapi-eager.")
@click.option(
    "--processes", type=click.IntRange(1), default=2, show_default=True, help="Replicas, workers; a thread each."
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="How often each one runs.")
@click.option("--seconds", type=click.FloatRange(1), default=10.0, show_default=True, help="How long each load lasts.")
@click.option("--only", metavar="A,B", help="Which contenders run.  [default: all]")
@click.option(
    "--chaos", is_flag=True, help="Instead: promotions, a killed replica, a redeployment and a burst under load."
)
@store_option
@figure_options
def serve(
    model: str,
    picture: Path | None,
    engine: str,
    processes: int,
    rounds: int,
    seconds: float,
    only: str | None,
    chaos: bool,
    store: str,
    json_path: Path | None,
    plot: Path | None,
) -> None:
    """Compare the endpoint of MODEL with its engine alone, and with plain servers around the same engine.

    Each answers 1, 4 and 16 askers who ask again at once, and then requests that come at 70 % of what it could do.
    Without --picture a street of the painted town is sent, as PNG. fastapi-eager is torch in float32; roadbed is the
    endpoint behind HAProxy, roadbed-ray-proxy behind Ray's own proxy.

    With --chaos the endpoint alone is put under half of its load, while a version is promoted and rolled back, a
    replica is killed and the endpoint is deployed anew, and then under three times of what it can do. Every answer is
    compared with the mask that it must be. At last it is timed how soon a lone replica under load gets a second one.

    \b
    roadbed bench serve camvid@champion --picture street.png
    """
    from roadbed.bench.serve_plot import draw_serving
    from roadbed.bench.serve_race import NAMES, Plan, chosen, document, race
    from roadbed.registry import Registry
    from roadbed.serving.examples import painted_png
    from roadbed.storage import open_store

    names = chosen(only.split(",") if only else NAMES)
    body = painted_png() if picture is None else picture.read_bytes()
    with connection(store):
        registry = Registry(open_store(store))
        version = registry.resolve(model)
        if chaos:
            _chaos(version, registry, body, engine, seconds)
            return
        plan = Plan(store, f"{version.name}:{version.number}", engine, processes, rounds, seconds)
        results = race(body, plan, names=names, tell=tell)
    _print(results)
    write_figures(json_path, document(results, plan), plot, partial(draw_serving, results))


def _chaos(version: Version, registry: Registry, body: bytes, engine: str, seconds: float) -> None:
    from roadbed.bench import serve_chaos

    found = serve_chaos.chaos(version, registry, body, engine=engine, seconds=seconds, tell=tell)
    phases = found.phases
    print_table(
        ["under steady load", "answers", "failed"], [[p.name, serve_chaos.told(p), str(p.num_failed)] for p in phases]
    )
    click.echo(f"1 to 2 replicas: {found.scaled_s:.1f} s after a step of load")
    if failed := sum(phase.num_failed for phase in phases):
        raise click.ClickException(f"{failed} answers were lost or wrong")


def _print(results: list[Result]) -> None:
    from roadbed.bench.serve_race import ASKERS, OURS, ratios

    print_table(
        ["contender", *(f"{askers} askers, 1/s" for askers in ASKERS), "p50 at 70 %, ms", "p99, ms", "failed"],
        [
            [
                result.name,
                *(f"{median(result.per_s[askers]):.1f}" if askers in result.per_s else "" for askers in ASKERS),
                f"{median(result.p50_ms):.0f}" if result.p50_ms else "",
                f"{median(result.p99_ms):.0f}" if result.p99_ms else "",
                str(result.num_failed),
            ]
            for result in results
        ],
    )
    for name, ratio in ratios(results).items():
        click.echo(f"{OURS} against {name}, {max(ASKERS)} askers: {ratio:.2f} x")
