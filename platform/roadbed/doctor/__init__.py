"""What this machine has for roadbed and what it lacks: `roadbed doctor`. Changes nothing, and leaves nothing behind."""

from __future__ import annotations

from roadbed.doctor.check import Check, Finding, State, examine
from roadbed.doctor.cluster import look_at_cluster
from roadbed.doctor.compute import look_at_accelerator, look_at_engines, look_at_torch
from roadbed.doctor.machine import look_at_cores, look_at_disk, look_at_memory
from roadbed.doctor.packages import look_at_packages, look_at_python
from roadbed.doctor.ray import look_at_ray
from roadbed.doctor.store import look_at_store

__all__ = ["CHECKS", "Check", "Finding", "State", "examine"]

# So long the first import of a large package may take on a slow disk.
_IMPORT_S = 60.0
_NETWORK_S = 10.0

CHECKS = (
    Check("python", look_at_python),
    Check("packages", look_at_packages),
    Check("cores", look_at_cores),
    Check("memory", look_at_memory),
    Check("disk", look_at_disk),
    Check("torch", look_at_torch, within_s=_IMPORT_S),
    Check("accelerator", look_at_accelerator, within_s=_IMPORT_S),
    Check("engines", look_at_engines, within_s=_IMPORT_S),
    Check("ray", look_at_ray, within_s=_IMPORT_S),
    Check("store", look_at_store, within_s=_NETWORK_S),
    Check("cluster", look_at_cluster, within_s=_NETWORK_S),
)
"""In the order in which they are told. Every one is called with the root of the store."""
