"""All of the inputs, of whatever kind: what is to be done of them yet, and by whom it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from roadbed.data.parallel import Mapper, Progress, ProgressCounter
from roadbed.errors import UsageError
from roadbed.inference.engines import one_thread
from roadbed.prediction.films import Film, FilmMaker, FilmOpener
from roadbed.prediction.inputs import MASK, OVERLAY, OVERLAY_VIDEO, SIDE, SIDE_VIDEO, Input, frame_name
from roadbed.prediction.shots import Failure, Making, Shot, ShotPredictor

# What can be written, and its suffixes: of a picture, and of a video, whose frames' masks are always written.
OF_PICTURES = {"masks": MASK, "overlays": OVERLAY, "side-by-side": SIDE}
OF_VIDEOS = {"overlays": OVERLAY_VIDEO, "side-by-side": SIDE_VIDEO}
# A worker is given so many pictures at once at most, and so many times at least.
CHUNK_SHOTS, CHUNKS_PER_WORKER = 8, 4


@dataclass(frozen=True)
class Predicted:
    """What was done: numbers of pictures, of frames, and of videos drawn, and of inputs that were whole already."""

    pictures: int
    frames: int
    videos: int
    already_there: int
    failures: Sequence[Failure]
    seconds: float

    @property
    def images_per_s(self) -> float:
        """Pictures and frames, by the clock."""
        return (self.pictures + self.frames) / self.seconds

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "pictures": self.pictures,
            "frames": self.frames,
            "videos": self.videos,
            "already_there": self.already_there,
            "failed": [{"input": failure.source.uri, "reason": failure.reason} for failure in self.failures],
            "seconds": round(self.seconds, 3),
            "images_per_s": round(self.images_per_s, 2),
        }


def parse_writes(text: str) -> tuple[str, ...]:
    """Of words with commas between them, as in masks,overlays. Raises UsageError."""
    words = [word.strip() for word in text.split(",")]
    unknown = next((word for word in words if word not in OF_PICTURES), None)
    if unknown is not None:
        raise UsageError(f"--write {text}: {unknown!r} cannot be written; there are {', '.join(OF_PICTURES)}")
    return tuple(word for word in OF_PICTURES if word in words)


def predict_all(
    predictor: ShotPredictor,
    inputs: Sequence[Input],
    there: Collection[str],
    *,
    mapper: Mapper,
    num_workers: int,
    progress: Progress,
    notify: Callable[[str], None],
) -> Predicted:
    """Write what is missing of the inputs, where the keys `there` are written already.

    Inputs that cannot be used are left out and named in what is returned; `notify` is told what is odd of others.
    Raises StoreError if a store cannot be used.
    """
    began = time.perf_counter()
    making = predictor.making
    pictures = [shot for one in inputs if not one.is_video and (shot := _picture(one, making, there)).missing]
    videos = [one for one in inputs if one.is_video and not _is_drawn(one, making, there)]
    with one_thread():
        films, failures = _open_films(videos, making, mapper, notify)
        frames = [shot for film in films for shot in _frames(film, there)]
        counter = ProgressCounter(len(pictures) + len(frames), progress)
        chunks = list(_chunks([*pictures, *frames], num_workers))
        found = mapper.map(predictor, chunks, count=lambda chunk: counter.count(len(chunk)))
        unused = [failure for chunk in found for failure in chunk]
        bad = {failure.source for failure in unused}
        drawn = [
            (film, missing) for film in films if film.source not in bad and (missing := _undrawn(film, making, there))
        ]
        undrawn = [failure for failure in mapper.map(FilmMaker(making), drawn, count=lambda _: None) if failure]
    touched = {shot.source for shot in [*pictures, *frames]} | {film.source for film, _ in drawn}
    return Predicted(
        pictures=len(pictures) - sum(not failure.source.is_video for failure in unused),
        frames=len(frames) - sum(failure.source.is_video for failure in unused),
        videos=len(drawn) - len(undrawn),
        already_there=len(inputs) - len(touched) - len(failures),
        failures=_first_of_each([*failures, *unused, *undrawn]),
        seconds=time.perf_counter() - began,
    )


def _picture(source: Input, making: Making, there: Collection[str]) -> Shot:
    missing = tuple(OF_PICTURES[word] for word in making.writes if f"{source.name}{OF_PICTURES[word]}" not in there)
    return Shot(source, source.name, missing, has_mask=f"{source.name}{MASK}" in there)


def _is_drawn(video: Input, making: Making, there: Collection[str]) -> bool:
    """Whether all videos of it are there, which come after all of its masks."""
    wanted = [f"{video.name}{suffix}" for suffix in _video_suffixes(making)]
    return bool(wanted) and all(key in there for key in wanted)


def _undrawn(film: Film, making: Making, there: Collection[str]) -> tuple[str, ...]:
    return tuple(suffix for suffix in _video_suffixes(making) if f"{film.source.name}{suffix}" not in there)


def _video_suffixes(making: Making) -> list[str]:
    return [suffix for word, suffix in OF_VIDEOS.items() if word in making.writes]


def _open_films(
    videos: Sequence[Input], making: Making, mapper: Mapper, notify: Callable[[str], None]
) -> tuple[list[Film], list[Failure]]:
    opened = mapper.map(FilmOpener(making.every), videos, count=lambda _: None)
    films = [film for film in opened if isinstance(film, Film)]
    for film in films:
        if film.is_short:
            notify(
                f"{film.source.place}: ends after {film.num_frames} frames, its header tells of {film.num_told}; "
                "it may be cut short"
            )
    return films, [failure for failure in opened if isinstance(failure, Failure)]


def _frames(film: Film, there: Collection[str]) -> Iterator[Shot]:
    for number in film.frames:
        name = frame_name(film.source.name, number)
        if f"{name}{MASK}" not in there:
            yield Shot(film.source, name, (MASK,), frame=number)


def _chunks(shots: Sequence[Shot], num_workers: int) -> Iterator[Sequence[Shot]]:
    size = max(1, min(CHUNK_SHOTS, len(shots) // (CHUNKS_PER_WORKER * num_workers)))
    for start in range(0, len(shots), size):
        yield shots[start : start + size]


def _first_of_each(failures: Sequence[Failure]) -> list[Failure]:
    """One for each input, the first."""
    return list({failure.source: failure for failure in reversed(failures)}.values())[::-1]
