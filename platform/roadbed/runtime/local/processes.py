"""Child processes that outlive their parent: started in a session of their own, known by id and start, ended whole."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from roadbed.errors import RoadbedError
from roadbed.runtime.local.process_table import look_up, members_of
from roadbed.runtime.local.state import Process

LOOPBACK = "127.0.0.1"
POLL_INTERVAL_S = 0.05
_LOG_LINES = 15
_PORTS = range(20000, 32000)


def find_program(name: str, *, remedy: str) -> str:
    """The program's path: beside this Python (its virtual environment), or on PATH. Raises RoadbedError."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if found is None:
        raise RoadbedError(f"the program {name} is neither beside {sys.executable} nor on PATH; {remedy}")
    return found


def free_ports(count: int) -> tuple[int, ...]:
    """Different ports that nobody listens on at this moment, below the range that outgoing connections take theirs of.

    Hence they are likely to be free again at the next start.
    """
    candidates = random.sample(_PORTS, len(_PORTS))
    free = list(itertools.islice((port for port in candidates if are_free([port])), count))
    if len(free) < count:
        raise RoadbedError(f"fewer than {count} free ports in {_PORTS[0]}-{_PORTS[-1]}; stop what listens on them")
    return tuple(free)


def are_free(ports: Sequence[int]) -> bool:
    """Whether nobody listens on any of the ports at this moment."""
    for port in ports:
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((LOOPBACK, port))
            except OSError:
                return False
    return True


def start(command: Sequence[str], *, log: Path, environment: Mapping[str, str], folder: Path) -> Process:
    """Start a program in a session of its own, its output into `log` (the log before is kept as *.old)."""
    if log.exists():
        log.replace(log.with_name(log.name + ".old"))
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )
    child.returncode = 0  # A Popen that is dropped complains about a child that lives on; this one is meant to.
    facts = look_up(child.pid)
    return Process(child.pid, facts.started if facts else "ended at once")


def is_alive(process: Process) -> bool:
    """Whether that very process lives: not another of the same id, not one that ended and was not waited for."""
    facts = look_up(process.pid)
    return facts is not None and facts.started == process.started


def wait_until(ready: Callable[[], bool], process: Process, *, what: str, log: Path, timeout_s: float) -> None:
    """Return once `ready`. Raises RoadbedError with the log's last lines if the process ends or time runs out."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if not is_alive(process):
            raise RoadbedError(f"{what} ended while starting; {tail(log)}")
        if time.monotonic() > deadline:
            raise RoadbedError(f"{what} was not ready within {timeout_s:.0f} s; {tail(log)}")
        time.sleep(POLL_INTERVAL_S)


def stop(process: Process, *, grace_s: float) -> None:
    """End the process, asked first, then forced; then whatever is left of its session. Returns when all are gone."""
    if is_alive(process):
        _signal(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while is_alive(process) and time.monotonic() < deadline:
            time.sleep(POLL_INTERVAL_S)
    while members := _session_members(process):
        for pid in members:
            _signal(pid, signal.SIGKILL)
        time.sleep(POLL_INTERVAL_S)


def without_proxy() -> urllib.request.OpenerDirector:
    """Opens loopback addresses directly, whatever proxy the environment names."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def tail(log: Path) -> str:
    """The last lines of a log, as the end of a message."""
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if log.exists() else []
    said = "".join(f"\n  {line}" for line in lines) or " it said nothing"
    return f"its log {log} ends with:{said}"


def _session_members(process: Process) -> list[int]:
    leader = look_up(process.pid)
    if leader is not None and leader.started != process.started:
        return []  # The id was given out again, which happens only after the session is empty.
    return [facts.pid for facts in members_of(process.pid)]


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
