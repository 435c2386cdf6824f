"""From a version's weights to an engine's files, if what the engine computes is near enough to what torch does.

The reference is the network itself in float32, operation by operation. An engine that falls below `Limits` on the
frames it is tried on gets no export. The first frame and its reference mask go into the export: bfloat16 depends on the
CPU, so whoever loads the engine elsewhere tries it on that frame again.

Shapes: H and W pixels of a frame, K classes.
"""

from __future__ import annotations

import io
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image

from roadbed.data.labels import LabelSpace
from roadbed.errors import DamagedError, RoadbedError, UsageError
from roadbed.inference.engines import (
    FILES,
    PACKAGES,
    Engine,
    InductorEngine,
    OnnxRuntimeEngine,
    OpenVinoEngine,
    Precision,
    TorchEngine,
    engine_version,
    is_installed,
    needs_files,
)
from roadbed.inference.graph import export_onnx
from roadbed.inference.images import ImageArray
from roadbed.inference.predictor import load_model
from roadbed.models import SegmentationModel
from roadbed.models.weights import WEIGHTS_FILE
from roadbed.registry import Version
from roadbed.registry.exports import Export, find_export, write_export
from roadbed.scores import confusion_counts, mean_iou

CANARY_FILE, CANARY_MASK_FILE = "canary.png", "canary.mask.png"

# How much more than on the machine that exported may differ on another.
SLACK = 0.005
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
TIMINGS = 6

Frame = tuple[ImageArray, ImageArray | None]


@dataclass(frozen=True)
class Limits:
    """What an engine must reach: the share of pixels of the same class, and how much mIoU it may lose (0..1)."""

    min_equal: float = 0.995
    max_miou_drop: float = 0.005


@dataclass(frozen=True)
class Parity:
    """How near an engine came to the reference. The mIoU are None where no frame had a truth; times are medians."""

    num_frames: int
    equal: float
    worst_equal: float
    miou: float | None
    reference_miou: float | None
    ms: float
    reference_ms: float

    def faults(self, limits: Limits) -> list[str]:
        """In words, what falls below the limits."""
        found = []
        if self.equal < limits.min_equal:
            found.append(f"{self.equal:.4%} of the pixels are equal, at least {limits.min_equal:.4%} must be")
        if self.miou is not None and self.reference_miou is not None:
            drop = self.reference_miou - self.miou
            if drop > limits.max_miou_drop:
                found.append(f"mIoU falls from {self.reference_miou:.4f} to {self.miou:.4f}, by {drop:.4f}")
        return found


def export_version(
    version: Version,
    engine: str,
    frames: Iterable[Frame],
    *,
    limits: Limits = Limits(),
    threads: int,
    replace: bool = False,
    notify: Callable[[str], None] = lambda _: None,
) -> Export:
    """Make, try and store the export of a version for an engine.

    `frames` are images (H, W, 3) with their truth (H, W), or None. They are looked at one by one. `notify` is told what
    is being done. Raises UsageError for an engine that is not installed, without any frame, or if there is an export
    and `replace` is not set; RoadbedError with the figures if the engine falls below the limits.
    """
    check_exportable(version, engine, replace=replace)
    model, labels = load_model(version)
    notify(f"{engine}: recording the network")
    files = {FILES[output]: data for output, data in export_onnx(model).items()} if needs_files(engine) else {}
    frames, precision = _with_faster_precision(engine, files, frames, threads=threads)
    found = _open(engine, files, threads=threads, model=model, precision=precision)
    notify(f"{engine}: comparing with torch")
    parity, canary = _compare(found, TorchEngine(model), frames, labels)
    faults = parity.faults(limits)
    equal = float((found.logits(canary[0]).argmax(0) == canary[1]).mean())
    if equal < limits.min_equal:
        faults.append(f"{equal:.4%} of the pixels of its logits are equal, at least {limits.min_equal:.4%} must be")
    if faults:
        raise RoadbedError(
            f"{version.name}:{version.number} is not exported for {engine} ({found.note}): {'; '.join(faults)}; take "
            f"another engine, or set the limits with --min-equal and --max-miou-drop"
        )
    report = {
        "engine": engine,
        "engine_version": engine_version(engine),
        "note": found.note,
        "precision": precision,
        "limits": asdict(limits),
        "parity": asdict(parity),
        "weights_sha256": version.sha256(WEIGHTS_FILE),
    }
    files |= {CANARY_FILE: _png(canary[0]), CANARY_MASK_FILE: _png(canary[1])}
    return write_export(version, engine, files, report, replace=replace)


