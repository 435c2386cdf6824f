"""`roadbed train SPEC`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from roadbed.cli.store import advise, connection, submission_options

if TYPE_CHECKING:
    from roadbed.runtime.train import Trained


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a field: train.epochs=3.")
@click.option("--takeover", is_flag=True, help="Replace an attempt of this run that still lives.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@submission_options
def train(
    spec: Path, overrides: tuple[str, ...], takeover: bool, as_json: bool, submission: str | None, wait_s: float
) -> None:
    """Train a model by the job SPEC (a YAML file).

    A run that was interrupted goes on from its last checkpoint when it is started again with the same name, with any
    number of workers.

    \b
    roadbed train jobs/camvid-quick.yaml
    roadbed train jobs/camvid-quick.yaml --set workers.num_workers=1 --set name=camvid-one
    """
    from roadbed.cli.progress import TrainingProgress
    from roadbed.runs import Run
    from roadbed.runtime.submission import submitted
    from roadbed.runtime.train import complete
    from roadbed.spec import load_job
    from roadbed.storage import open_store

    job = load_job(spec, overrides)
    with connection(job.output.store, job.data.uri, job.model.weights, needs_ray=True):
        run = Run(open_store(job.output.store), job.name)
        with submitted(run, submission), TrainingProgress(job) as progress:
            trained = complete(job, takeover=takeover, wait_s=wait_s, notify=progress.say, follow=progress.follow)
        if as_json:
            click.echo(json.dumps(_document(trained), indent=1))
            return
        done = trained.status.progress
        said = "finished" if trained.is_new else "was finished before"
        click.echo(
            f"run {job.name} {said}: mIoU {100 * done['miou']:.1f} %, pixel accuracy "
            f"{100 * done['pixel_accuracy']:.1f} % on {job.data.eval_split}, {trained.status.step} steps"
        )
        click.echo(f"run: {trained.run.uri}")
        if trained.version is not None:
            version = f"{trained.version.name}:{trained.version.number}"
            click.echo(f"version: {version} ({trained.version.uri})")
            advise(f"next: roadbed models promote {version}")


def _document(trained: Trained) -> dict[str, object]:
    done, version = trained.status.progress, trained.version
    return {
        "run": trained.status.name,
        "uri": trained.run.uri,
        "is_new": trained.is_new,
        "steps": trained.status.step,
        "miou": done["miou"],
        "pixel_accuracy": done["pixel_accuracy"],
        "version": None if version is None else f"{version.name}:{version.number}",
        "version_uri": None if version is None else version.uri,
    }
