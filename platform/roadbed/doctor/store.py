"""The store that commands would use: reached, listed, written, with the conditional writes on which runs rest."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from roadbed.doctor.check import Finding, of_error
from roadbed.doctor.machine import can_write, nearest_existing
from roadbed.errors import ConflictError, RoadbedError
from roadbed.runs.state import LOST_AFTER_S
from roadbed.runtime.local import environment, local_folder, status, store_source
from roadbed.runtime.local.processes import find_program
from roadbed.runtime.local.variables import no_aws, variables_set
from roadbed.storage import Store, open_store

_SKEW_S = 10.0


def look_at_store(uri: str) -> Iterator[Finding]:
    """The root at `uri`. What is written there is deleted again."""
    store = open_store(uri)
    if not store.uri.startswith("s3://"):
        yield _folder(store)
        return
    source = store_source()
    if source == "own":
        yield _own(uri)
        return
    state = status() if source == "local" else None
    variables: dict[str, str | None] = {} if state is None else {**no_aws(), **environment(state)}
    with variables_set(variables):
        yield from _s3(open_store(uri), f"{uri} at {_endpoint(source)}")


def _endpoint(source: str) -> str:
    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return named or ("the endpoint that ~/.aws names, or AWS's own" if source == "files" else "AWS's own S3")


def _folder(store: Store) -> Finding:
    folder = Path(store.uri.removeprefix("file://"))
    there = nearest_existing(folder)
    if can_write(there):
        return Finding("ok", f"{store.uri}: a folder that you may write")
    return Finding("problem", f"{store.uri}: you may not write in {there}", "name another root in ROADBED_STORE")


def _own(uri: str) -> Finding:
    """No store is named and none runs: every command starts one, if it has the program."""
    try:
        find_program("weed", remedy="install it with `pip install 'roadbed[local]'`, or name a store of yours in "
                     "AWS_ENDPOINT_URL or AWS_PROFILE")  # fmt: skip
    except RoadbedError as error:
        return of_error(error)
    return Finding(
        "ok", f"{uri}: no store is named or runs, so each command starts one in {local_folder()} for its time"
    )


def _s3(store: Store, where: str) -> Iterator[Finding]:
    folders = store.list_folders()
    yield Finding("ok", f"{where}: answers, holds {', '.join(folders) or 'nothing yet'}")
    key = f".roadbed-doctor-{secrets.token_hex(8)}"
    try:
        yield from _written(store, key)
    finally:
        with suppress(RoadbedError):
            store.delete(key)


def _written(store: Store, key: str) -> Iterator[Finding]:
    """Create an object, see that a second creation and a swap by a wrong etag are refused, and swap it."""
    began = time.time()
    etag = store.put_if(key, b"first", etag=None)
    listed = next((one for one in store.list(key)), None)
    took_s = time.time() - began
    if not _is_refused(store, key, None) or not _is_refused(store, key, '"00000000000000000000000000000000"'):
        yield Finding(
            "problem",
            f"{store.uri}: may be written, but conditions of writes (If-None-Match, If-Match) are ignored, so two "
            "starts of a run could overwrite each other",
            "take a store that has them: AWS S3, SeaweedFS, MinIO, Ceph of late",
        )
        return
    store.put_if(key, b"second", etag=etag)
    yield Finding("ok", f"{store.uri}: may be written, and keeps conditions of writes")
    if listed is not None:
        yield from _skew(listed.modified_at - began, took_s)


def _is_refused(store: Store, key: str, etag: str | None) -> bool:
    try:
        store.put_if(key, b"never", etag=etag)
    except ConflictError:
        return True
    return False


def _skew(ahead_s: float, took_s: float) -> Iterator[Finding]:
    """Nothing, or by how much the store's clock is ahead of this one; it tells whole seconds."""
    if abs(ahead_s) <= _SKEW_S + took_s:
        return
    told = f"this clock is {abs(ahead_s):.0f} s {'behind' if ahead_s > 0 else 'ahead of'} the store's"
    fix = "set the clock, for instance with `timedatectl set-ntp true`"
    if abs(ahead_s) < LOST_AFTER_S:
        yield Finding("note", told, fix)
    else:
        yield Finding("problem", f"{told}: runs of other machines would be shown as lost", fix)