def check_exportable(version: Version, engine: str, *, replace: bool) -> None:
    """Raises the UsageErrors that `export_version` would raise before it does anything."""
    _check_installed(engine)
    if engine == "torch":
        raise UsageError("torch runs every version as it is; export for another engine")
    if not replace and find_export(version, engine) is not None:
        raise UsageError(f"{version.name}:{version.number} is exported for {engine} already; --replace exports it anew")


@dataclass(frozen=True)
class Opened:
    """An engine that is ready, and in words why it and no other."""

    engine: Engine
    labels: LabelSpace
    reasons: tuple[str, ...] = ()


def open_engine(version: Version, name: str = "auto", *, threads: int) -> Opened:
    """The engine `name` for a version, tried on its canary frame; `auto`: the fastest that can be had, else torch.

    Raises UsageError for one that is not installed or not exported, RoadbedError for one that computes something else
    on this CPU, StoreError and DamagedError as `load_model`.
    """
    if name != "auto":
        return _open_named(version, name, threads=threads)
    reasons = []
    for engine in _fastest_first(version):
        try:
            opened = _open_named(version, engine, threads=threads)
        except RoadbedError as error:
            reasons.append(str(error))
            continue
        return Opened(opened.engine, opened.labels, tuple(reasons))
    if not reasons:
        reasons.append(
            f"no engine that is installed has an export of {version.name}:{version.number}; `roadbed models export "
            f"{version.name}:{version.number}` makes one"
        )
    opened = _open_named(version, "torch", threads=threads)
    return Opened(opened.engine, opened.labels, tuple(reasons))


def _fastest_first(version: Version) -> list[str]:
    """Installed engines with an export, by what they took on the machine that exported them."""
    exports = [find_export(version, engine) for engine in PACKAGES if engine != "torch" and is_installed(engine)]
    there = [export for export in exports if export is not None]
    return [export.engine for export in sorted(there, key=lambda export: float(export.report["parity"]["ms"]))]


def _open_named(version: Version, name: str, *, threads: int) -> Opened:
    _check_installed(name)
    if name == "torch":
        model, labels = load_model(version)
        return Opened(TorchEngine(model), labels)
    export = find_export(version, name)
    if export is None:
        raise UsageError(
            f"{version.name}:{version.number} has no export for {name}; make one with `roadbed models export "
            f"{version.name}:{version.number} --engine {name}`, or take the engine torch"
        )
    if export.report.get("weights_sha256") != version.sha256(WEIGHTS_FILE):
        raise DamagedError(f"{export.uri}: was made of other weights; export the version again with --replace")
    files = {file: export.get(file) for file in export.files}
    network = None if needs_files(name) else load_model(version)[0]
    engine = _open(name, files, threads=threads, model=network, precision=export.report.get("precision", "bf16"))
    _check_canary(engine, files, export)
    return Opened(engine, LabelSpace.from_json(version.card()["label_space"]))


