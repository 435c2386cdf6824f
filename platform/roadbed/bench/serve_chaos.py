"""`roadbed bench serve --chaos`: steady load on the endpoint behind HAProxy while everything that may happen happens.

Every answer is compared with the mask that the version it names must give. Two versions of the same weights are
published for it below the store's models/chaos, and removed at the end.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from roadbed.bench.load import Outcome, Request, closed_loop, open_loop
from roadbed.errors import RoadbedError
from roadbed.inference.images import read_image
from roadbed.registry import Gates, Registry, Version
from roadbed.runtime.local.processes import free_ports
from roadbed.runtime.serve import APPLICATION, deployment, served, wait_until_answered
from roadbed.spec import ServeJob

NAME = "chaos"
STEADY_LOAD, BURST_LOAD = 0.5, 3.0
BEFORE_S = 2.0
FOLLOW_S = 0.5
SCALE_S = 30.0
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Chaos:
    """What came of each thing that happened, and the seconds from a step of load to a second replica that runs."""

    phases: list[Phase]
    scaled_s: float


@dataclass(frozen=True)
class Phase:
    """What came of the load while one thing happened. `allowed` are the statuses that may come."""

    name: str
    outcome: Outcome
    allowed: tuple[int, ...]

    @property
    def num_failed(self) -> int:
        """Answers that are lost, wrong, or of another status."""
        others = sum(number for status, number in self.outcome.statuses.items() if status not in self.allowed)
        return others + self.outcome.num_wrong


def chaos(
    version: Version, registry: Registry, picture: bytes, *, engine: str, seconds: float, tell: Callable[[str], None]
) -> Chaos:
    """Promotion, rollback, a killed replica, a redeployment, and a burst, each of `seconds`; then a step of load on a
    single replica. Raises RoadbedError."""
    with _two_versions(version, registry) as (first, second):
        job = _job(registry, engine)
        masks = {f"{each.name}:{each.number}": _mask(each, picture, engine) for each in (first, second)}
        with served(job, port=free_ports(1)[0], with_haproxy=True, notify=tell) as endpoint:
            wait_until_answered(endpoint)

            def is_right(headers: dict[str, str], body: bytes) -> bool:
                return masks.get(headers.get("x-model", "")) == hashlib.sha256(body).hexdigest()

            request = Request(
                f"{endpoint.url}/v1/segment",
                picture,
                (("Content-Type", "image/png"), ("Accept", "image/png")),
                is_right,
            )
            capacity = asyncio.run(closed_loop(request, askers=8, seconds=seconds)).per_s
            tell(f"capacity: {capacity:.1f} answers/s; steady load is {STEADY_LOAD:.0%} of it")
            happenings: dict[str, Callable[[], None]] = {
                "nothing": lambda: None,
                "promotion": lambda: _promote(registry, second),
                "rollback": lambda: _promote(registry, first),
                "killed replica": _kill_replica,
                "redeployment": lambda: _redeploy(job),
            }
            phases = []
            for name, happening in happenings.items():
                outcome = _during(happening, request, per_s=STEADY_LOAD * capacity, seconds=seconds)
                phases.append(Phase(name, outcome, (200,)))
                tell(f"{name}: {told(phases[-1])}")
            burst = asyncio.run(open_loop(request, per_s=BURST_LOAD * capacity, seconds=seconds))
            phases.append(Phase(f"burst of {BURST_LOAD:g} x capacity", burst, (200, 429)))
            tell(f"{phases[-1].name}: {told(phases[-1])}")
            scaled_s = _scale(job, request, tell)
    return Chaos(phases, scaled_s)


def told(phase: Phase) -> str:
    """A phase in a line."""
    statuses = ", ".join(f"{number} x {status or 'lost'}" for status, number in sorted(phase.outcome.statuses.items()))
    p99_ms = phase.outcome.percentile_ms(99)
    return f"{statuses}; {phase.outcome.num_wrong} wrong masks; p99 {p99_ms:.0f} ms"


def _during(happening: Callable[[], None], request: Request, *, per_s: float, seconds: float) -> Outcome:
    """The outcome of a steady load in whose course something happens."""
    faults: list[BaseException] = []

    def happen() -> None:
        try:
            happening()
        except BaseException as error:
            faults.append(error)

    timer = threading.Timer(BEFORE_S, happen)
    timer.start()
    outcome = asyncio.run(open_loop(request, per_s=per_s, seconds=seconds))
    timer.join()
    if faults:
        raise RoadbedError(f"what should have happened failed: {faults[0]}") from faults[0]
    return outcome


def _job(registry: Registry, engine: str) -> ServeJob:
    serve = {
        "model": f"{NAME}@champion",
        "engine": engine,
        "follow_s": FOLLOW_S,
        "replicas": {"min": 2, "max": 2},
        "limits": {"body_mb": 2.0},
    }
    return ServeJob.parse({"kind": "serve", "serve": serve, "output": {"store": registry.root.uri}}, origin=NAME)


@contextmanager
def _two_versions(version: Version, registry: Registry) -> Iterator[tuple[Version, Version]]:
    """The version twice under a name of its own, with its exports; the second paints its classes in other colours, so
    that answers tell which one they are of. The first is the champion."""
    files = {file: version.get(file) for file in version.files if file != "card.json"}
    store = registry.root.child(f"models/{NAME}")
    try:
        made = [registry.publish(NAME, files, card) for card in (version.card(), _recolored(version.card()))]
        for info in list(version.store.list("exports/")):
            for each in made:
                each.store.put(info.key, version.store.get(info.key))
        _promote(registry, made[0])
        yield made[0], made[1]
    finally:
        for info in list(store.list()):
            store.delete(info.key)


def _recolored(card: dict[str, Any]) -> dict[str, Any]:
    space = card["label_space"]
    classes = [row | {"color": [255 - value for value in row["color"]]} for row in space["classes"]]
    return card | {"label_space": space | {"classes": classes}}


def _promote(registry: Registry, version: Version) -> None:
    registry.promote(version.name, version.number, gates=Gates(), force=True, by="bench", reason="chaos")


def _kill_replica() -> None:
    import ray

    for actor in ray.util.list_named_actors(all_namespaces=True):
        if f"{APPLICATION}#segment#" in actor["name"]:
            ray.kill(ray.get_actor(actor["name"], namespace=actor["namespace"]), no_restart=True)
            return
    raise RoadbedError("there is no replica to kill")


def _redeploy(job: ServeJob) -> None:
    _redeploy_with(job, limits=job.serve.limits.model_copy(update={"body_mb": job.serve.limits.body_mb - 0.5}))


def _redeploy_with(job: ServeJob, **changes: Any) -> None:
    from ray import serve

    changed = job.model_copy(update={"serve": job.serve.model_copy(update=changes)})
    serve.run(deployment(changed), name=APPLICATION, route_prefix="/")


def _scale(job: ServeJob, request: Request, tell: Callable[[str], None]) -> float:
    """Seconds from the first of many requests at a lone replica until a second one runs. Raises RoadbedError."""
    _redeploy_with(job, replicas=job.serve.replicas.model_copy(update={"min": 1, "upscale_delay_s": 0.5}))
    _wait_for_replicas(1)
    loop = threading.Thread(target=lambda: asyncio.run(closed_loop(request, askers=16, seconds=SCALE_S)), daemon=True)
    began = time.monotonic()
    loop.start()
    _wait_for_replicas(2)
    scaled_s = time.monotonic() - began
    tell(f"a second replica runs {scaled_s:.1f} s after the load came")
    loop.join()
    return scaled_s


def _wait_for_replicas(number: int) -> None:
    from ray import serve

    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        states = serve.status().applications[APPLICATION].deployments["segment"].replica_states
        if states == {"RUNNING": number}:
            return
        time.sleep(0.1)
    raise RoadbedError(f"{number} replicas do not run after {PATIENCE_S:.0f} s: {states}")


def _mask(version: Version, picture: bytes, engine: str) -> str:
    """The sum of the answer that must come."""
    from roadbed.inference.export import open_engine
    from roadbed.inference.predictor import Predictor
    from roadbed.serving.answers import encode_mask

    opened = open_engine(version, engine, threads=1)
    image_HW3 = read_image(picture)
    facts: dict[str, Any] = {}
    mask_HW = Predictor(opened.engine, opened.labels).predict(image_HW3)
    return hashlib.sha256(encode_mask(image_HW3, mask_HW, opened.labels, facts)).hexdigest()
