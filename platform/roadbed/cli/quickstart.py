"""`roadbed quickstart`: the whole way once, on this machine, with real parts."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from roadbed.cli.store import is_quiet, tell
from roadbed.errors import DataError, RoadbedError

if TYPE_CHECKING:
    from roadbed.data.dataset import Dataset
    from roadbed.data.sources import Source
    from roadbed.registry import Registry, Version
    from roadbed.runtime.train import Trained
    from roadbed.spec import TrainJob

NUM_PICTURES = 6


@dataclass(frozen=True)
class Choice:
    """Which data the quickstart works on: the name of dataset and model, what to say of it, and how to open it."""

    name: str
    said: str
    open_source: Callable[[], Source[Any]]


@click.command()
@click.option("--camvid", envvar="CAMVID", default="", metavar="DIR|download|painted", help="Which data to use.")
@click.option("--spec", type=click.Path(path_type=Path), default=Path("jobs/camvid-quick.yaml"), show_default=True,
              help="The job spec to train by.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("quickstart"), show_default=True,
              help="Folder for pictures.")  # fmt: skip
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a field of the job spec.")
def quickstart(camvid: str, spec: Path, output: Path, overrides: tuple[str, ...]) -> None:
    """Prepare data, train on two Ray workers, register the best model and segment pictures, on this machine.

    CamVid comes from --camvid DIR (or the environment variable CAMVID); `download` fetches the public frames, `painted`
    draws a small town instead. Without the option it asks, where there is somebody to ask. What exists is used again.

    \b
    roadbed quickstart
    roadbed quickstart --camvid painted --set train.epochs=1
    """
    from roadbed.cli.progress import TrainingProgress, WorkProgress
    from roadbed.data.prepare import prepare
    from roadbed.registry import Registry
    from roadbed.runtime.local import connected
    from roadbed.runtime.train import complete
    from roadbed.spec import load_job
    from roadbed.storage import open_store

    began = time.monotonic()
    choice = _choose(camvid)
    tell(f"data: {choice.said}")
    names = (
        f"name={choice.name}-quick",
        f"data.uri=s3://roadbed/datasets/{choice.name}",
        f"output.register_as={choice.name}",
    )
    job = load_job(spec, (*names, *overrides))
    with connected(needs_store=True, needs_ray=True, only_local=True, notify=tell):
        source = choice.open_source()
        with WorkProgress("prepare") as progress:
            dataset = prepare(source, open_store(job.data.uri), progress=progress.update)
        with TrainingProgress(job) as progress:
            trained = complete(job, notify=progress.say, follow=progress.follow)
        assert trained.version is not None
        version = trained.version
        registry = Registry(open_store(job.output.store))
        if trained.is_new or "champion" not in registry.aliases(version.name):
            _promote(registry, version)
        _draw(job, dataset, trained, version, output)
        _say(choice, dataset, trained, version, output, elapsed_s=time.monotonic() - began)


def _promote(registry: Registry, version: Version) -> None:
    """Make the version champion; if the present one is better it stays, and that is told."""
    from roadbed.registry import Gates

    try:
        registry.promote(version.name, version.number, gates=Gates(), by="quickstart", reason="the quickstart's best")
    except RoadbedError as error:
        tell(str(error))


def _choose(camvid: str) -> Choice:
    if camvid == "painted":
        return _painted("a painted town, as asked for")
    if camvid == "download":
        return _downloaded()
    if camvid:
        return _camvid(Path(camvid), f"real CamVid in {camvid}")
    folder = _download_folder()
    if (folder / "train").exists():
        return _downloaded_or_painted()
    if sys.stdin.isatty() and click.confirm(
        f"No CAMVID=DIR given. Download the public CamVid (936 files, 120 MB) to {folder}?", default=True, err=True
    ):
        return _downloaded_or_painted()
    return _painted("a PAINTED town and not CamVid, as no CAMVID=DIR was given (CAMVID=download fetches it)")


def _camvid(folder: Path, said: str) -> Choice:
    from roadbed.data.sources.camvid import CamvidSource

    def open_source() -> CamvidSource:
        source = CamvidSource(folder)
        for note in source.notes:
            tell(note)
        return source

    return Choice("camvid", said, open_source)


def _downloaded() -> Choice:
    from roadbed.cli.progress import WorkProgress
    from roadbed.data.sources.camvid_download import download_camvid

    folder = _download_folder()
    with WorkProgress("download CamVid") as progress:
        download_camvid(folder, progress=progress.update)
    return _camvid(folder, f"the public CamVid, downloaded to {folder}")


def _downloaded_or_painted() -> Choice:
    try:
        return _downloaded()
    except DataError as error:
        tell(str(error))
        return _painted("a PAINTED town and not CamVid, as CamVid could not be fetched")


def _painted(said: str) -> Choice:
    from roadbed.data.sources.painted import PaintedSource

    return Choice("painted", said, lambda: PaintedSource())


def _download_folder() -> Path:
    from roadbed.runtime.local import local_folder

    return local_folder() / "camvid"


def _draw(job: TrainJob, dataset: Dataset, trained: Trained, version: Version, output: Path) -> None:
    """The pictures: curves, and frames of the evaluation split beside truth, prediction and errors."""
    from roadbed.cli.progress import WorkProgress
    from roadbed.inference.predictor import Predictor
    from roadbed.report.curves import draw_curves
    from roadbed.report.overlay import save_comparison

    output.mkdir(parents=True, exist_ok=True)
    draw_curves(trained.run.lines("metrics"), output / "curves.png", title=job.name)
    predictor = Predictor.load(version)
    split = dataset.split(job.data.eval_split)
    samples = split.spread(NUM_PICTURES)
    with WorkProgress("draw") as progress:
        for done, sample in enumerate(samples, start=1):
            image_HW3, truth_HW = split.read_sample(sample)
            predicted_HW = predictor.predict(image_HW3)
            path = output / f"{split.key(sample)}.png"
            save_comparison(image_HW3, truth_HW, predicted_HW, dataset.label_space, path, title=split.key(sample))
            progress.update(done, len(samples), path.name)


def _say(
    choice: Choice, dataset: Dataset, trained: Trained, version: Version, output: Path, *, elapsed_s: float
) -> None:
    """The closing table and what to type next."""
    from rich.console import Console
    from rich.table import Table

    from roadbed.cli.models import class_table

    console = Console(highlight=False, soft_wrap=True)
    card = version.card()
    scores = card["scores"]
    speeds = [line["images_per_s"] for line in trained.run.lines("metrics") if "images_per_s" in line]
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    counts = ", ".join(f"{split.num_samples} {name}" for name, split in dataset.splits.items())
    for fact, value in (
        ("data", choice.said),
        ("dataset", f"{dataset.uri} ({counts})"),
        ("run", trained.run.uri),
        ("champion", f"{version.name}:{version.number} ({version.uri})"),
        ("mIoU", f"{100 * scores['miou']:.1f} %"),
        ("pixel accuracy", f"{100 * scores['pixel_accuracy']:.1f} %"),
        ("training speed", f"{sorted(speeds)[len(speeds) // 2]:.1f} images/s (median step)"),
        ("time", f"{elapsed_s / 60:.1f} minutes"),
        ("pictures", f"{output}/ (curves, frames beside truth and prediction)"),
    ):
        facts.add_row(fact, value)
    console.print()
    console.print(class_table(card))
    console.print()
    console.print(facts)
    if is_quiet():
        return
    console.print()
    console.print("Next:")
    if shutil.which("roadbed") is None:
        console.print(f"  source {Path(sys.executable).parent / 'activate'}")
    console.print(f"  roadbed models show {version.name}@champion")
    console.print(f"  roadbed predict {version.name}@champion PICTURE.jpg -o predictions")
    console.print("  roadbed train jobs/camvid-quick.yaml --set name=longer --set train.epochs=30")
    console.print("  roadbed local up    # keeps the store and Ray running, and tells how to reach them")
