"""The model that answers: loaded beside the one before, tried, and only then put in its place.

One thread looks at the reference again and again. What fails to load leaves the model that answers where it is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from roadbed.errors import RoadbedError
from roadbed.inference.export import open_engine
from roadbed.inference.predictor import Predictor
from roadbed.inference.tiles import Tiles
from roadbed.inference.views import ONE_VIEW, Views
from roadbed.registry import Registry, Version
from roadbed.spec.serve import ServeSpec
from roadbed.telemetry import MetricSink

log = logging.getLogger(__name__)

WARM_UP_PX = (360, 480)
WARM_UP_RUNS = 3
RETRY_S = 60.0


@dataclass(frozen=True)
class Serving:
    """A version that is ready to answer. `reasons` say why its engine is not another."""

    version: Version
    predictor: Predictor
    card: dict[str, Any]
    loaded_at: float
    load_s: float
    reasons: tuple[str, ...]

    @property
    def name(self) -> str:
        """NAME:NUMBER."""
        return f"{self.version.name}:{self.version.number}"


@dataclass(frozen=True)
class Failed:
    """Why the version that should answer does not."""

    what: str
    why: str
    at: float


class Follower:
    """Keeps `serving` at what the spec's model names. `start` begins to look, `stop` ends it."""

    def __init__(
        self,
        spec: ServeSpec,
        registry: Registry,
        *,
        metrics: MetricSink,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.spec = spec
        self.serving: Serving | None = None
        self.failed: Failed | None = None
        self._registry = registry
        self._metrics = metrics
        self._clock = clock
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def start(self) -> None:
        """Look once now, so that a model that is there is ready when this returns, and then again and again."""
        for seldom in ("roadbed_serve_swaps", "roadbed_serve_swap_failures"):
            self._metrics.add(seldom, 0)
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """End the looking. The model that answers stays."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Load what the reference names now, unless that answers already or has just failed. Raises nothing."""
        what = self.spec.model
        try:
            version = self._registry.resolve(self.spec.model)
            what = f"{version.name}:{version.number}"
            if self.serving is not None and self.serving.version.uri == version.uri:
                self.failed = None
                return
            if self.failed is not None and self.failed.what == what and self._clock() < self.failed.at + RETRY_S:
                return
            serving = self._load(version)
        except Exception as error:
            self._fail(what, error)
            return
        before, self.serving, self.failed = self.serving, serving, None
        self._metrics.set("roadbed_serve_model_version", serving.version.number)
        self._tell_shares(before, serving)
        if before is not None:
            self._metrics.add("roadbed_serve_swaps", 1)
        log.info(
            "serving: model=%s engine=%s load_s=%.1f before=%s",
            serving.name,
            serving.predictor.engine.note,
            serving.load_s,
            before.name if before else "nothing",
        )
        for reason in serving.reasons:
            log.info("engine: %s", reason)

    def _tell_shares(self, before: Serving | None, serving: Serving) -> None:
        """What the version learnt from, class by class; cards of older releases do not say."""
        shares = serving.card.get("dataset", {}).get("class_shares", {})
        gone = {} if before is None else before.card.get("dataset", {}).get("class_shares", {})
        for name, share in (dict.fromkeys(gone, 0.0) | shares).items():
            self._metrics.set("roadbed_serve_training_share", share, name)

    def _follow(self) -> None:
        while not self._stopped.wait(self.spec.follow_s):
            self.look()

    def _load(self, version: Version) -> Serving:
        start = time.perf_counter()
        spec = self.spec
        card = version.card()
        opened = open_engine(version, spec.engine, threads=spec.replicas.threads)
        views = Views.of_card(card) if spec.views == "scored" else ONE_VIEW
        tiles = None if spec.tile_px is None else Tiles(*spec.tile_px)
        predictor = Predictor(opened.engine, opened.labels, views=views, tiles=tiles)
        for _ in range(WARM_UP_RUNS):
            mask_HW = predictor.predict(np.zeros((*WARM_UP_PX, 3), np.uint8))
        predictor.confidence(np.zeros((*WARM_UP_PX, 3), np.uint8))
        if mask_HW.max() >= opened.labels.num_classes:
            raise RoadbedError(f"{version.uri}: answers with class {mask_HW.max()}, which its card does not have")
        return Serving(version, predictor, card, self._clock(), time.perf_counter() - start, opened.reasons)

    def _fail(self, what: str, error: Exception) -> None:
        why = str(error) if isinstance(error, RoadbedError) else f"{type(error).__name__}: {error}"
        if self.failed is None or (self.failed.what, self.failed.why) != (what, why):
            log.warning("cannot serve %s: %s", what, why, exc_info=not isinstance(error, RoadbedError))
        if self.serving is not None:
            self._metrics.add("roadbed_serve_swap_failures", 1)
        self.failed = Failed(what, why, self._clock())
