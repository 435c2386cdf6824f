"""`roadbed evaluate MODEL DATASET`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from roadbed.cli.store import connection, store_option, tell
from roadbed.cli.workers import (
    MOST_THREADS,
    ONE_AT_A_TIME,
    check_reach,
    chosen_mapper,
    default_threads,
    workers_option,
    workers_words,
)

if TYPE_CHECKING:
    from roadbed.data.dataset import Dataset
    from roadbed.data.parallel import Mapper
    from roadbed.evaluation import Bootstrap, Comparison, Evaluation, Scoring
    from roadbed.registry import Registry

STDOUT = Path("-")


@click.command()
@click.argument("model")
@click.argument("dataset")
@click.option("--split", default="val", show_default=True, help="Which frames of DATASET.")
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="What computes: torch, inductor, openvino, onnxruntime; auto: the fastest that the version is exported for.",
)
@click.option(
    "--views",
    metavar="LIST",
    help="Sizes at which each frame is seen, and flip for mirrored ones, as in 0.75,1,1.25,flip.  "
    "[default: those with which the version was scored]",
)
@click.option(
    "--tile", metavar="WxH", help="See larger frames through overlapping windows of this size, as in 1024x512."
)
@click.option(
    "--dilation",
    type=click.FloatRange(0, 0.1, min_open=True),
    default=0.005,
    show_default=True,
    help="Width of boundaries, over a frame's diagonal.",
)
@click.option("--calibration/--no-calibration", default=True, help="Count how sure the model is of its pixels.")
@click.option("--bootstrap", "draws", type=click.IntRange(100), default=2000, show_default=True, help="Draws.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, other draws.")
@click.option("--threads", type=click.IntRange(1), help=f"[default: one per CPU, at most {MOST_THREADS}]")
@workers_option
@click.option("--compare", "other", metavar="OTHER", help="Score this model on the same frames: is it better?")
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write everything there; - is stdout, and the tables go to stderr.",
)
@click.option("--page", type=click.Path(path_type=Path, dir_okay=False), help="Write a report there, as HTML.")
@click.option(
    "--pictures", type=click.Path(path_type=Path, file_okay=False), help="Write best, middle and worst frames there."
)
@store_option
def evaluate(
    model: str,
    dataset: str,
    split: str,
    engine: str,
    views: str | None,
    tile: str | None,
    dilation: float,
    calibration: bool,
    draws: int,
    seed: int,
    threads: int | None,
    workers: int | None,
    other: str | None,
    json_path: Path | None,
    page: Path | None,
    pictures: Path | None,
    store: str,
) -> None:
    """Score MODEL (NAME@ALIAS, NAME:NUMBER or a uri) on a split of DATASET, with confidence intervals.

    The same frames give the same counts for any number of threads or workers, each of which computes with one thread.

    \b
    roadbed evaluate camvid@champion s3://roadbed/datasets/camvid --page report.html
    roadbed evaluate camvid:3 s3://roadbed/datasets/camvid --compare camvid:4 --json scores.json
    """
    from roadbed.cli.evaluation_table import print_evaluations
    from roadbed.data.dataset import Dataset
    from roadbed.errors import UsageError
    from roadbed.evaluation import Bootstrap, Comparison, FrameScorer
    from roadbed.registry import Registry
    from roadbed.report.evaluation_frames import save_frames
    from roadbed.report.files import write_text
    from roadbed.storage import open_store

    if workers is not None and threads is not None:
        raise UsageError(f"--threads {threads} and --workers {workers}: frames are scored by one or the other")
    choices = _choices(views, tile) | {"dilation": dilation, "is_calibrated": calibration}
    check_reach(workers, (store, model, other or "", dataset))
    with connection(store, model, other or "", dataset, needs_ray=workers is not None):
        registry, data = Registry(open_store(store)), Dataset.open(dataset)
        subjects = [Subject(registry, name, data, split, engine, choices) for name in (model, other) if name]
        engines = [subject.scoring.engine for subject in subjects]
        num_threads = default_threads(*engines) if threads is None or ONE_AT_A_TIME in engines else threads
        worked = workers_words(num_threads, workers)
        with chosen_mapper(num_threads, workers) as mapper:
            found = [subject.evaluate(mapper, worked, Bootstrap(draws, seed)) for subject in subjects]
        comparison = Comparison(*found) if other else None
        with redirect_stdout(sys.stderr) if json_path == STDOUT else nullcontext():
            print_evaluations(found, comparison)
        if json_path is not None:
            text = json.dumps(_json(found, comparison), indent=1, ensure_ascii=False, allow_nan=False)
            click.echo(text) if json_path == STDOUT else write_text(json_path, text)
        if page is not None:
            _write_page(found, comparison, page, store)
        if pictures is not None:
            save_frames(found[0], FrameScorer(found[0].scoring).look, pictures)
    for name, path in (("scores", json_path), ("report", page), ("pictures", pictures)):
        if path is not None and path != STDOUT:
            click.echo(f"{name}: {path}", err=json_path == STDOUT)


class Subject:
    """A version that is to be scored; everything that can be refused is refused when this is made."""

    def __init__(
        self,
        registry: Registry,
        name: str,
        data: Dataset,
        split: str,
        engine: str = "auto",
        choices: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        from dataclasses import replace

        from roadbed.evaluation import Scoring
        from roadbed.inference.export import open_engine

        version = registry.resolve(name)
        self.card = version.card()
        self.labels = data.label_space
        self._samples = range(data.split(split).num_samples)
        self.scoring: Scoring = replace(Scoring.of(version, data, split, engine=engine), **choices)
        opened = open_engine(version, engine, threads=1)
        for reason in opened.reasons:
            tell(reason)
        self.scoring = replace(self.scoring, engine=opened.engine.name)
        self._note = opened.engine.note

    def evaluate(self, mapper: Mapper, workers: str, bootstrap: Bootstrap) -> Evaluation:
        """Score every frame of the split, with a bar."""
        from roadbed.cli.progress import WorkProgress
        from roadbed.evaluation import Evaluation, FrameScorer, score_frames

        with WorkProgress(f"evaluate {self.scoring.reference}") as bar:
            frames, wall_s = score_frames(FrameScorer(self.scoring), self._samples, mapper=mapper, progress=bar.update)
        return Evaluation(self.scoring, self.labels, self.card, self._note, frames, wall_s, workers, bootstrap)


def _choices(views: str | None, tile: str | None) -> dict[str, Any]:
    """How frames are seen, where it is said."""
    from roadbed.inference.tiles import Tiles
    from roadbed.inference.views import Views

    seen: dict[str, Any] = {} if views is None else {"views": Views.parse(views)}
    return seen if tile is None else seen | {"tiles": Tiles.parse(tile)}


def _json(found: list[Evaluation], comparison: Comparison | None) -> dict[str, Any]:
    """The evaluation; with two of them, both and how they differ."""
    if comparison is None:
        return found[0].to_json()
    return {"evaluations": [one.to_json() for one in found], "comparison": comparison.to_json()}


def _write_page(found: Sequence[Evaluation], comparison: Comparison | None, page: Path, store: str) -> None:
    from roadbed.evaluation import FrameScorer
    from roadbed.report.evaluation import evaluation_page
    from roadbed.report.files import write_text

    looks = [FrameScorer(one.scoring).look for one in found]
    compared = None if comparison is None else (comparison, looks[1])
    write_text(page, evaluation_page(found[0], looks[0], compared, trained=_trained(found[0], store)))


def _trained(evaluation: Evaluation, store: str) -> list[dict[str, Any]]:
    """The metric lines of the run that the version is of; none if it is not of this store, or gone."""
    from roadbed.runs import Run
    from roadbed.storage import open_store

    facts = evaluation.card.get("run")
    if facts is None:
        return []
    run = Run(open_store(store), facts["name"])
    return run.lines("metrics") if run.uri == facts["uri"] else []
