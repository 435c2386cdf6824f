"""What the system tells of processes: from /proc where there is one (Linux), else from `ps` (macOS)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Facts:
    """One living process. `session` is the id of its session's leader (without /proc: of its group's leader).

    `started` changes if the id is given out again.
    """

    pid: int
    session: int
    started: str


def look_up(pid: int) -> Facts | None:
    """The living process of that id. A child of ours that ended is waited for and counts as gone."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    if (_PROC / "self").exists():
        return _from_proc(pid)
    return next(_from_ps("-p", str(pid)), None)


def members_of(session: int) -> list[Facts]:
    """The living processes of a session."""
    if (_PROC / "self").exists():
        pids = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
        everybody = [facts for pid in pids if (facts := _from_proc(pid)) is not None]
    else:
        everybody = [*_from_ps("-A")]
    return [facts for facts in everybody if facts.session == session]


def _from_proc(pid: int) -> Facts | None:
    """See proc_pid_stat(5): after the name in brackets come state (field 3), session (6) and start time (22)."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in {"Z", "X"}:
        return None
    return Facts(pid, session=int(fields[3]), started=fields[19])


def _from_ps(*selection: str) -> Iterator[Facts]:
    listing = subprocess.run(
        ["ps", *selection, "-o", "pid=,pgid=,stat=,lstart="],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    for line in listing.stdout.splitlines():
        pid, group, state, started = line.split(None, 3)
        if not state.startswith("Z"):
            yield Facts(int(pid), session=int(group), started=started.strip())
