"""How a command reaches a store and Ray: as its environment says, else those of the local folder, else its own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Literal

from roadbed.runtime.local.folder import Use, changing, local_folder
from roadbed.runtime.local.lifecycle import look, silent, start_missing, stop_all
from roadbed.runtime.local.state import LOOPBACK_ONLY, LocalState, environment
from roadbed.runtime.local.variables import no_aws, variables_set

_AWS_VARIABLES = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
_POD_VARIABLE = "KUBERNETES_SERVICE_HOST"

StoreSource = Literal["environment", "local", "files", "own"]


@contextmanager
def connected(
    *,
    needs_store: bool,
    needs_ray: bool,
    only_local: bool = False,
    folder: Path | str | None = None,
    notify: Callable[[str], None] = silent,
) -> Iterator[None]:
    """Set os.environ, for the time of the block, so that boto3 and Ray find what to use.

    The store is, in this order: what AWS's variables name, or a Kubernetes pod's own; a running local store; what
    ~/.aws configures; else a local store that is started now and stopped when the last command that uses it ends, also
    by Ctrl-C and SIGTERM. `only_local` looks at local stores alone.

    Ray is what RAY_ADDRESS names, or a running local one; else RAY_ADDRESS stays unset for whoever starts one. On a
    machine of one's own that one listens on loopback only.
    """
    place = local_folder(folder)
    is_told = not only_local and _is_told()
    with _terminated_as_exit():
        state, use = None, None
        try:
            if needs_store and not is_told:
                state, use = _local_store(place, may_start=only_local or not _has_aws_files(), notify=notify)
            with variables_set(_wanted(place, state, needs_ray=needs_ray, only_local=only_local)):
                yield
        finally:
            if use is not None:
                _leave(place, use)


def store_source(folder: Path | str | None = None) -> StoreSource:
    """Where `connected` would find a store: the environment, what runs locally, ~/.aws, or one of its own."""
    if _is_told():
        return "environment"
    found = look(local_folder(folder))
    if found is not None and found.store is not None:
        return "local"
    return "files" if _has_aws_files() else "own"


def _local_store(
    place: Path, *, may_start: bool, notify: Callable[[str], None]
) -> tuple[LocalState, Use] | tuple[None, None]:
    """The folder's store and our claim on it, started if need be; None twice if it does not run and may not start."""
    if not may_start and not place.is_dir():
        return None, None
    with changing(place):
        state = look(place)
        if state is None or state.store is None:
            if not may_start:
                return None, None
            state = start_missing(place, with_ray=False, num_cpus=None, is_kept=False, notify=notify)
        return state, Use(place)


def _leave(place: Path, use: Use) -> None:
    """Give the claim back; the last one to leave stops a store that nobody asked to keep."""
    with changing(place):
        if use.release():
            state = look(place)
            if state is not None and not state.is_kept:
                stop_all(place)


def _wanted(place: Path, store: LocalState | None, *, needs_ray: bool, only_local: bool) -> dict[str, str | None]:
    """The variables to set, None for those to take away."""
    wanted: dict[str, str | None] = {}
    if store is not None:
        wanted |= no_aws()
        wanted |= {name: text for name, text in environment(store).items() if name.startswith("AWS_")}
    if needs_ray and (only_local or not os.environ.get("RAY_ADDRESS")) and not os.environ.get(_POD_VARIABLE):
        running = look(place)
        if running is not None and running.ray is not None:
            wanted |= {name: text for name, text in environment(running).items() if name.startswith("RAY_")}
        else:
            wanted |= {"RAY_ADDRESS": None, **LOOPBACK_ONLY}
    return wanted


def _is_told() -> bool:
    return any(os.environ.get(name) for name in (*_AWS_VARIABLES, _POD_VARIABLE))


def _has_aws_files() -> bool:
    return any((Path.home() / ".aws" / name).is_file() for name in ("credentials", "config"))


@contextmanager
def _terminated_as_exit() -> Iterator[None]:
    """Let SIGTERM and a closed terminal unwind the stack, as Ctrl-C does, so that what was started is stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            taken[number] = signal.signal(number, _exit)
    try:
        yield
    finally:
        for number, before in taken.items():
            signal.signal(number, before)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
