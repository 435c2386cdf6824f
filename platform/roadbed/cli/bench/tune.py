"""`roadbed bench tune SPEC`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from roadbed.cli.store import connection, tell


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a field: tune.trials=4.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures.")
def tune(spec: Path, overrides: tuple[str, ...], json_path: Path | None) -> None:
    """Say what a sweep's scheduler saves, and what Ray costs it.

    Trains the trials of SPEC (a job of kind tune, with values drawn at random) three times: with its scheduler, without
    one, and without Ray, in as many plain processes as trials at a time. It takes nearly three times as long as those
    trials do.

    \b
    roadbed bench tune jobs/camvid-tune.yaml --set data.crop_px=[120,160]
    """
    from roadbed.bench.tune_race import race
    from roadbed.cli.table import print_table
    from roadbed.spec import TuneJob, load_kind

    job = load_kind(TuneJob, spec, overrides)
    with connection(job.output.store, job.data.uri, job.model.weights, needs_ray=True):
        figures = race(job, tell=tell)
    print_table(
        ["pass", "seconds", "epochs", "best"],
        [[one.name, f"{one.wall_s:.1f}", f"{one.epochs:g}", f"{100 * one.best:.1f} %"] for one in figures.passes],
    )
    click.echo(f"epochs with the scheduler over those without: {figures.epoch_share:.2f}")
    click.echo(
        f"Ray Tune and Ray Train over bare training of the same trials: {figures.overhead:.3f} x "
        f"({figures.overhead_s:.1f} s a trial, {figures.at_once} at a time)"
    )
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(figures.to_json(), indent=1) + "\n", encoding="utf-8")
