"""Frames of a split through an engine, one by one, to counts. What a Mapper carries to threads or Ray tasks.

Every worker computes with one thread, so how many there are changes nothing in any number.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from roadbed.data.dataset import Dataset, Split
from roadbed.data.labels import LabelSpace
from roadbed.data.parallel import Mapper, Progress, ProgressCounter
from roadbed.errors import DataError, UsageError
from roadbed.evaluation.boundary import DEFAULT_DILATION, boundary_counts
from roadbed.evaluation.calibration import calibration_counts
from roadbed.evaluation.tallies import FrameTally
from roadbed.inference.engines import one_thread
from roadbed.inference.export import open_engine
from roadbed.inference.images import ImageArray
from roadbed.inference.predictor import Predictor
from roadbed.inference.tiles import Tiles
from roadbed.inference.views import ONE_VIEW, Views
from roadbed.registry import Version
from roadbed.registry.version import read_version
from roadbed.scores import confusion_counts
from roadbed.storage import open_store


@dataclass(frozen=True)
class Scoring:
    """Everything on which the counts depend: which version sees which frames, and how. Pickles."""

    model: str
    number: int
    version_uri: str
    dataset_uri: str
    dataset_digest: str
    split: str
    engine: str
    views: Views = ONE_VIEW
    tiles: Tiles | None = None
    dilation: float = DEFAULT_DILATION
    is_calibrated: bool = True

    @classmethod
    def of(cls, version: Version, dataset: Dataset, split: str, *, engine: str) -> Scoring:
        """With the version's own views. Raises UsageError for a split that is not there, or other classes."""
        _check_classes(version, dataset)
        if not dataset.split(split).class_pixels.any():
            raise UsageError(f"{dataset.uri}: nothing is labelled in the split {split}; name another with --split")
        return cls(
            model=version.name,
            number=version.number,
            version_uri=version.uri,
            dataset_uri=dataset.uri,
            dataset_digest=dataset.digest,
            split=split,
            engine=engine,
            views=Views.of_card(version.card()),
        )

    @property
    def reference(self) -> str:
        """NAME:NUMBER."""
        return f"{self.model}:{self.number}"


class FrameScorer:
    """Scores frames by their numbers. Opens engine and dataset when it is first called in a thread or process."""

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring
        self._here = threading.local()

    def __reduce__(self) -> tuple[type[FrameScorer], tuple[Scoring]]:
        return FrameScorer, (self.scoring,)

    def __call__(self, sample: int) -> FrameTally:
        """The counts of one frame.

        Raises StoreError or DamagedError if it cannot be read, DataError if the dataset is not the one that was meant.
        """
        predictor, split, labels = self._opened()
        ids = {"num_classes": labels.num_classes, "ignore_id": labels.ignore_id}
        began = time.perf_counter()
        image_HW3, truth_HW = split.read_sample(sample)
        read = time.perf_counter()
        confidence_HW = None
        if self.scoring.is_calibrated:
            predicted_HW, confidence_HW = predictor.predict_with_confidence(image_HW3)
        else:
            predicted_HW = predictor.predict(image_HW3)
        predicted = time.perf_counter()
        counts_KK = confusion_counts(truth_HW, predicted_HW, **ids)
        boundary_3K = boundary_counts(truth_HW, predicted_HW, **ids, share=self.scoring.dilation)
        bins_3B = None
        if confidence_HW is not None:
            bins_3B = calibration_counts(truth_HW, predicted_HW, confidence_HW, ignore_id=labels.ignore_id)
        seconds = (read - began, predicted - read, time.perf_counter() - predicted)
        return FrameTally(sample, split.key(sample), counts_KK, boundary_3K, bins_3B, seconds)

    def look(self, sample: int) -> tuple[ImageArray, ImageArray, ImageArray]:
        """Frame, truth and prediction, for pictures."""
        with one_thread():
            predictor, split, _ = self._opened()
            image_HW3, truth_HW = split.read_sample(sample)
            return image_HW3, truth_HW, predictor.predict(image_HW3)

    def _opened(self) -> tuple[Predictor, Split, LabelSpace]:
        if not hasattr(self._here, "opened"):
            self._here.opened = _open(self.scoring)
        opened: tuple[Predictor, Split, LabelSpace] = self._here.opened
        return opened


def score_frames(
    scorer: Callable[[int], FrameTally], samples: Sequence[int], *, mapper: Mapper, progress: Progress | None = None
) -> tuple[list[FrameTally], float]:
    """The counts of `samples` in their order, whoever did them, and the seconds that it took by the clock."""
    counter = ProgressCounter(len(samples), progress)
    began = time.perf_counter()
    with one_thread():
        frames = mapper.map(scorer, samples, count=lambda _: counter.count())
    return frames, time.perf_counter() - began


def _open(scoring: Scoring) -> tuple[Predictor, Split, LabelSpace]:
    torch.set_num_threads(1)  # of this thread or process, which is a worker's
    version = read_version(scoring.model, scoring.number, open_store(scoring.version_uri))
    opened = open_engine(version, scoring.engine, threads=1)
    dataset = Dataset.open(scoring.dataset_uri)
    if dataset.digest != scoring.dataset_digest:
        raise DataError(f"{dataset.uri}: another dataset was put there while it was evaluated; evaluate again")
    predictor = Predictor(opened.engine, opened.labels, views=scoring.views, tiles=scoring.tiles)
    return predictor, dataset.split(scoring.split), dataset.label_space


def _check_classes(version: Version, dataset: Dataset) -> None:
    known = LabelSpace.from_json(version.card()["label_space"]).class_names
    asked = dataset.label_space.class_names
    if known == asked:
        return
    only_known = [name for name in known if name not in asked]
    only_asked = [name for name in asked if name not in known]
    differing = "; ".join(
        f"only {whose} {'has' if whose == 'the dataset' else 'knows'} {', '.join(names[:8])}"
        for whose, names in (("the version", only_known), ("the dataset", only_asked))
        if names
    )
    raise UsageError(
        f"{version.name}:{version.number} knows the {len(known)} classes of its training, {dataset.uri} has "
        f"{len(asked)} ({differing or 'the same ones in another order'}); evaluate on a dataset that was prepared with "
        f"the version's classes"
    )
