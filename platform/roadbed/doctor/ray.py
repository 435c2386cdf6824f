"""Ray: whether it can be imported, what RAY_ADDRESS leads to, and whether its token is there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from roadbed.doctor.check import Finding, import_trouble

_UNSET = "unset RAY_ADDRESS to work on this machine"


def look_at_ray(_store: str) -> Iterator[Finding]:
    """The package, and the cluster that a command would use."""
    if (trouble := import_trouble("ray")) is not None:
        yield Finding("problem", trouble, "pip install 'ray[train,tune,serve]>=2.60,<2.61'")
        return
    version, address = metadata.version("ray"), os.environ.get("RAY_ADDRESS", "")
    if address:
        yield from _token(address)
        yield _remote(address, version)
    else:
        yield from _local(version)


def _token(address: str) -> Iterator[Finding]:
    """What is wrong with Ray's token. Source: Ray's documentation of token authentication."""
    mode, left = os.environ.get("RAY_AUTH_MODE"), Path.home() / ".ray" / "auth_token"
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if path and not Path(path).expanduser().is_file():
        yield Finding(
            "problem", f"RAY_AUTH_TOKEN_PATH={path}: there is no such file", "name the token's file, or unset it"
        )
    elif mode == "token" and not (path or os.environ.get("RAY_AUTH_TOKEN") or left.is_file()):
        yield Finding(
            "problem",
            "RAY_AUTH_MODE=token, and there is no token",
            "set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, or unset RAY_AUTH_MODE",
        )
    elif address and mode is None and left.is_file():
        yield Finding(
            "note",
            f"{left} is there, which Ray left of a cluster on this machine, and RAY_AUTH_MODE is not set",
            "set RAY_AUTH_MODE to token or disabled, as the cluster has it",
        )


def _remote(address: str, version: str) -> Finding:
    from roadbed.runtime.session import probe

    plain = address.removeprefix("ray://")
    if not re.fullmatch(r"[^/]+:\d+", plain):
        told = f"{version}; RAY_ADDRESS={address} is no HOST:PORT, so Ray alone can tell whether it answers"
        return Finding("note", told, "write HOST:PORT of the head, usually port 6379")
    try:
        probe(plain)
    except OSError as error:
        told = f"RAY_ADDRESS={address}: nobody answers ({error.strerror or error})"
        return Finding("problem", told, f"start that cluster, or {_UNSET}")
    return Finding("ok", f"{version}; somebody listens at RAY_ADDRESS={address}")


def _local(version: str) -> Iterator[Finding]:
    """What runs here, which has a token of its own, or what a command would start."""
    from roadbed.runtime.local import local_folder, status

    state = status()
    if state is not None and state.ray is not None:
        yield Finding("ok", f"{version}; `roadbed local up` runs one at {state.ray.address}")
        return
    yield from _token("")
    for fault in () if state is None else state.faults:
        if "Ray" in fault:
            yield Finding("problem", fault, "start it again: `roadbed local up`")
    yield Finding("ok", f"{version}; none runs in {local_folder()}, so each command starts its own for its time")
