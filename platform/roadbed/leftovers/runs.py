"""Of runs that nobody trains: checkpoints that latest.json does not name, and what watchdogs wrote of finished ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from roadbed.errors import ConflictError, DamagedError, NotFoundError, UsageError
from roadbed.leftovers.leftover import Leftover, delete_all, grouped, newest
from roadbed.runs import Pointer, Run, RunStatus, list_runs
from roadbed.runs.state import POINTER_KEY
from roadbed.storage import ObjectInfo, Store

_MANIFEST = "manifest.json"
_CHECKPOINT = re.compile(r"(attempts/[0-9]+/checkpoints/[^/]+|adopted/[^/]+)/.+")
_REPORT = re.compile(r"(attempts/[0-9]+/stalls)/[0-9]+\.json")


def leftovers_of_runs(
    root: Store, cutoff: float, *, clock: Callable[[], float], spare: Callable[[str], None]
) -> Iterator[Leftover]:
    """The leftovers of all runs; `cutoff` (unix seconds) is the time after which nothing is old enough."""
    for name in list_runs(root):
        try:
            yield from _of_run(Run(root, name, clock=clock), cutoff)
        except (DamagedError, UsageError) as error:
            spare(str(error))


def _of_run(run: Run, cutoff: float) -> Iterator[Leftover]:
    """Raises DamagedError where it cannot be told what the run needs."""
    status = run.status()
    if _may_live(status, cutoff):
        return
    named = _named(_pointer(run, status))
    infos = [*run.store.list("attempts/"), *run.store.list("adopted/")]
    for folder, group in grouped(infos, partial(_folder_of, _CHECKPOINT)).items():
        if folder not in named and newest(group) <= cutoff:
            is_whole = any(info.key == f"{folder}/{_MANIFEST}" for info in group)
            why = f"{'whole' if is_whole else 'torn'}, and {POINTER_KEY} does not name it"
            delete = partial(_delete_checkpoint, run, folder, group, cutoff)
            yield Leftover.of("checkpoint", run.store, folder, group, why, delete)
    if status is not None and status.state == "finished":
        for folder, group in grouped(infos, partial(_folder_of, _REPORT)).items():
            if newest(group) <= cutoff:
                why = "what workers told of a standstill, and the run has finished since"
                yield Leftover.of(
                    "reports", run.store, folder, group, why, partial(_delete_reports, run, group, cutoff)
                )


def _may_live(status: RunStatus | None, cutoff: float) -> bool:
    """Whether the run gave a sign within the margin, or is about to: a retry's heartbeat lies in the future."""
    return status is not None and status.heartbeat_at > cutoff


def _pointer(run: Run, status: RunStatus | None) -> Pointer:
    """Raises DamagedError if there is none though the run has begun: it was lost, and with it what to keep."""
    if status is not None and not run.store.exists(POINTER_KEY):
        raise DamagedError(f"{run.uri}/{POINTER_KEY}: is not there, though the run has begun; nothing of it is deleted")
    return run.pointer()


def _named(pointer: Pointer) -> set[str]:
    return {ref.key for ref in (*pointer.checkpoints, pointer.best) if ref is not None}


def _folder_of(pattern: re.Pattern[str], key: str) -> str | None:
    found = pattern.fullmatch(key)
    return found[1] if found else None


def _delete_checkpoint(run: Run, folder: str, infos: Sequence[ObjectInfo], cutoff: float) -> bool:
    """Take the manifest away, look whether an attempt that woke up has pointed to it just now, then take the rest."""
    if not _is_unused(run, folder, cutoff):
        return False
    key = f"{folder}/{_MANIFEST}"
    manifest = None
    with suppress(NotFoundError):
        manifest = run.store.get(key)
    run.store.delete(key)
    if not _is_unused(run, folder, cutoff):
        if manifest is not None:
            with suppress(ConflictError):
                run.store.put_if(key, manifest, etag=None)
        return False
    delete_all(run.store, {info.key for info in infos} - {key})
    return True


def _is_unused(run: Run, folder: str, cutoff: float) -> bool:
    status = run.status()
    return not _may_live(status, cutoff) and folder not in _named(_pointer(run, status))


def _delete_reports(run: Run, infos: Sequence[ObjectInfo], cutoff: float) -> bool:
    if _may_live(run.status(), cutoff):
        return False
    delete_all(run.store, [info.key for info in infos])
    return True
