"""`roadbed bench train`: a step alone, the training loop and a plain recipe, in turns of a few steps in one run.

All processes stay alive and only one contender works at a time, so what the machine does besides hits all alike within
seconds. What counts are ratios within a round, their medians, and how sure these are.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import IO, Any, cast

from roadbed.bench.rivals import write_files
from roadbed.bench.train_contender import READY, Settings, write_settings
from roadbed.bench.train_phases import PHASES
from roadbed.data.dataset import Dataset
from roadbed.errors import RoadbedError, UsageError
from roadbed.storage import open_store

NAMES = ("bare", "roadbed", "reference")
OURS = "roadbed"
NUM_RESAMPLES, CONFIDENCE = 2000, 0.95
NUM_ERROR_CHARACTERS = 2000
END_TIMEOUT_S = 30


@dataclass(frozen=True)
class Plan:
    """What is raced. `workers` are numbers of processes, which share `num_cpus` threads and a batch evenly.

    Raises UsageError where they cannot.
    """

    crop_px: tuple[int, int]
    global_batch: int
    workers: tuple[int, ...]
    num_cpus: int
    num_rounds: int
    num_steps: int
    precision: str

    def __post_init__(self) -> None:
        for num_workers in self.workers:
            if self.global_batch % num_workers:
                raise UsageError(f"--batch {self.global_batch} is no multiple of {num_workers} workers")


@dataclass(frozen=True)
class Result:
    """One contender: images/s of every round, all workers together, and the shares of a step's time by phase."""

    name: str
    num_workers: int
    images_per_s: tuple[float, ...]
    phases: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ratio:
    """The loop's images/s over another's: the median over the rounds, and where that median lies, with 95 %."""

    over: str
    num_workers: int
    median: float
    low: float
    high: float


def chosen(names: Sequence[str]) -> list[str]:
    """The contenders of these names. Raises UsageError for unknown ones."""
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise UsageError(f"no contender is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return list(names)


def race(
    dataset: Dataset, root_uri: str, plan: Plan, *, names: Sequence[str], tell: Callable[[str], None]
) -> list[Result]:
    """Let the contenders train on the dataset in turn. Runs lie below `root_uri` while it lasts.

    Raises RoadbedError if a contender's process fails.
    """
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="roadbed-bench-") as folder:
        if "reference" in names:
            files = Path(folder) / "files"
            files.mkdir()
            write_files(dataset, f"file://{files}")
        try:
            for num_workers in plan.workers:
                results += _race(dataset, root_uri, plan, num_workers, names, Path(folder), tell)
        finally:
            store = open_store(root_uri)
            for found in list(store.list("runs/")):
                store.delete(found.key)
    return results


def _race(
    dataset: Dataset,
    root_uri: str,
    plan: Plan,
    num_workers: int,
    names: Sequence[str],
    folder: Path,
    tell: Callable[[str], None],
) -> list[Result]:
    with ExitStack() as stack:
        contenders = []
        for name in names:
            scratch = folder / f"{name}-{num_workers}"
            scratch.mkdir()
            settings = Settings(
                name,
                dataset.uri,
                root_uri,
                str(folder / "files"),
                str(scratch),
                plan.crop_px,
                plan.global_batch,
                num_workers,
                max(1, plan.num_cpus // num_workers),
                plan.num_steps,
                plan.precision,
            )
            contenders.append(stack.enter_context(_Contender(settings)))
            tell(f"{name} is ready: workers={num_workers} threads={settings.num_threads}")
        speeds: dict[str, list[float]] = {name: [] for name in names}
        for number in range(plan.num_rounds):
            first = number % len(contenders)
            for contender in contenders[first:] + contenders[:first]:
                speeds[contender.name].append(contender.images_per_s())
            told = ", ".join(f"{name} {speeds[name][-1]:.2f}" for name in names)
            tell(f"workers={num_workers} round {number + 1}/{plan.num_rounds} images/s: {told}")
        phases = {contender.name: contender.phases() for contender in contenders if contender.name != "reference"}
    return [Result(name, num_workers, tuple(speeds[name]), phases.get(name, {})) for name in names]


class _Contender:
    """The processes of a contender, which wait for their turn."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self._settings = settings
        self._processes: list[subprocess.Popen[str]] = []
        self._errors: list[IO[str]] = []

    def __enter__(self) -> _Contender:
        path = Path(self._settings.scratch) / "settings.json"
        write_settings(self._settings, path)
        for rank in range(self._settings.num_workers):
            errors = (path.parent / f"errors-{rank}").open("w+", encoding="utf-8")
            self._errors.append(errors)
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "roadbed.bench.train_contender", str(path), str(rank)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
            )
        try:
            for rank in range(len(self._processes)):
                assert self._line(rank) == READY
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            with suppress(BrokenPipeError):
                cast(IO[str], process.stdin).close()
        for process, errors in zip(self._processes, self._errors, strict=True):
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:  # a worker that waits for one that has failed
                process.kill()
                process.wait()
            cast(IO[str], process.stdout).close()
            errors.close()

    def images_per_s(self) -> float:
        """Those of a block, added up over the workers."""
        images = self._settings.global_batch / self._settings.num_workers * self._settings.num_steps
        return sum(images / float(line["seconds"]) for line in self._turn("go"))

    def phases(self) -> dict[str, float]:
        """Of a block of its own: shares of the first worker's time."""
        line, *_ = self._turn("phases")
        total = sum(line[phase] for phase in PHASES)
        return {phase: line[phase] / total for phase in PHASES}

    def _turn(self, word: str) -> list[dict[str, Any]]:
        for process in self._processes:
            stdin = cast(IO[str], process.stdin)
            stdin.write(word + "\n")
            stdin.flush()
        return [json.loads(self._line(rank)) for rank in range(len(self._processes))]

    def _line(self, rank: int) -> str:
        line = cast(IO[str], self._processes[rank].stdout).readline().strip()
        if not line:
            errors = self._errors[rank]
            errors.seek(0)
            raise RoadbedError(f"{self.name}: its process failed:\n{errors.read().strip()[-NUM_ERROR_CHARACTERS:]}")
        return line


def ratios(results: Sequence[Result]) -> list[Ratio]:
    """The loop against all others with as many workers."""
    return [
        Ratio(theirs.name, ours.num_workers, *interval(_quotients(ours, theirs)))
        for ours in results
        if ours.name == OURS
        for theirs in results
        if theirs.num_workers == ours.num_workers and theirs.name != OURS
    ]


def _quotients(ours: Result, theirs: Result) -> list[float]:
    return [one / other for one, other in zip(ours.images_per_s, theirs.images_per_s, strict=True)]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and the bounds between which 95 % of the medians of resampled values lie (percentile bootstrap).

    Source: Efron, Bootstrap methods (Annals of Statistics 7, 1979).
    """
    generator = random.Random(0)
    medians = sorted(median(generator.choices(values, k=len(values))) for _ in range(NUM_RESAMPLES))
    outside = round((1 - CONFIDENCE) / 2 * NUM_RESAMPLES)
    return median(values), medians[outside], medians[-1 - outside]


def document(results: Sequence[Result], plan: Plan) -> dict[str, Any]:
    """All figures, for JSON."""
    return {
        "plan": asdict(plan),
        "results": [asdict(result) for result in results],
        "ratios": [asdict(ratio) for ratio in ratios(results)],
    }
