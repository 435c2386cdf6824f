"""A store and a Ray of one's own, on loopback, for laptops and tests: `roadbed local up|down|status`.

    FOLDER/local.json     addresses and processes of what runs now (mode 0600: it holds credentials)
           store.json     ports and credentials of the store, the same from start to start
           ray-token      what Ray asks of whoever connects
           s3/            the data; they stay when the store stops
           monitor/       of a Prometheus: `roadbed local monitor`
           logs/          of these servers
           lock users     who changes the folder's state now; who uses what runs

SeaweedFS (`weed`) and Ray are child processes; neither is imported here. Nothing listens beyond 127.0.0.1.
"""

from __future__ import annotations

from roadbed.runtime.local.connect import StoreSource, connected, store_source
from roadbed.runtime.local.folder import local_folder
from roadbed.runtime.local.lifecycle import down, status, up
from roadbed.runtime.local.metrics import metrics_urls
from roadbed.runtime.local.monitor import follow_ray, monitored
from roadbed.runtime.local.state import LocalState, Monitor, Process, RayHead, StoreServer, environment

__all__ = [
    "LocalState",
    "Monitor",
    "Process",
    "RayHead",
    "StoreServer",
    "StoreSource",
    "connected",
    "down",
    "environment",
    "follow_ray",
    "local_folder",
    "metrics_urls",
    "monitored",
    "status",
    "store_source",
    "up",
]
