"""What runs in a local folder, as a value: local.json, and how other tools are pointed at it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from roadbed.errors import DamagedError
from roadbed.runtime.local.folder import write_private

STATE_FILE = "local.json"
BUCKET = "roadbed"
REGION = "us-east-1"

# Ray takes 127.0.0.1 for "find my address in the network" unless its clusters are off, as they are on macOS and
# Windows: then head, agents and drivers stay on loopback (ray 2.60, _private/services.py, get_node_ip_address).
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass(frozen=True)
class Process:
    """A process by its id and its start, which together name it even if the id is given out again."""

    pid: int
    started: str


@dataclass(frozen=True)
class StoreServer:
    """A running S3 server. `ports` are all that it listens on, the first one S3's."""

    process: Process
    endpoint: str
    access_key: str
    secret_key: str
    ports: tuple[int, ...]
    log: str


@dataclass(frozen=True)
class RayHead:
    """A running Ray head. `scratch` is a folder of its own outside the local one, or None."""

    process: Process
    address: str
    dashboard_url: str
    token_path: str
    scratch: str | None
    log: str


@dataclass(frozen=True)
class Monitor:
    """A running Prometheus that looks at the local folder `folder`."""

    process: Process
    url: str
    folder: str
    log: str


@dataclass(frozen=True)
class LocalState:
    """What runs in `folder`. Not kept: stopped when the last command that uses it ends.

    `faults` names, in words, what is recorded but no longer lives; such parts are None.
    """

    folder: Path
    store: StoreServer | None = None
    ray: RayHead | None = None
    monitor: Monitor | None = None
    is_kept: bool = False
    faults: tuple[str, ...] = ()


def environment(state: LocalState) -> dict[str, str]:
    """The variables that point aws, boto3, pyarrow and ray at what runs."""
    variables: dict[str, str] = {}
    if state.store:
        variables |= {
            "AWS_ENDPOINT_URL": state.store.endpoint,
            "AWS_ACCESS_KEY_ID": state.store.access_key,
            "AWS_SECRET_ACCESS_KEY": state.store.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }
    if state.ray:
        variables |= {
            "RAY_ADDRESS": state.ray.address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": state.ray.token_path,
            **LOOPBACK_ONLY,
        }
    return variables


def read_state(folder: Path) -> LocalState | None:
    """What local.json records, alive or not; None if there is no such file.

    Raises DamagedError if it cannot be read as what this version writes.
    """
    path = folder / STATE_FILE
    try:
        document = json.loads(path.read_text())
        store, ray, monitor = document["store"], document["ray"], document.get("monitor")
        return LocalState(
            folder=folder,
            store=None if store is None else StoreServer(**_revived(store)),
            ray=None if ray is None else RayHead(**_revived(ray)),
            monitor=None if monitor is None else Monitor(**_revived(monitor)),
            is_kept=document["is_kept"],
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(
            f"{path}: is not what roadbed wrote ({error}); end its processes by hand and delete it"
        ) from None


def write_state(state: LocalState) -> None:
    """Record what runs; if nothing does, remove the record."""
    path = state.folder / STATE_FILE
    if state.store is None and state.ray is None and state.monitor is None:
        path.unlink(missing_ok=True)
        return
    document = asdict(replace(state, faults=()))
    del document["folder"], document["faults"]
    write_private(path, json.dumps(document, indent=1, sort_keys=True) + "\n")


def _revived(document: dict[str, Any]) -> dict[str, Any]:
    revived = {**document, "process": Process(**document["process"])}
    if "ports" in revived:
        revived["ports"] = tuple(revived["ports"])
    return revived
