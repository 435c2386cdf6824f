"""`roadbed bench encodings`: what each way of storing frames and masks costs in bytes, CPU and speed.

Encoding and decoding are timed in one thread. The loader then reads one cold epoch after the other from the same store:
as it is, and behind links of 10 and 1 Gbit/s (link.py). The encodings take turns within every round, since a shared
machine is noisy: ratios within a round and their medians count.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, get_args

import numpy as np

from roadbed.bench.frames import prepared
from roadbed.bench.link import Link, behind
from roadbed.data.augment import Augmenter, training_transforms
from roadbed.data.cache import ShardCache
from roadbed.data.dataset import Dataset
from roadbed.data.encoding import ImageEncoding, MaskEncoding, decode_image, decode_mask, encode_image, encode_mask
from roadbed.data.jpeg_parts import Box
from roadbed.data.loader import Loader
from roadbed.data.prepare import PrepareOptions
from roadbed.data.sources import Source
from roadbed.errors import UsageError
from roadbed.spec import DataSpec
from roadbed.storage import Store, open_store

IMAGE_ENCODINGS: tuple[ImageEncoding, ...] = get_args(ImageEncoding)
MASK_ENCODINGS: tuple[MaskEncoding, ...] = get_args(MaskEncoding)
LINKS: dict[str, float | None] = {"unshaped": None, "10 Gbit/s": 10e9, "1 Gbit/s": 1e9}
TIMED_SAMPLES = 32
JPEG_QUALITY = PrepareOptions().jpeg_quality


@dataclass(frozen=True)
class Encoding:
    """How frames and how masks are stored."""

    image: ImageEncoding
    mask: MaskEncoding

    @property
    def name(self) -> str:
        """As in jpeg-png."""
        return f"{self.image}-{self.mask}"


ENCODINGS = {encoding.name: encoding for encoding in (Encoding(i, m) for i in IMAGE_ENCODINGS for m in MASK_ENCODINGS)}
DEFAULT = f"{PrepareOptions().image_encoding}-{PrepareOptions().mask_encoding}"


@dataclass(frozen=True)
class EncodingFigures:
    """One encoding: per sample on average its bytes and milliseconds of one thread, and the loader's speed.

    `crop_decode_ms` is what a training step decodes: a crop of average size, and its mask.
    `images_per_s` and `cpu_s_per_1000` have a figure per round for every link. CPU seconds are this process's alone,
    not the store's.
    """

    name: str
    image_bytes: float
    mask_bytes: float
    encode_ms: float
    decode_ms: float
    crop_decode_ms: float
    images_per_s: dict[str, tuple[float, ...]]
    cpu_s_per_1000: dict[str, tuple[float, ...]]
    is_every_sample_once: bool


@dataclass(frozen=True)
class _Epoch:
    images_per_s: float
    cpu_s_per_1000: float
    is_every_sample_once: bool


def chosen(names: Sequence[str]) -> list[str]:
    """These encodings, checked. Raises UsageError that names those there are."""
    unknown = [name for name in names if name not in ENCODINGS]
    if unknown:
        raise UsageError(f"no encoding is called {', '.join(unknown)}; there are {', '.join(ENCODINGS)}")
    return list(names)


def measure_encodings(
    source: Source[Any],
    root_uri: str,
    *,
    names: Sequence[str] = tuple(ENCODINGS),
    num_rounds: int,
    batch_size: int,
    num_threads: int,
    tell: Callable[[str], None],
) -> list[EncodingFigures]:
    """Prepare `source` below `root_uri` once per encoding, where it stays, and measure each. Raises as `prepare`."""
    datasets = {}
    for name in names:
        tell(f"preparing {name}")
        options = PrepareOptions(image_encoding=ENCODINGS[name].image, mask_encoding=ENCODINGS[name].mask)
        datasets[name] = prepared(source, f"{root_uri}/{name}", options)
    # The first epoch of a process pays for imports and first uses, whichever encoding it is of.
    _cold_epoch(open_store(datasets[names[0]].uri), batch_size=batch_size, num_threads=num_threads)
    epochs: dict[str, dict[str, list[_Epoch]]] = {name: {link: [] for link in LINKS} for name in names}
    for number in range(num_rounds):
        tell(f"round {number + 1}/{num_rounds}")
        for link, bits_per_s in LINKS.items():
            for name, dataset in datasets.items():
                store = behind(Link(bits_per_s) if bits_per_s else None, open_store(dataset.uri))
                epochs[name][link].append(_cold_epoch(store, batch_size=batch_size, num_threads=num_threads))
    samples = [source.read(ref) for ref in source.splits["train"][:TIMED_SAMPLES]]
    return [_figures(ENCODINGS[name], datasets[name], samples, epochs[name]) for name in names]


def best(figures: Sequence[EncodingFigures], link: str) -> tuple[str, tuple[float, ...]]:
    """The fastest by median behind `link`, and how much faster than the default it was in each round.

    There are no ratios where the default was not measured.
    """
    winner = max(figures, key=lambda figure: median(figure.images_per_s[link]))
    default = [figure.images_per_s[link] for figure in figures if figure.name == DEFAULT]
    pairs = zip(winner.images_per_s[link], default[0], strict=True) if default else ()
    return winner.name, tuple(fast / slow for fast, slow in pairs)


def _cold_epoch(store: Store, *, batch_size: int, num_threads: int) -> _Epoch:
    """One epoch with an empty cache, from opening the dataset to its last batch."""
    with tempfile.TemporaryDirectory(prefix="roadbed-bench-") as folder:
        began, cpu_began = time.perf_counter(), time.process_time()
        dataset = Dataset.load(store)
        split, spec = dataset.split("train"), DataSpec(uri=dataset.uri)
        counts = np.zeros(split.num_samples, np.int64)
        augment = Augmenter(training_transforms(spec))
        cache = ShardCache(Path(folder), max_bytes=spec.cache_mb * 1_000_000)
        with Loader(
            split, digest=dataset.digest, spec=spec, rank=0, num_ranks=1, num_threads=num_threads, cache=cache
        ) as loader:
            for batch in loader.training_batches(augment, epoch=0, first_batch=0, seed=1, global_batch=batch_size):
                np.add.at(counts, list(batch.samples), 1)
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    return _Epoch(len(counts) / seconds, 1000 * cpu_s / len(counts), bool((counts == 1).all()))


def _figures(
    encoding: Encoding,
    dataset: Dataset,
    samples: Sequence[tuple[np.ndarray, np.ndarray]],
    epochs: dict[str, list[_Epoch]],
) -> EncodingFigures:
    split = dataset.split("train")
    records = [split.index.record(sample) for sample in range(split.num_samples)]
    encode_ms, decode_ms, crop_decode_ms = _codec_ms(encoding, samples)
    return EncodingFigures(
        name=encoding.name,
        image_bytes=float(np.mean([record.image_bytes for record in records])),
        mask_bytes=float(np.mean([record.mask_bytes for record in records])),
        encode_ms=encode_ms,
        decode_ms=decode_ms,
        crop_decode_ms=crop_decode_ms,
        images_per_s={link: tuple(epoch.images_per_s for epoch in found) for link, found in epochs.items()},
        cpu_s_per_1000={link: tuple(epoch.cpu_s_per_1000 for epoch in found) for link, found in epochs.items()},
        is_every_sample_once=all(epoch.is_every_sample_once for found in epochs.values() for epoch in found),
    )


def _codec_ms(encoding: Encoding, samples: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float]:
    """Median milliseconds of one thread to encode a frame and its mask, to decode both, and to decode a crop."""
    seconds = []
    for image_HW3, mask_HW in samples:
        box = _average_crop(*mask_HW.shape)
        ends = [time.perf_counter()]
        image = encode_image(image_HW3, encoding=encoding.image, jpeg_quality=JPEG_QUALITY)
        mask = encode_mask(mask_HW, encoding=encoding.mask)
        ends.append(time.perf_counter())
        for part in (None, box):
            decode_image(image, part)
            decode_mask(mask)
            ends.append(time.perf_counter())
        seconds.append(np.diff(ends))
    encode_ms, decode_ms, crop_decode_ms = 1000 * np.median(seconds, axis=0)
    return float(encode_ms), float(decode_ms), float(crop_decode_ms)


def _average_crop(height: int, width: int) -> Box:
    """From the middle of a frame, as large as the crops of the default `data` section are on average."""
    side = math.sqrt(np.mean(DataSpec.model_fields["crop_area"].default))
    crop_height, crop_width = round(side * height), round(side * width)
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return left, top, left + crop_width, top + crop_height
