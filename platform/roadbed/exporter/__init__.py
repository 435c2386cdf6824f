"""The state of the store as Prometheus metrics: runs, sweeps, models, datasets. Neither torch nor ray.

Whatever ends with a process (losses, throughput, requests) is told by the processes themselves; what stays when they
are gone is read here, when Prometheus asks. `readings` turns objects of the store into values, `collector` decides when
to read and what to tell while the store does not answer, `http` listens. The metrics' table is telemetry/state.py.
"""

from __future__ import annotations

from roadbed.exporter.collector import Part, StateCollector
from roadbed.exporter.http import listen
from roadbed.exporter.readings import Reading, parts_of

__all__ = ["Part", "Reading", "StateCollector", "listen", "parts_of"]
