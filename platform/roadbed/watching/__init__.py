"""What goes on now, for `roadbed top`: runs and sweeps by what lies in the store, endpoints by what they tell.

Looking is cheap, for it is done every few seconds: a list of names, the status of whatever lives, and new segments of
the runs that are shown. What has ended is read once. Neither torch nor ray, and nothing is written.
"""

from __future__ import annotations

from roadbed.watching.endpoints import EndpointNow, Telling
from roadbed.watching.runs import RunNow
from roadbed.watching.sweeps import SweepNow
from roadbed.watching.watcher import Look, Watcher

__all__ = ["EndpointNow", "Look", "RunNow", "SweepNow", "Telling", "Watcher"]
