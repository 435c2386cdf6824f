"""A Prometheus in a local folder, with the chart's rules: it asks an exporter, and the local Ray as it comes and goes.

FOLDER/monitor/prometheus.yaml rules.yaml    written anew at every start
               ray.json                      where Ray is asked, as long as it runs
               data/                         what Prometheus keeps: 15 days
               grafana/                      what a Grafana of one's own is started with (GF_PATHS_PROVISIONING)
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from roadbed.errors import RoadbedError
from roadbed.runtime.local.folder import changing, local_folder, write_private
from roadbed.runtime.local.lifecycle import look
from roadbed.runtime.local.metrics import metrics_urls
from roadbed.runtime.local.processes import (
    LOOPBACK,
    find_program,
    free_ports,
    is_alive,
    start,
    stop,
    tail,
    wait_until,
    without_proxy,
)
from roadbed.runtime.local.state import LocalState, Monitor, read_state, write_state

CLUSTER = "local"
"""What dashboards call this machine's Ray: the label `ray_io_cluster`."""
FOLLOWING_S = 2.0
START_TIMEOUT_S = 60.0
STOP_GRACE_S = 10.0
_RAY_INTERVAL_S, _STORE_INTERVAL_S = 10, 15


def chart_folder() -> Path:
    """Where alerts, recordings and dashboards lie: in the installed package, or in the checkout that it runs from."""
    package = Path(__file__).parents[2]
    packed = package / "chart"
    return packed if packed.is_dir() else package.parents[1] / "helm" / "roadbed"


def rule_groups(chart: Path) -> dict[str, Any]:
    """All rules as one file of Prometheus, recorded series first."""
    groups = [
        {"name": f"roadbed.recordings.{path.stem}", **yaml.safe_load(path.read_text())}
        for path in sorted((chart / "recordings").glob("*.yaml"))
    ]
    groups += [
        {"name": f"roadbed.{path.stem}", "rules": [yaml.safe_load(path.read_text())]}
        for path in sorted((chart / "alerts").glob("*.yaml"))
    ]
    return {"groups": groups}


@contextmanager
def monitored(folder: Path | str | None = None, *, exporter: str, port: int) -> Iterator[Monitor]:
    """A Prometheus at 127.0.0.1:`port` (0: any free one) for the time of the block. `exporter` is HOST:PORT.

    Raises RoadbedError if there is no Prometheus on this machine, one looks at the folder already, or it does not
    start.
    """
    place = local_folder(folder)
    program = find_program("prometheus", remedy="install it: `apt-get install prometheus`, `brew install prometheus`, "
                           "or https://prometheus.io/download/ unpacked on PATH")  # fmt: skip
    with changing(place):
        monitor = _started(place, program, exporter, port or free_ports(1)[0])
    try:
        yield monitor
    finally:
        with changing(place):
            stop(monitor.process, grace_s=STOP_GRACE_S)
            write_state(replace(read_state(place) or LocalState(place), monitor=None))


def follow_ray(monitor: Monitor, stopped: threading.Event) -> None:
    """Keep Prometheus told of where the folder's Ray is asked, until `stopped`. Raises RoadbedError if it ends."""
    while True:
        _write_targets(Path(monitor.folder))
        if stopped.wait(FOLLOWING_S):
            return
        if not is_alive(monitor.process):
            raise RoadbedError(f"Prometheus (process {monitor.process.pid}) ended; {tail(Path(monitor.log))}")


def _started(place: Path, program: str, exporter: str, port: int) -> Monitor:
    """The caller holds `changing`."""
    found = look(place) or LocalState(place)
    if found.monitor is not None:
        raise RoadbedError(
            f"{place} is watched already: {found.monitor.url} (process {found.monitor.process.pid}); end that "
            "`roadbed local monitor` by Ctrl-C, or everything here by `roadbed local down`"
        )
    work = place / "monitor"
    url = f"http://{LOOPBACK}:{port}"
    _write_settings(work, url, exporter)
    _write_targets(place)
    log = place / "logs" / "prometheus.log"
    command = [
        program,
        f"--config.file={work / 'prometheus.yaml'}",
        f"--storage.tsdb.path={work / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--log.level=warn",
    ]
    monitor = Monitor(start(command, log=log, environment={}, folder=work), url, str(place), str(log))
    write_state(replace(found, monitor=monitor))
    try:
        wait_until(lambda: _is_ready(url), monitor.process, what="Prometheus", log=log, timeout_s=START_TIMEOUT_S)
    except BaseException:
        stop(monitor.process, grace_s=STOP_GRACE_S)
        write_state(found)
        raise
    return monitor


def _is_ready(url: str) -> bool:
    try:
        with without_proxy().open(f"{url}/-/ready", timeout=5):
            return True
    except OSError:
        return False


def _write_targets(place: Path) -> None:
    """Where Ray's agents, dashboard and autoscaler are asked now; nowhere while no Ray runs."""
    addresses = [url.removeprefix("http://").removesuffix("/metrics") for url in metrics_urls(place)]
    text = json.dumps([{"targets": addresses, "labels": {"ray_io_cluster": CLUSTER}}])
    target = place / "monitor" / "ray.json"
    if not target.exists() or target.read_text() != text:
        write_private(target, text)


def _write_settings(work: Path, url: str, exporter: str) -> None:
    provisioning = work / "grafana"
    for folder in (work, provisioning / "datasources", provisioning / "dashboards"):
        folder.mkdir(parents=True, exist_ok=True)
    documents = {
        work / "rules.yaml": rule_groups(chart_folder()),
        work / "prometheus.yaml": {
            "global": {"scrape_interval": f"{_STORE_INTERVAL_S}s", "evaluation_interval": f"{_STORE_INTERVAL_S}s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {
                    "job_name": "ray",
                    "scrape_interval": f"{_RAY_INTERVAL_S}s",
                    "file_sd_configs": [{"files": ["ray.json"], "refresh_interval": "10s"}],
                },
                {"job_name": "roadbed-exporter", "static_configs": [{"targets": [exporter]}]},
            ],
        },
        provisioning / "datasources" / "roadbed.yaml": {
            "apiVersion": 1,
            "datasources": [
                {
                    "name": "roadbed",
                    "type": "prometheus",
                    "access": "proxy",
                    "url": url,
                    "isDefault": True,
                    "jsonData": {"timeInterval": f"{_RAY_INTERVAL_S}s"},
                }
            ],
        },
        provisioning / "dashboards" / "roadbed.yaml": {
            "apiVersion": 1,
            "providers": [
                {"name": "roadbed", "folder": "roadbed", "type": "file",
                 "options": {"path": str(chart_folder() / "dashboards")}}
            ],
        },
    }  # fmt: skip
    for path, document in documents.items():
        path.write_text(yaml.safe_dump(document, sort_keys=False))
