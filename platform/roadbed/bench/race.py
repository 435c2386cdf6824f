"""`roadbed bench loader`: loaders side by side in one run, each in fresh processes, in turn, round after round.

A shared machine is noisy, so what counts are ratios within a round, and their medians over the rounds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from roadbed.bench.contender import Settings, write_settings
from roadbed.bench.frames import Copies, prepared
from roadbed.bench.rivals import write_files, write_litdata
from roadbed.bench.tree import PeakMemory
from roadbed.data.prepare import PrepareOptions
from roadbed.errors import RoadbedError, UsageError
from roadbed.storage import open_store

NAMES = ("roadbed-uint8", "roadbed-float32", "litdata", "webdataset", "boto3", "memory")
NEEDS = {"litdata": "litdata", "webdataset": "webdataset"}
OURS = "roadbed"
COMPLETE = "complete"
WARM_EPOCHS = 2
TIMEOUT_S = 900


@dataclass(frozen=True)
class Result:
    """One contender over all rounds: a figure per round."""

    name: str
    cold_per_s: tuple[float, ...]
    warm_per_s: tuple[float, ...]
    cold_cpu_s_per_1000: tuple[float, ...]
    warm_cpu_s_per_1000: tuple[float, ...]
    peak_mb: tuple[float, ...]
    is_every_key_once: bool


def installed(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Which of the contenders can run here, and a line for each that cannot. Raises UsageError for unknown names."""
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise UsageError(f"no contender is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    missing = [name for name in names if name in NEEDS and find_spec(NEEDS[name]) is None]
    lines = [f"{name} is left out: it is not installed; pip install {NEEDS[name]}" for name in missing]
    return [name for name in names if name not in missing], lines


def race(
    source: Copies,
    root_uri: str,
    *,
    names: Sequence[str],
    num_rounds: int,
    batch_size: int,
    num_workers: int,
    rival_decoders: str,
    tell: Callable[[str], None],
) -> list[Result]:
    """Prepare the data below `root_uri` in whatever form each contender wants it, and let them run in turn.

    Raises RoadbedError if a contender's process fails.
    """
    with tempfile.TemporaryDirectory(prefix="roadbed-bench-") as folder:
        ours = prepared(source, f"{root_uri}/dataset")
        # Restart markers serve our decoder alone, and would cost the rivals' some percent.
        plain = prepared(source, f"{root_uri}/plain", PrepareOptions(jpeg_restarts=False))
        files_uri, litdata_uri = (f"{root_uri}/{form}-{plain.digest[:12]}" for form in ("files", "litdata"))
        if "boto3" in names:
            _once(files_uri, lambda: write_files(plain, files_uri), tell)
        if "litdata" in names:
            _once(litdata_uri, lambda: write_litdata(plain, litdata_uri, Path(folder)), tell)
        runs: dict[str, list[_Run]] = {name: [] for name in names}
        for number in range(num_rounds):
            for name in names:
                scratch = Path(folder) / f"{name}-{number}"
                scratch.mkdir()
                settings = Settings(
                    name,
                    (ours if name.startswith(OURS) else plain).uri,
                    files_uri,
                    litdata_uri,
                    str(scratch),
                    batch_size,
                    num_workers,
                    rival_decoders,
                    1 + WARM_EPOCHS,
                )
                run = _run(settings, Path(folder) / "settings.json")
                runs[name].append(run)
                tell(f"round {number + 1}/{num_rounds} {name}: cold {run.cold_per_s:.0f}, warm {run.warm_per_s:.0f}/s")
    return [_result(name, runs[name]) for name in names]


def _once(uri: str, write: Callable[[], None], tell: Callable[[str], None]) -> None:
    """Write what a rival reads, unless an earlier run wrote all of it."""
    store = open_store(uri)
    if not store.exists(COMPLETE):
        tell(f"writing {uri}")
        write()
        store.put(COMPLETE, b"")


@dataclass(frozen=True)
class _Run:
    cold_per_s: float
    warm_per_s: float
    cold_cpu_s_per_1000: float
    warm_cpu_s_per_1000: float
    peak_mb: float
    is_every_key_once: bool


def _run(settings: Settings, path: Path) -> _Run:
    write_settings(settings, path)
    with subprocess.Popen(
        [sys.executable, "-m", "roadbed.bench.contender", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        memory = PeakMemory(process.pid)
        try:
            out, errors = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise RoadbedError(f"{settings.name}: no end after {TIMEOUT_S} s; leave it out with --only") from None
        finally:
            peak_mb = memory.stop()
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    if process.returncode or len(lines) != settings.num_epochs:
        raise RoadbedError(f"{settings.name}: its process failed:\n{errors.strip()[-2000:]}")
    return _figures(lines, peak_mb)


def _figures(lines: Sequence[dict[str, Any]], peak_mb: float) -> _Run:
    cold, *warm = lines
    return _Run(
        cold_per_s=cold["num_images"] / cold["seconds"],
        warm_per_s=median(line["num_images"] / line["seconds"] for line in warm),
        cold_cpu_s_per_1000=1000 * cold["cpu_s"] / cold["num_images"],
        warm_cpu_s_per_1000=median(1000 * line["cpu_s"] / line["num_images"] for line in warm),
        peak_mb=peak_mb,
        is_every_key_once=all(line["is_every_key_once"] for line in lines),
    )


def _result(name: str, runs: Sequence[_Run]) -> Result:
    return Result(
        name,
        tuple(run.cold_per_s for run in runs),
        tuple(run.warm_per_s for run in runs),
        tuple(run.cold_cpu_s_per_1000 for run in runs),
        tuple(run.warm_cpu_s_per_1000 for run in runs),
        tuple(run.peak_mb for run in runs),
        all(run.is_every_key_once for run in runs),
    )


def ratios(results: Sequence[Result], *, over: str) -> dict[str, dict[str, float]]:
    """Each of our modes against the contender `over`: the median over the rounds of the ratio within a round."""
    by_name = {result.name: result for result in results}
    if over not in by_name:
        return {}
    rival = by_name[over]

    def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
        return round(median(one / other for one, other in zip(ours, theirs, strict=True)), 2)

    return {
        result.name: {
            "cold": ratio(result.cold_per_s, rival.cold_per_s),
            "warm": ratio(result.warm_per_s, rival.warm_per_s),
            "cold_cpu": ratio(rival.cold_cpu_s_per_1000, result.cold_cpu_s_per_1000),
            "warm_cpu": ratio(rival.warm_cpu_s_per_1000, result.warm_cpu_s_per_1000),
        }
        for result in results
        if result.name.startswith(OURS)
    }
