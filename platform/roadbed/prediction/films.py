"""What is done with a video as a whole: its frames are counted before, and drawn frames become a video after.

The masks of the frames in the store are all the state that there is between: videos are drawn of them at the end.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roadbed.inference.images import ImageArray
from roadbed.prediction.inputs import OVERLAY_VIDEO, Input, frame_name
from roadbed.prediction.shots import UNUSABLE, Failure, Making, read_mask
from roadbed.prediction.video import VideoReader, Videos, write_video
from roadbed.report.overlay import overlay, side_by_side
from roadbed.storage import Store, open_store


@dataclass(frozen=True)
class Film:
    """A video of which every `every`th of `num_frames` frames is seen, and the suffixes of what is drawn of it.

    `num_told` are the frames that its header tells of, or 0.
    """

    source: Input
    num_frames: int
    num_told: int
    rate: float
    every: int

    @property
    def frames(self) -> range:
        """The numbers of the frames that are seen."""
        return range(0, self.num_frames, self.every)

    @property
    def is_short(self) -> bool:
        """Whether it ends more than a second before its header says."""
        return self.num_frames + self.rate < self.num_told


class FilmOpener:
    """Counts the frames of videos."""

    def __init__(self, every: int) -> None:
        self._every = every

    def __call__(self, video: Input) -> Film | Failure:
        """What is known of a video, or why it cannot be used."""
        try:
            reader = Videos().open(video)
            return Film(video, reader.count(), reader.num_told, reader.rate, self._every)
        except UNUSABLE as error:
            return Failure(video, str(error))


class FilmMaker:
    """Draws videos of frames and their masks."""

    def __init__(self, making: Making) -> None:
        self._making = making

    def __call__(self, work: tuple[Film, tuple[str, ...]]) -> Failure | None:
        """Write the videos of these suffixes, at the film's own rate and size; why not, if it cannot be used."""
        film, suffixes = work
        output = open_store(self._making.output)
        try:
            reader = Videos().open(film.source)
            for suffix in suffixes:
                with tempfile.TemporaryDirectory(prefix="roadbed-") as folder:
                    path = Path(folder) / "video.mp4"
                    write_video(self._frames(film, suffix, reader, output), path, rate=film.rate / film.every)
                    output.upload(path, f"{film.source.name}{suffix}")
        except UNUSABLE as error:
            return Failure(film.source, str(error))
        return None

    def _frames(self, film: Film, suffix: str, reader: VideoReader, output: Store) -> Iterator[ImageArray]:
        labels, name = self._making.labels, film.source.name
        for number in film.frames:
            image_HW3 = reader.read(number)
            mask_HW = read_mask(output, frame_name(name, number), image_HW3)
            if suffix == OVERLAY_VIDEO:
                yield overlay(image_HW3, mask_HW, labels)
            else:
                yield np.asarray(side_by_side(image_HW3, mask_HW, labels, title=name, is_still=False))
