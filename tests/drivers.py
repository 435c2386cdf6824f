"""Runs that are started as a user starts them, in a process that a test may stop, kill and wait for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from roadbed.errors import StoreError
from roadbed.runs import Run, RunStatus
from roadbed.spec import TrainJob, dump_job
from roadbed.storage import open_store

PATIENCE_S = 240.0


class Driver:
    """`roadbed train` of a job, in a process of its own. `processes` are the ids of a run's worker processes."""

    def __init__(
        self, made: TrainJob, folder: Path, *, takeover: bool = False, environment: Mapping[str, str] | None = None
    ) -> None:
        self.run = Run(open_store(made.output.store), made.name)
        self.log = folder / f"{made.name}-{time.monotonic_ns()}.log"
        spec = self.log.with_suffix(".yaml")
        spec.write_text(dump_job(made))
        self.num_attempts_before = len(self.run.attempts())
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "roadbed", "train", str(spec), *(["--takeover"] if takeover else [])],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONWARNINGS": "ignore"} | dict(environment or {}),
            )

    def until(self, is_so: Callable[[RunStatus], bool], what: str) -> RunStatus:
        """The first status of an attempt of this driver that is so. Fails if the driver ends or takes too long."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with suppress(StoreError):
                status = self.run.status()
                if status is not None and status.attempt > self.num_attempts_before and is_so(status):
                    return status
            assert self.process.poll() is None, f"ended before {what}: {self.said()}"
            time.sleep(0.1)
        raise AssertionError(f"never came to {what}: {self.said()}")

    def until_step(self, step: int) -> RunStatus:
        return self.until(lambda status: status.step >= step, f"step {step}")

    def claim(self) -> dict[str, Any]:
        """What the newest attempt said of itself."""
        return self.run.attempts()[-1][1]

    def workers(self) -> list[int]:
        """Process ids of the newest attempt's workers on this machine, by rank."""
        return [int(place.rpartition(" ")[2]) for place in self.claim()["workers"]]

    def wait(self) -> int:
        """Its exit status."""
        try:
            return self.process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"does not end: {self.said()}") from None

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def said(self) -> str:
        return self.log.read_text()


@contextmanager
def driving(*arguments: Any, **settings: Any) -> Iterator[Driver]:
    """A Driver that does not outlive the block."""
    driver = Driver(*arguments, **settings)
    try:
        yield driver
    finally:
        if driver.process.poll() is None:
            driver.process.send_signal(signal.SIGCONT)
            driver.kill()


def ids_of(made: TrainJob) -> list[list[str]]:
    """The sample keys of every global batch of a run, in order."""
    return [line["keys"] for line in Run(open_store(made.output.store), made.name).lines("samples")]


def losses_of(made: TrainJob) -> list[float]:
    return [line["loss"] for line in Run(open_store(made.output.store), made.name).lines("metrics") if "loss" in line]
