"""Videos through OpenCV: their frames by number, and frames as a new video.

A frame's number is how many were decoded before it. Nothing is sought by time stamps, which containers round: a reader
decodes forward to the frame that it is asked for.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from roadbed.errors import DataError, StoreError
from roadbed.inference.images import ImageArray
from roadbed.prediction.inputs import Input
from roadbed.storage import open_store

# MPEG-4 part 2: what the FFmpeg inside OpenCV's own packages can write on every machine; it has no encoder for H.264.
CODEC = "mp4v"
# Frames in a second, where a container tells none that could be meant.
USUAL_RATE, HIGHEST_RATE = 25.0, 1000.0


class VideoReader:
    """A video that is open. `rate` is in frames per second, `num_told` the frames that its header tells of, or 0."""

    def __init__(self, path: Path, place: str, *, copy: object = None) -> None:
        """`copy` is kept until the reader goes. Raises DataError that names `place` if it is no video."""
        _silence()
        self._path, self._place, self._copy = path, place, copy
        self._open()
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = float(rate) if 0 < rate <= HIGHEST_RATE else USUAL_RATE
        self.num_told = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def count(self) -> int:
        """How many frames there are, by decoding all: headers guess. Raises DataError if there is none."""
        self._open()
        while self._capture.grab():
            self._next += 1
        if not self._next:
            raise DataError(f"{self._place}: no frame of this video can be decoded; convert it, or fetch it again")
        return self._next

    def read(self, number: int) -> ImageArray:
        """A frame as uint8 RGB (H, W, 3), upright. Raises DataError if it cannot be decoded."""
        if number < self._next:
            self._open()
        while self._next <= number and self._capture.grab():
            self._next += 1
        is_there, frame_HW3 = self._capture.retrieve()
        if self._next <= number or not is_there:
            raise DataError(f"{self._place}: frame {number} cannot be decoded; convert the video, or fetch it again")
        return np.asarray(cv2.cvtColor(frame_HW3, cv2.COLOR_BGR2RGB))

    def _open(self) -> None:
        self._capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        self._next = 0
        if not self._capture.isOpened():
            raise DataError(f"{self._place}: is not a video that can be read, or is cut short; fetch it again")


class Videos:
    """Opens videos. What lies in s3:// is copied to this machine, once for all threads; the last copy is kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._copy = lru_cache(maxsize=1)(_Copy)

    def open(self, video: Input) -> VideoReader:
        """A reader of its own. Raises DataError if it is no video, NotFoundError or StoreError if it cannot be had."""
        if video.root.startswith("file://"):
            return VideoReader(Path(video.place), video.place)
        with self._lock:
            copy = self._copy(video)
        return VideoReader(copy.path, video.place, copy=copy)


class _Copy:
    """A video as a file of this machine, which goes with the last who holds this."""

    def __init__(self, video: Input) -> None:
        handle, name = tempfile.mkstemp(prefix="roadbed-", suffix=PurePosixPath(video.key).suffix)
        os.close(handle)
        self.path = Path(name)
        weakref.finalize(self, self.path.unlink, missing_ok=True)
        open_store(video.root).download(video.key, self.path)


def _silence() -> None:
    """What is wrong with a video is said by us, and not by OpenCV and its FFmpeg besides."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def write_video(frames_HW3: Iterable[ImageArray], path: Path, *, rate: float) -> None:
    """Frames of one size as an MP4 of so many per second. A side of an odd number of pixels loses its last one.

    Raises StoreError if the file is not whole then.
    """
    writer: cv2.VideoWriter | None = None
    num_frames = 0
    for frame_HW3 in frames_HW3:
        if writer is None:
            size = (frame_HW3.shape[1], frame_HW3.shape[0])
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*CODEC), rate, size)
        writer.write(cv2.cvtColor(frame_HW3, cv2.COLOR_RGB2BGR))
        num_frames += 1
    if writer is not None:
        writer.release()
    # OpenCV does not say what went wrong, not even that something did.
    written = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if int(written.get(cv2.CAP_PROP_FRAME_COUNT)) != num_frames:
        raise StoreError(
            f"{path}: a video of {num_frames} frames could not be written whole; check the free space of "
            f"{path.parent}, or set TMPDIR"
        )
