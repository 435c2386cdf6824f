"""Pictures, and frames of videos, through an engine into a store. What a Mapper carries to threads or Ray tasks.

Every worker computes with one thread, so how many there are changes no pixel. A mask that is there is not computed
again, whatever else is drawn of it.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image

from roadbed.data.labels import LabelSpace
from roadbed.errors import DataError, NotFoundError, StoreError
from roadbed.inference.export import open_engine
from roadbed.inference.images import ImageArray, read_image
from roadbed.inference.predictor import Predictor
from roadbed.inference.tiles import Tiles
from roadbed.inference.views import Views
from roadbed.prediction.inputs import MASK, OVERLAY, Input
from roadbed.prediction.video import VideoReader, Videos
from roadbed.registry import Version
from roadbed.registry.version import read_version
from roadbed.report.overlay import mask_picture, overlay, png_bytes, side_by_side
from roadbed.storage import Store, open_store

UNUSABLE = (DataError, NotFoundError)


@dataclass(frozen=True)
class Making:
    """Everything on which what is written depends, besides the inputs, and where it goes. Pickles.

    `writes` are words of what is written (predicting.py); of videos, every `every`th frame is seen.
    """

    model: str
    number: int
    version_uri: str
    engine: str
    views: Views
    tiles: Tiles | None
    labels: LabelSpace
    output: str
    writes: tuple[str, ...]
    every: int

    @classmethod
    def of(
        cls, version: Version, predictor: Predictor, output: Store, *, writes: tuple[str, ...], every: int = 1
    ) -> Making:
        """By what `predictor` is, which is one of `version`."""
        return cls(
            model=version.name,
            number=version.number,
            version_uri=version.uri,
            engine=predictor.engine.name,
            views=predictor.views,
            tiles=predictor.tiles,
            labels=predictor.label_space,
            output=output.uri,
            writes=writes,
            every=every,
        )

    def to_json(self) -> dict[str, Any]:
        """What decides over the pixels, as plain values for JSON."""
        tile = self.tiles and f"{self.tiles.width_px}x{self.tiles.height_px}"
        return {
            "model": f"{self.model}:{self.number}",
            "version": self.version_uri,
            "engine": self.engine,
            "views": self.views.words,
            "tile": tile,
            "every": self.every,
        }


@dataclass(frozen=True)
class Shot:
    """A picture, or a frame of a video, and the suffixes of what is to be written of it, the mask's first."""

    source: Input
    name: str
    missing: tuple[str, ...]
    frame: int | None = None
    has_mask: bool = False


@dataclass(frozen=True)
class Failure:
    """An input that cannot be used, and why, in words that name it."""

    source: Input
    reason: str


class ShotPredictor:
    """Predicts and draws shots. Opens its engine when it is first called in a thread or process."""

    def __init__(self, making: Making, *, ready: Sequence[Predictor] = ()) -> None:
        """`ready` are predictors of one thread that are open already; each is for one of the threads that come."""
        self.making = making
        self._ready = list(ready)
        self._here = threading.local()
        self._videos = Videos()
        self._store = lru_cache(maxsize=64)(open_store)

    def __reduce__(self) -> tuple[type[ShotPredictor], tuple[Making]]:
        return ShotPredictor, (self.making,)

    def __call__(self, shots: Sequence[Shot]) -> list[Failure]:
        """Write what the shots miss; those that cannot be used.

        Raises StoreError if a store cannot be used: the next shots would meet the same.
        """
        failures = []
        for shot in shots:
            try:
                image_HW3 = self._image(shot)
                known_HW = self._known_mask(shot, image_HW3) if shot.has_mask else None
            except UNUSABLE as error:
                failures.append(Failure(shot.source, str(error)))
                continue
            self._write(shot, image_HW3, self._predictor().predict(image_HW3) if known_HW is None else known_HW)
        return failures

    def _image(self, shot: Shot) -> ImageArray:
        if shot.frame is not None:
            return self._reader(shot.source).read(shot.frame)
        source = shot.source
        try:
            data = self._store(source.root).get(source.key)
        except StoreError as error:
            if source.root.startswith("file://"):
                raise DataError(str(error)) from error
            raise
        return read_image(data, name=source.place)

    def _known_mask(self, shot: Shot, image_HW3: ImageArray) -> ImageArray:
        return read_mask(self._store(self.making.output), shot.name, image_HW3)

    def _reader(self, video: Input) -> VideoReader:
        """That of this thread, which goes on where it is as long as it is asked for frames of one video."""
        if getattr(self._here, "video", None) != video:
            self._here.video, self._here.reader = None, None
            self._here.reader = self._videos.open(video)
            self._here.video = video
        reader: VideoReader = self._here.reader
        return reader

    def _predictor(self) -> Predictor:
        if not hasattr(self._here, "predictor"):
            torch.set_num_threads(1)  # of this thread or process, which is a worker's
            try:
                self._here.predictor = self._ready.pop()
            except IndexError:
                self._here.predictor = _open(self.making)
        predictor: Predictor = self._here.predictor
        return predictor

    def _write(self, shot: Shot, image_HW3: ImageArray, mask_HW: ImageArray) -> None:
        labels = self.making.labels
        for suffix in shot.missing:
            if suffix == MASK:
                picture = mask_picture(mask_HW, labels)
            elif suffix == OVERLAY:
                picture = Image.fromarray(overlay(image_HW3, mask_HW, labels))
            else:
                picture = side_by_side(image_HW3, mask_HW, labels, title=shot.name)
            self._store(self.making.output).put(f"{shot.name}{suffix}", png_bytes(picture))


def read_mask(output: Store, name: str, image_HW3: ImageArray) -> ImageArray:
    """The mask that is there for an image. Raises DataError if it is another's, or damaged."""
    where = f"{output.uri}/{name}{MASK}"
    try:
        with Image.open(io.BytesIO(output.get(f"{name}{MASK}"))) as picture:
            mask_HW = np.array(picture, np.uint8)
    except (OSError, SyntaxError) as error:
        raise DataError(f"{where}: is damaged ({error}); delete it and predict again") from None
    if mask_HW.shape != image_HW3.shape[:2]:
        (rows, columns), (height, width) = mask_HW.shape[:2], image_HW3.shape[:2]
        raise DataError(f"{where}: is {columns}x{rows}, its image is {width}x{height} now; delete it and predict again")
    return mask_HW


def _open(making: Making) -> Predictor:
    version = read_version(making.model, making.number, open_store(making.version_uri))
    opened = open_engine(version, making.engine, threads=1)
    return Predictor(opened.engine, opened.labels, views=making.views, tiles=making.tiles)
