"""What an endpoint tells of its requests and answers: codes, classes, confidence. All of it by a MetricSink.

Classes and confidence show drift: what answers are made of, to be held against what the version learnt from. Both are
samples, so that a request costs next to nothing: one pixel of 64, told every few seconds; and one frame now and then
goes through the network once more, for masks alone do not say how sure they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from roadbed.data.labels import LabelSpace
from roadbed.inference.images import ImageArray
from roadbed.inference.predictor import Predictor
from roadbed.telemetry import MetricSink

SEGMENT_PATH = "/v1/segment"
CLIENT_CLOSED = 499
TELL_S = 5.0
JUDGE_S = 10.0
JUDGE_SHARE = 1 / 200
"""At most so much of the engine's time goes into confidences."""
_EVERY_PX = 8


class Metered:
    """Counts the requests for segmentations by the status of their answers."""

    def __init__(self, app: ASGIApp, *, metrics: MetricSink) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http" or scope["path"] != SEGMENT_PATH:
            await self.app(scope, receive, send)
            return
        status = CLIENT_CLOSED

        async def send_and_see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_see)
        except Exception:
            status = 500
            raise
        finally:
            self._metrics.add("roadbed_serve_requests", 1, str(status))


class Drift:
    """What answers consist of. Used by the thread that answers alone. `clock` gives seconds that only grow."""

    def __init__(self, metrics: MetricSink, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics, self._clock = metrics, clock
        self._labels: LabelSpace | None = None
        self._pixels_K = np.zeros(0, np.int64)
        self._tells_at = clock() + TELL_S
        self._judges_at = clock()

    def answered(self, mask_HW: ImageArray, labels: LabelSpace) -> None:
        """Count an answer's classes, and tell them every few seconds."""
        if labels is not self._labels:
            self.tell()
            self._labels, self._pixels_K = labels, np.zeros(labels.num_classes, np.int64)
        sampled = mask_HW[::_EVERY_PX, ::_EVERY_PX].ravel()
        self._pixels_K += np.bincount(sampled, minlength=labels.num_classes)
        if self._clock() >= self._tells_at:
            self.tell()

    def tell(self) -> None:
        """Tell the pixels that were counted since the last time."""
        self._tells_at = self._clock() + TELL_S
        if self._labels is not None:
            for name, pixels in zip(self._labels.class_names, self._pixels_K.tolist(), strict=True):
                self._metrics.add("roadbed_serve_class_pixels", pixels, name)
            self._pixels_K[:] = 0

    def is_judging_due(self) -> bool:
        """Whether it is time to look at a frame's confidence."""
        return self._clock() >= self._judges_at

    def judge(self, predictor: Predictor, image_HW3: ImageArray) -> None:
        """Tell how sure the model is of a frame. The next is due so late that this stays a small part of the work."""
        began = self._clock()
        confidence = predictor.confidence(image_HW3)
        now = self._clock()
        self._judges_at = now + max(JUDGE_S, (now - began) / JUDGE_SHARE)
        self._metrics.add("roadbed_serve_judged_frames", 1)
        self._metrics.add("roadbed_serve_judged_confidence", confidence)
