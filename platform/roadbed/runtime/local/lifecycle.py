"""Starting, stopping and looking at what a local folder runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from roadbed.runtime.local.folder import changing, local_folder
from roadbed.runtime.local.head import STOP_GRACE_S, start_head, stop_head
from roadbed.runtime.local.processes import is_alive, stop
from roadbed.runtime.local.state import LocalState, environment, read_state, write_state
from roadbed.runtime.local.weed import start_store, stop_store


def silent(text: str) -> None:
    """A notify that tells nobody."""


def up(
    folder: Path | str | None = None,
    *,
    with_ray: bool = True,
    num_cpus: int | None = None,
    notify: Callable[[str], None] = silent,
) -> LocalState:
    """Start the store, and Ray unless `with_ray` is False, to run until `down`; what runs already is left as it is.

    `num_cpus` is how many CPUs Ray believes to have, None for all. If one part fails to start, whatever this call
    started is stopped again. Raises RoadbedError with the last lines of the log.
    """
    place = local_folder(folder)
    with changing(place):
        return start_missing(place, with_ray=with_ray, num_cpus=num_cpus, is_kept=True, notify=notify)


def down(folder: Path | str | None = None) -> LocalState | None:
    """Stop what runs and wait for its end; what was running, None if nothing. The data stay.

    Only recorded processes, and what they started, are ended.
    """
    place = local_folder(folder)
    if not place.is_dir():
        return None
    with changing(place):
        before = look(place)
        stop_all(place)
        return before


def status(folder: Path | str | None = None) -> LocalState | None:
    """What runs, None if nothing does. A part that died is None and told in `faults`."""
    return look(local_folder(folder))


def look(place: Path) -> LocalState | None:
    """What is recorded and lives, with the rest as faults; None if nothing lives."""
    recorded = read_state(place)
    if recorded is None:
        return None
    faults = []
    store, ray = recorded.store, recorded.ray
    if store and not is_alive(store.process):
        faults.append(f"the store (process {store.process.pid}) died; its log: {store.log}")
        store = None
    if ray and not is_alive(ray.process):
        faults.append(f"the Ray head (process {ray.process.pid}) died; its log: {ray.log}")
        ray = None
    monitor = recorded.monitor if recorded.monitor and is_alive(recorded.monitor.process) else None
    if store is None and ray is None and monitor is None:
        return None
    return replace(recorded, store=store, ray=ray, monitor=monitor, faults=tuple(faults))


def start_missing(
    place: Path, *, with_ray: bool, num_cpus: int | None, is_kept: bool, notify: Callable[[str], None]
) -> LocalState:
    """Start what is not running yet; the caller holds `changing`."""
    found = look(place)
    _clear_remains(place)
    state = replace(found or LocalState(place), faults=())
    state = replace(state, is_kept=state.is_kept or is_kept)
    started_store = None
    try:
        if state.store is None:
            how_long = "" if state.is_kept else " for the time of this command (`roadbed local up` keeps one)"
            notify(f"starting a local S3 server in {place}{how_long}")
            before = state
            started_store = start_store(place, record=lambda server: write_state(replace(before, store=server)))
            state = replace(state, store=started_store)
        if with_ray and state.ray is None:
            notify("starting a local Ray")
            variables = environment(replace(state, ray=None))
            with_store = state
            head = start_head(
                place,
                variables=variables,
                num_cpus=num_cpus,
                record=lambda head: write_state(replace(with_store, ray=head)),
            )
            state = replace(state, ray=head)
    except BaseException:
        if started_store is not None:
            stop_store(started_store)
            state = replace(state, store=None)
        write_state(replace(state, is_kept=bool(found and found.is_kept)))
        raise
    write_state(state)
    return state


def stop_all(place: Path) -> None:
    """Stop whatever is recorded, Ray first; the caller holds `changing`."""
    recorded = read_state(place)
    if recorded is None:
        return
    if recorded.monitor:
        stop(recorded.monitor.process, grace_s=STOP_GRACE_S)
    if recorded.ray:
        stop_head(recorded.ray)
    if recorded.store:
        stop_store(recorded.store)
    write_state(LocalState(place))


def _clear_remains(place: Path) -> None:
    """End what a dead recorded process left behind: a Ray head that was killed leaves its children."""
    recorded = read_state(place)
    if recorded is None:
        return
    if recorded.ray and not is_alive(recorded.ray.process):
        stop_head(recorded.ray)
    if recorded.store and not is_alive(recorded.store.process):
        with suppress(OSError):
            stop_store(recorded.store)
