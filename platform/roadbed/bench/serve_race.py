"""`roadbed bench serve`: the engine alone, this endpoint, and plain servers around the same engine, in one run.

Each contender is started, warmed, loaded and stopped in turn, round after round, so that what the machine does besides
hits all alike. What counts are ratios of the medians.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import IO, Any, cast

from roadbed.bench.load import Outcome, Request, closed_loop, open_loop
from roadbed.bench.serve_contender import READY, Settings, write_settings
from roadbed.errors import RoadbedError, UsageError
from roadbed.runtime.local.processes import free_ports, without_proxy

NAMES = ("limit", "roadbed", "roadbed-ray-proxy", "fastapi", "litserve", "fastapi-eager")
OURS, LIMIT = "roadbed", "limit"
ASKERS = (1, 4, 16)
OPEN_LOAD = 0.7
WARM_UP_S = 3.0
START_TIMEOUT_S = 180.0
NUM_ERROR_CHARACTERS = 2000


@dataclass(frozen=True)
class Plan:
    """What is raced: a version, the engine that all use but `fastapi-eager`, and how long each load lasts."""

    store: str
    reference: str
    engine: str
    num_processes: int
    num_rounds: int
    seconds: float


@dataclass
class Result:
    """One contender: good answers a second by number of askers, and latencies of the open loop, of every round."""

    name: str
    per_s: dict[int, list[float]] = field(default_factory=dict)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    num_failed: int = 0

    def best(self) -> float:
        """The median of the load with most askers."""
        return median(self.per_s[max(self.per_s)])


def chosen(names: Sequence[str]) -> list[str]:
    """The contenders of these names. Raises UsageError for unknown ones."""
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise UsageError(f"no contender is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return list(names)


def race(picture: bytes, plan: Plan, *, names: Sequence[str], tell: Callable[[str], None]) -> list[Result]:
    """Let the contenders answer in turn. Raises RoadbedError if one cannot be started or fails."""
    results = {name: Result(name) for name in names}
    with tempfile.TemporaryDirectory(prefix="roadbed-bench-") as folder:
        path = Path(folder) / "picture"
        path.write_bytes(picture)
        for number in range(plan.num_rounds):
            first = number % len(names)
            for name in [*names[first:], *names[:first]]:
                with _contender(name, plan, path) as contender:
                    _load(contender, picture, results[name], plan.seconds)
                result = results[name]
                told = ", ".join(f"{askers} askers {values[-1]:.1f}/s" for askers, values in result.per_s.items())
                tell(f"round {number + 1}/{plan.num_rounds} {name}: {told}")
    return [results[name] for name in names]


def ratios(results: Sequence[Result]) -> dict[str, float]:
    """This endpoint's answers a second over each other's, under the load with most askers."""
    by_name = {result.name: result.best() for result in results}
    ours = by_name.get(OURS)
    return {} if ours is None else {name: ours / their for name, their in by_name.items() if name != OURS and their}


def document(results: Sequence[Result], plan: Plan) -> dict[str, Any]:
    """All figures, for JSON."""
    return {"plan": asdict(plan), "results": [asdict(result) for result in results], "ratios": ratios(results)}


class _Limit:
    """As many processes as there are replicas, each with the engine alone."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self.processes = processes

    def per_s(self) -> float:
        """Pictures a second of all together, at the same time."""
        for process in self.processes:
            stdin = cast(IO[str], process.stdin)
            stdin.write("go\n")
            stdin.flush()
        return sum(float(json.loads(_line(process))["per_s"]) for process in self.processes)


def _load(contender: _Limit | Request, picture: bytes, result: Result, seconds: float) -> None:
    if isinstance(contender, _Limit):
        result.per_s.setdefault(max(ASKERS), []).append(contender.per_s())
        return
    asyncio.run(closed_loop(contender, askers=max(ASKERS), seconds=WARM_UP_S))
    outcomes: list[Outcome] = []
    for askers in ASKERS:
        outcome = asyncio.run(closed_loop(contender, askers=askers, seconds=seconds))
        result.per_s.setdefault(askers, []).append(outcome.per_s)
        outcomes.append(outcome)
    rate = max(0.5, OPEN_LOAD * outcomes[-1].per_s)
    outcome = asyncio.run(open_loop(contender, per_s=rate, seconds=seconds))
    result.p50_ms.append(outcome.percentile_ms(50))
    result.p99_ms.append(outcome.percentile_ms(99))
    for each in (*outcomes, outcome):
        result.num_failed += sum(number for status, number in each.statuses.items() if status != 200) + each.num_wrong


@contextmanager
def _contender(name: str, plan: Plan, picture: Path) -> Iterator[_Limit | Request]:
    engine = "torch" if name == "fastapi-eager" else plan.engine
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="roadbed-bench-")))
        port = free_ports(1)[0]
        settings = Settings(
            name, engine, plan.store, plan.reference, str(picture), plan.num_processes, port, plan.seconds
        )
        write_settings(settings, folder / "settings.json")
        command = [sys.executable, "-m", "roadbed.bench.serve_contender", str(folder / "settings.json")]
        if name == LIMIT:
            processes = [stack.enter_context(_process(command, folder)) for _ in range(plan.num_processes)]
            assert all(_line(process) == READY for process in processes)
            yield _Limit(processes)
            return
        body, kind = _form(picture) if name == "litserve" else (picture.read_bytes(), "image/png")
        path = "/"
        if name.startswith(OURS):
            command, path = _our_command(name, plan, port, len(body)), "/v1/segment"
        process = stack.enter_context(_process(command, folder))
        url = f"http://127.0.0.1:{port}"
        _wait(process, f"{url}/{'readyz' if name.startswith(OURS) else 'ready'}", folder)
        yield Request(f"{url}{path}", body, (("Content-Type", kind), ("Accept", "image/png")))


def _our_command(name: str, plan: Plan, port: int, num_bytes: int) -> list[str]:
    """`roadbed serve` with room for the picture, in whole megabytes: HAProxy copies as much for every request."""
    number = plan.num_processes
    values = [f"serve.engine={plan.engine}", f"serve.replicas.min={number}", f"serve.replicas.max={number}"]
    values.append(f"serve.limits.body_mb={math.ceil(num_bytes / 1e6)}")
    words = ["serve", plan.reference, "--store", plan.store, "--port", str(port)]
    words += [word for value in values for word in ("--set", value)]
    return [sys.executable, "-m", "roadbed", *words, *(["--haproxy"] if name == OURS else [])]


@contextmanager
def _process(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process and what it started, ended as by Ctrl-C. RAY_ADDRESS is kept from it, so that it starts its own Ray."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with (folder / "errors").open("a", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            for stream in (process.stdin, process.stdout):
                cast(IO[str], stream).close()


def _line(process: subprocess.Popen[str]) -> str:
    line = cast(IO[str], process.stdout).readline().strip()
    if not line:
        raise RoadbedError("the engine alone could not be run; is the version exported for it?")
    return line


def _wait(process: subprocess.Popen[str], url: str, folder: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with without_proxy().open(urllib.request.Request(url), timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    said = (folder / "errors").read_text(encoding="utf-8").strip()[-NUM_ERROR_CHARACTERS:]
    raise RoadbedError(f"{url}: does not answer:\n{said}")


def _form(picture: Path) -> tuple[bytes, str]:
    head = b'--roadbed\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    return head + picture.read_bytes() + b"\r\n--roadbed--\r\n", "multipart/form-data; boundary=roadbed"
