"""A run that is there, for the commands that are about one."""

from __future__ import annotations

from roadbed.errors import NotFoundError
from roadbed.runs import Run, RunStatus
from roadbed.storage import open_store


def existing_run(store: str, name: str) -> tuple[Run, RunStatus]:
    """The run and its status. Raises NotFoundError if it has no attempt yet."""
    run = Run(open_store(store), name)
    status = run.status()
    if status is None:
        raise NotFoundError(f"{run.uri}: no such run; see `roadbed runs list`")
    return run, status