def _check_canary(engine: Engine, files: Mapping[str, bytes], export: Export) -> None:
    """Raises RoadbedError if on this CPU the engine's mask of the canary is not near enough to the reference's."""
    expected_HW = _decoded(files[CANARY_MASK_FILE])
    equal = float((engine.mask(_decoded(files[CANARY_FILE])) == expected_HW).mean())
    least = min(float(export.report["limits"]["min_equal"]), float(export.report["parity"]["worst_equal"])) - SLACK
    if equal < least:
        raise RoadbedError(
            f"{export.uri}: on this machine {engine.note} finds {equal:.4%} of the canary's pixels as torch did, at "
            f"least {least:.4%} must be; export the version here with --replace, or take another engine"
        )


def _with_faster_precision(
    engine: str, files: Mapping[str, bytes], frames: Iterable[Frame], *, threads: int
) -> tuple[Iterator[Frame], Precision]:
    """The frames as they were, and the precision in which the engine computes the first of them faster.

    bfloat16 is not the faster one on every CPU that has it, nor for every network.
    """
    coming = iter(frames)
    first = next(coming, None)
    if engine != "openvino" or first is None:
        return itertools.chain([] if first is None else [first], coming), "bf16"
    best_s: dict[Precision, float] = {}
    for precision in PRECISIONS:
        made = OpenVinoEngine(files, threads=threads, precision=precision)
        best_s[made.precision] = min(_timed(made, first[0])[1] for _ in range(TIMINGS))
    return itertools.chain([first], coming), min(best_s, key=lambda precision: best_s[precision])


def _open(
    name: str, files: Mapping[str, bytes], *, threads: int, model: SegmentationModel | None, precision: Precision
) -> Engine:
    if name == "onnxruntime":
        return OnnxRuntimeEngine(files, threads=threads)
    if name == "openvino":
        return OpenVinoEngine(files, threads=threads, precision=precision)
    assert name == "inductor"
    assert model is not None
    return InductorEngine(model)


def _compare(
    engine: Engine, reference: Engine, frames: Iterable[Frame], labels: LabelSpace
) -> tuple[Parity, tuple[ImageArray, ImageArray]]:
    """The parity over all frames, and the first one with its reference mask."""
    equal, times, reference_times = [], [], []
    counts, reference_counts = (np.zeros((labels.num_classes,) * 2, np.int64) for _ in range(2))
    canary = None
    for image_HW3, truth_HW in frames:
        if canary is None:
            for _ in range(2):  # what the first image of a size costs, and the second
                engine.mask(image_HW3)
        expected, reference_s = _timed(reference, image_HW3)
        found, seconds = _timed(engine, image_HW3)
        equal.append(float((found == expected).mean()))
        times.append(1e3 * seconds)
        reference_times.append(1e3 * reference_s)
        if truth_HW is not None:
            sizes = {"num_classes": labels.num_classes, "ignore_id": labels.ignore_id}
            counts += confusion_counts(truth_HW, found, **sizes)
            reference_counts += confusion_counts(truth_HW, expected, **sizes)
        canary = canary or (image_HW3, expected)
    if canary is None:
        raise UsageError("there is no frame to compare the engine with torch on; name a dataset with --dataset")
    has_truth = bool(counts.any())
    parity = Parity(
        num_frames=len(equal),
        equal=statistics.fmean(equal),
        worst_equal=min(equal),
        miou=mean_iou(counts) if has_truth else None,
        reference_miou=mean_iou(reference_counts) if has_truth else None,
        ms=statistics.median(times),
        reference_ms=statistics.median(reference_times),
    )
    return parity, canary


def _timed(engine: Engine, image_HW3: ImageArray) -> tuple[ImageArray, float]:
    start = time.perf_counter()
    mask_HW = engine.mask(image_HW3)
    return mask_HW, time.perf_counter() - start


def _check_installed(engine: str) -> None:
    if engine not in PACKAGES:
        raise UsageError(f"{engine!r} is no engine; there are auto, {', '.join(PACKAGES)}")
    if not is_installed(engine):
        raise UsageError(f"the engine {engine} is not installed; pip install {PACKAGES[engine]}, or take another")


def _png(array: ImageArray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def _decoded(data: bytes) -> ImageArray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)
