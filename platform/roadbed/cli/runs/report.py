"""`roadbed runs report`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from roadbed.cli.store import connection, store_option

if TYPE_CHECKING:
    from roadbed.evaluation import Evaluation
    from roadbed.report.evaluation_frames import Look
    from roadbed.runs import Run


@click.command()
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="HTML file.  [default: NAME.html]"
)
@click.option(
    "--frames",
    "with_frames",
    is_flag=True,
    help="Score the best checkpoint once more, and show frames beside truth and errors, confusion and calibration.",
)
@store_option
def report(name: str, output: Path | None, with_frames: bool, store: str) -> None:
    """Write a run as a page: scores, curves, classes, what was trained on what, and where the time went.

    The page needs nothing beside itself. `roadbed evaluate` makes one of a version, with intervals of every figure.

    \b
    roadbed runs report camvid-quick -o report.html
    roadbed runs report camvid-quick --frames
    """
    from roadbed.cli.runs.existing import existing_run
    from roadbed.report.files import write_text
    from roadbed.report.run import RunStory, run_page

    path = output or Path(f"{name}.html")
    with connection(store):
        run, status = existing_run(store, name)
        story = RunStory.of(run, status)
        with _seen(run) if with_frames else nullcontext() as seen:
            write_text(path, run_page(story, seen))
    click.echo(f"report: {path}")


@contextmanager
def _seen(run: Run) -> Iterator[tuple[Evaluation, Look]]:
    """What the best checkpoint makes of the split that it was scored on; for the time of the block it is a version."""
    from tempfile import TemporaryDirectory

    from roadbed.cli.evaluate import Subject
    from roadbed.cli.workers import chosen_mapper, default_threads, workers_words
    from roadbed.data.dataset import Dataset
    from roadbed.evaluation import Bootstrap, FrameScorer
    from roadbed.registry import Registry
    from roadbed.spec import parse_job
    from roadbed.storage import open_store
    from roadbed.training.publish import publish_best

    job = parse_job(run.spec() or "", origin=f"{run.uri}/spec.yaml")
    with connection(job.data.uri), TemporaryDirectory() as folder:
        data, registry = Dataset.open(job.data.uri), Registry(open_store(folder))
        publish_best(job, run, data, registry, name=run.name)
        subject = Subject(registry, f"{run.name}:1", data, job.data.eval_split)
        num_threads = default_threads(subject.scoring.engine)
        with chosen_mapper(num_threads, None) as mapper:
            evaluation = subject.evaluate(mapper, workers_words(num_threads, None), Bootstrap())
        yield evaluation, FrameScorer(subject.scoring).look
