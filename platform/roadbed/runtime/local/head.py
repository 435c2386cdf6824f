"""The Ray head of a local folder: `ray start --head` as a child process; Ray itself is never imported here."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from roadbed.runtime.local.folder import write_private
from roadbed.runtime.local.processes import LOOPBACK, find_program, free_ports, start, stop, wait_until, without_proxy
from roadbed.runtime.local.state import LOOPBACK_ONLY, RayHead
from roadbed.runtime.serve_variables import SERVE_VARIABLES

START_TIMEOUT_S = 90.0
STOP_GRACE_S = 5.0
STARTUPS_PER_CPU = 4
"""A sweep has more processes than CPUs, most of which wait; of more at once Ray would warn on the terminal."""
# A unix socket's path has at most 107 characters; Ray appends some 64 for session and socket
# ("/session_2026-11-24_11-07-41_678810_4194304/sockets/plasma_store").
_MAX_SCRATCH_PATH = 40
_PORT_FLAGS = (
    "port",
    "dashboard-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
    "node-manager-port",
    "object-manager-port",
    "ray-client-server-port",
)
_PORT_VARIABLES = ("AUTOSCALER_METRIC_PORT", "DASHBOARD_METRIC_PORT")


def start_head(
    folder: Path, *, variables: Mapping[str, str], num_cpus: int | None, record: Callable[[RayHead], None]
) -> RayHead:
    """Start a head on free ports and return once its dashboard answers.

    `variables` are what its workers find in their environment, the store's above all. `record` is told of the process
    as soon as there is one. Raises RoadbedError.
    """
    ray = find_program("ray", remedy="install roadbed with its requirements, `pip install roadbed`")
    token_path, log = folder / "ray-token", folder / "logs" / "ray.log"
    if not token_path.exists():
        write_private(token_path, secrets.token_hex(32))
    session_folder, scratch = _session_folder(folder)
    numbers = free_ports(len(_PORT_FLAGS) + len(_PORT_VARIABLES))
    ports = dict(zip(_PORT_FLAGS, numbers, strict=False))
    command = [
        ray,
        "start",
        "--head",
        "--block",
        f"--node-ip-address={LOOPBACK}",
        f"--dashboard-host={LOOPBACK}",
        *(f"--{flag}={port}" for flag, port in ports.items()),
        "--min-worker-port=0",
        "--max-worker-port=0",
        f"--temp-dir={session_folder}",
        "--disable-usage-stats",
        "--log-color=false",
        *([] if num_cpus is None else [f"--num-cpus={num_cpus}"]),
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RAY_"))}
    environment = {
        **kept,
        **variables,
        # For jobs that are sent to it: `roadbed submit --ray-address`.
        "PATH": os.pathsep.join([str(Path(ray).parent), kept.get("PATH", os.defpath)]),
        **LOOPBACK_ONLY,
        **SERVE_VARIABLES,
        **{name: str(port) for name, port in zip(_PORT_VARIABLES, numbers[len(ports) :], strict=True)},
        "RAY_worker_maximum_startup_concurrency": str(STARTUPS_PER_CPU * (num_cpus or os.cpu_count() or 1)),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
    }
    head = RayHead(
        process=start(command, log=log, environment=environment, folder=folder),
        address=f"{LOOPBACK}:{ports['port']}",
        dashboard_url=f"http://{LOOPBACK}:{ports['dashboard-port']}",
        token_path=str(token_path),
        scratch=scratch,
        log=str(log),
    )
    record(head)
    try:
        wait_until(lambda: _is_ready(head), head.process, what="the Ray head", log=log, timeout_s=START_TIMEOUT_S)
    except BaseException:
        stop_head(head)
        raise
    return head


def stop_head(head: RayHead) -> None:
    """End the head and everything that it started, and wait for it. Ray keeps nothing that anybody reads again."""
    stop(head.process, grace_s=STOP_GRACE_S)
    if head.scratch:
        shutil.rmtree(head.scratch, ignore_errors=True)


def _session_folder(folder: Path) -> tuple[Path, str | None]:
    """Where Ray keeps its sockets and logs, and that again if it lies outside `folder` because of its short name."""
    inside = folder / "ray"
    if len(str(inside)) <= _MAX_SCRATCH_PATH:
        shutil.rmtree(inside, ignore_errors=True)
        return inside, None
    system_folder = tempfile.gettempdir()
    if len(system_folder) > _MAX_SCRATCH_PATH - len("/roadbed-abcdefgh"):
        system_folder = "/tmp"
    outside = tempfile.mkdtemp(prefix="roadbed-", dir=system_folder)
    return Path(outside), outside


def _is_ready(head: RayHead) -> bool:
    """Whether head and node are up, and the dashboard answers to the token."""
    if "Ray runtime started" not in Path(head.log).read_text(errors="replace"):
        return False
    token = Path(head.token_path).read_text()
    request = urllib.request.Request(f"{head.dashboard_url}/api/version", headers={"Authorization": f"Bearer {token}"})
    try:
        with without_proxy().open(request, timeout=5):
            return True
    except OSError:
        return False
