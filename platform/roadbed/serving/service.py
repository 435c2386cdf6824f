"""One engine behind a short queue. Requests that find it full are refused at once, with the time to come back in."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from roadbed.errors import DataError
from roadbed.inference.images import ImageArray, ImageTooLargeError, UnknownImageError, read_image
from roadbed.inference.predictor import Predictor
from roadbed.serving.answers import Encoder
from roadbed.serving.follower import Follower, Serving
from roadbed.serving.refused import RefusedError
from roadbed.serving.telling import Drift
from roadbed.spec.serve import ServeSpec
from roadbed.telemetry import MetricSink, NoMetrics

log = logging.getLogger(__name__)

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
_FIRST_GUESS_S = 0.1
_SMOOTHING = 0.1


@dataclass
class Answer:
    """The bytes that a client asked for, which model made them, and where the time went (ms by stage)."""

    body: bytes
    model: str
    engine: str
    stages_ms: dict[str, float] = field(default_factory=dict)


class Service:
    """Segments pictures one after another in a thread of its own: engines are not for several at once."""

    def __init__(self, spec: ServeSpec, follower: Follower, *, metrics: MetricSink | None = None) -> None:
        self.spec = spec
        self.follower = follower
        self.metrics: MetricSink = metrics or NoMetrics()
        self.metrics.set("roadbed_serve_max_replicas", spec.replicas.max)
        self._drift = Drift(self.metrics)
        self.num_waiting = 0
        self._mean_s = _FIRST_GUESS_S
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="engine")

    def ready(self) -> Serving:
        """What answers now. Raises RefusedError 503 that says how to get a model served."""
        serving = self.follower.serving
        if serving is not None:
            return serving
        retry_s = math.ceil(self.spec.follow_s)
        raise RefusedError(503, "no_model", self.why_not_ready(), headers={"Retry-After": str(retry_s)})

    def why_not_ready(self) -> str:
        """What an endpoint without a model waits for, and how to get one served."""
        return (
            f"no model is served yet, this endpoint follows {self.spec.model}; promote a version with `roadbed models "
            f"promote NAME:NUMBER`, and it is taken up within {self.spec.follow_s:g} s. If one was promoted, /v1/model "
            f"tells why it could not be loaded"
        )

    def check_room(self) -> None:
        """Raises RefusedError: 503 without a model, 429 if as many wait as may."""
        self.ready()
        if self.num_waiting >= self.spec.limits.waiting:
            retry_s = max(1, math.ceil(self.num_waiting * self._mean_s))
            raise RefusedError(
                429,
                "overloaded",
                f"as many requests wait as may ({self.num_waiting}); come back in {retry_s} s",
                headers={"Retry-After": str(retry_s)},
            )

    async def segment(self, picture: bytes, encoder: Encoder) -> Answer:
        """Decode, predict and encode. Raises RefusedError as `check_room` does, and 4xx for what is no picture."""
        self.check_room()
        self.num_waiting += 1
        self.metrics.set("roadbed_serve_waiting", self.num_waiting)
        try:
            future = self._worker.submit(self._segment, picture, encoder, time.perf_counter())
            return await asyncio.wrap_future(future)
        finally:
            self.num_waiting -= 1
            self.metrics.set("roadbed_serve_waiting", self.num_waiting)

    def stop(self) -> None:
        """Let what is at work come to its end, and follow no more."""
        self.follower.stop()
        self._worker.shutdown()

    def _segment(self, picture: bytes, encoder: Encoder, asked_at: float) -> Answer:
        begun = time.perf_counter()
        serving = self.ready()
        image_HW3 = self._decoded(picture)
        decoded = time.perf_counter()
        predictor = serving.predictor
        mask_HW = predictor.predict(image_HW3)
        predicted = time.perf_counter()
        facts: dict[str, Any] = {"model": serving.name, "engine": predictor.engine.note}
        body = encoder(image_HW3, mask_HW, predictor.label_space, facts)
        done = time.perf_counter()
        self._mean_s += _SMOOTHING * (done - begun - self._mean_s)
        stages = {"queue": begun - asked_at, "decode": decoded - begun, "infer": predicted - decoded}
        stages["encode"] = done - predicted
        self._tell(stages, mask_HW, predictor)
        if self._drift.is_judging_due():
            self._worker.submit(self._judge, predictor, image_HW3)
        return Answer(body, serving.name, predictor.engine.name, {name: 1e3 * s for name, s in stages.items()})

    def _tell(self, stages_s: dict[str, float], mask_HW: ImageArray, predictor: Predictor) -> None:
        for stage, seconds in stages_s.items():
            self.metrics.observe("roadbed_serve_stage_seconds", [seconds], stage)
        self.metrics.observe("roadbed_serve_request_seconds", [sum(stages_s.values())])
        self.metrics.add("roadbed_serve_pixels", mask_HW.size)
        self._drift.answered(mask_HW, predictor.label_space)

    def _judge(self, predictor: Predictor, image_HW3: ImageArray) -> None:
        """After the answer, and after those that wait already."""
        try:
            if self._drift.is_judging_due():
                self._drift.judge(predictor, image_HW3)
        except Exception:  # of an engine's library; nobody waits for this
            log.exception("confidence could not be judged")

    def _decoded(self, picture: bytes) -> Any:
        limits = self.spec.limits
        try:
            return read_image(picture, name="the picture", formats=FORMATS, max_pixels=round(1e6 * limits.megapixels))
        except ImageTooLargeError as error:
            raise RefusedError(413, "too_many_pixels", str(error)) from None
        except UnknownImageError as error:
            raise RefusedError(415, "not_an_image", str(error)) from None
        except DataError as error:
            raise RefusedError(400, "damaged_image", str(error)) from None
