"""What runs a network: torch itself, torch's compiler, ONNX Runtime, or OpenVINO. uint8 pixels in, uint8 class ids out.

An engine is made for one process and a number of threads. Exported engines are read from bytes; none unpickles.

Shapes: H and W pixels of one image (at least 32 each), K classes.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import numpy as np
import torch

from roadbed.errors import DamagedError, RoadbedError
from roadbed.inference.graph import Graph, Output
from roadbed.inference.images import ImageArray
from roadbed.models import SegmentationModel

LogitArray = np.ndarray[Any, np.dtype[np.float32]]
Sides = tuple[int, int]
Precision = Literal["bf16", "fp32"]

# What an engine needs besides torch, by the engine's name in specs.
PACKAGES = {"torch": None, "inductor": None, "onnxruntime": "onnxruntime", "openvino": "openvino"}
# Sizes of images that an engine keeps a session for, and that it remembers to have seen; and the number of images after
# which one that did not come makes room for another.
SIZES_KEPT, SIZES_SEEN, LATELY = 4, 64, 32
FILES: dict[Output, str] = {"mask": "mask.onnx", "logits": "logits.onnx"}


class Engine(Protocol):
    """One network, ready to run. Not safe to use from several threads at once.

    `note` says for people what it is: library, version, precision.
    """

    name: str
    note: str

    def mask(self, image_HW3: ImageArray) -> ImageArray:
        """The ids of the classes (H, W)."""

    def logits(self, image_HW3: ImageArray, *, is_rare: bool = False) -> LogitArray:
        """The logits of every class in every pixel (K, H, W). Nothing is made ready for more of what `is_rare`."""

    def mask_and_logits(self, image_HW3: ImageArray) -> tuple[ImageArray, LogitArray]:
        """Both. torch and inductor have them of one pass; exported files are one for each, so those take two."""


class TorchEngine:
    """torch, operation by operation, in float32: what the other engines are compared with.

    The model is moved to `device` and left in evaluation mode.
    """

    name = "torch"

    def __init__(self, model: SegmentationModel, *, device: str | torch.device = "cpu") -> None:
        self.model = model.to(device).eval()
        self.device = torch.device(device)
        self.note = f"torch {torch.__version__}, float32, {self.device.type}"
        self._graph: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]] = Graph(self.model).eval()

    def mask(self, image_HW3: ImageArray) -> ImageArray:
        """As `Engine.mask`."""
        return self._run(image_HW3)[0]

    def logits(self, image_HW3: ImageArray, *, is_rare: bool = False) -> LogitArray:
        """As `Engine.logits`."""
        return self._run(image_HW3)[1]

    def mask_and_logits(self, image_HW3: ImageArray) -> tuple[ImageArray, LogitArray]:
        """As `Engine.mask_and_logits`."""
        return self._run(image_HW3)

    def _run(self, image_HW3: ImageArray) -> tuple[ImageArray, LogitArray]:
        with torch.inference_mode():
            mask_1HW, logits_1KHW = self._graph(torch.tensor(image_HW3, device=self.device)[None])
            return mask_1HW[0].cpu().numpy(), logits_1KHW[0].cpu().numpy()


class InductorEngine(TorchEngine):
    """torch's compiler, in bfloat16 where the CPU has it. The first image takes a minute or so, and a C++ compiler."""

    name = "inductor"

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__(model)
        self._dtype = torch.bfloat16 if has_bfloat16() else torch.float32
        self.note = f"torch {torch.__version__}, inductor, {str(self._dtype).removeprefix('torch.')}"
        self._graph = torch.compile(self._graph, dynamic=True, options={"freezing": True})

    def _run(self, image_HW3: ImageArray) -> tuple[ImageArray, LogitArray]:
        with torch.no_grad(), torch.autocast("cpu", self._dtype, enabled=self._dtype != torch.float32):
            mask_1HW, logits_1KHW = self._graph(torch.tensor(image_HW3)[None])
            return mask_1HW[0].numpy(), logits_1KHW[0].numpy()


class OnnxRuntimeEngine:
    """ONNX Runtime on the CPU, in float32."""

    name = "onnxruntime"

    def __init__(self, files: Mapping[str, bytes], *, threads: int) -> None:
        import onnxruntime

        self.note = f"ONNX Runtime {onnxruntime.__version__}, float32, {threads} thread{'s' * (threads > 1)}"
        self._threads = threads
        self._side_names: Sequence[str] = ()
        self._sessions = _Sessions(self.name, files, self._make)

    def mask(self, image_HW3: ImageArray) -> ImageArray:
        """As `Engine.mask`."""
        return np.asarray(self._run("mask", image_HW3))

    def logits(self, image_HW3: ImageArray, *, is_rare: bool = False) -> LogitArray:
        """As `Engine.logits`."""
        return np.asarray(self._run("logits", image_HW3, is_rare=is_rare))

    def mask_and_logits(self, image_HW3: ImageArray) -> tuple[ImageArray, LogitArray]:
        """As `Engine.mask_and_logits`."""
        return self.mask(image_HW3), self.logits(image_HW3)

    def _run(self, output: Output, image_HW3: ImageArray, *, is_rare: bool = False) -> Any:
        return self._sessions.of(output, image_HW3, is_rare=is_rare).run(None, {"image": image_HW3[None]})[0][0]

    def _make(self, file: bytes, sides: Sides | None) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = ["CPUExecutionProvider"]
        for name, side in zip(self._side_names, sides or (), strict=False):
            options.add_free_dimension_override_by_name(name, side)
        made = onnxruntime.InferenceSession(file, options, providers=providers)
        if sides is None:
            self._side_names = made.get_inputs()[0].shape[1:3]
        return made


class OpenVinoEngine:
    """OpenVINO on the CPU, in bfloat16 where it is asked for and the CPU has it, else in float32.

    Its threads are not pinned to cores: by default every process would take the first ones.
    """

    name = "openvino"

    def __init__(self, files: Mapping[str, bytes], *, threads: int, precision: Precision = "bf16") -> None:
        import openvino

        self._core = _openvino_core()
        has_low = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.precision: Precision = precision if has_low else "fp32"
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": {"bf16": "bf16", "fp32": "f32"}[self.precision],
        }
        version = openvino.__version__.partition("-")[0]
        called = {"bf16": "bfloat16", "fp32": "float32"}[self.precision]
        self.note = f"OpenVINO {version}, {called}, {threads} thread{'s' * (threads > 1)}"
        self._models = _Sessions(self.name, files, self._make)

    def mask(self, image_HW3: ImageArray) -> ImageArray:
        """As `Engine.mask`."""
        return self._run("mask", image_HW3)

    def logits(self, image_HW3: ImageArray, *, is_rare: bool = False) -> LogitArray:
        """As `Engine.logits`."""
        return self._run("logits", image_HW3, is_rare=is_rare)

    def mask_and_logits(self, image_HW3: ImageArray) -> tuple[ImageArray, LogitArray]:
        """As `Engine.mask_and_logits`."""
        return self.mask(image_HW3), self.logits(image_HW3)

    def _run(self, output: Output, image_HW3: ImageArray, *, is_rare: bool = False) -> np.ndarray[Any, Any]:
        # A copy: the library gives its own buffer again to the next image.
        return np.array(
            self._models.of(output, image_HW3, is_rare=is_rare)(np.ascontiguousarray(image_HW3[None]))[0][0]
        )

    def _make(self, file: bytes, sides: Sides | None) -> Any:
        model = self._core.read_model(io.BytesIO(file))
        if sides is not None:
            model.reshape([1, *sides, 3])
        return self._core.compile_model(model, "CPU", self._settings)


class _Sessions:
    """What a library makes of an export's files: for images of any size, and for each of the sizes that come often.

    One for a single size is a tenth faster and gives the same bits. It is made when a size comes for the second time,
    if there is room, or one that was not asked for lately.
    """

    def __init__(self, engine: str, files: Mapping[str, bytes], make: Callable[[bytes, Sides | None], Any]) -> None:
        self._engine, self._files, self._make = engine, files, make
        self._for_any: dict[Output, Any] = {}
        self._for_one: dict[tuple[Output, Sides], Any] = {}
        self._asked_at: dict[tuple[Output, Sides], int] = {}
        self._num_asked = 0
        self._any("mask")

    def of(self, output: Output, image_HW3: ImageArray, *, is_rare: bool = False) -> Any:
        """The session for an image; of what `is_rare` that for any size. Raises DamagedError for an unusable file."""
        if is_rare:
            return self._any(output)
        key = (output, (image_HW3.shape[0], image_HW3.shape[1]))
        self._num_asked += 1
        came_before = key in self._asked_at
        self._asked_at.pop(key, None)
        self._asked_at[key] = self._num_asked  # the first in order is the one that was not asked for longest
        if len(self._asked_at) > SIZES_SEEN:
            del self._asked_at[next(iter(self._asked_at))]
        if key not in self._for_one and came_before and self._has_room():
            try:
                self._for_one[key] = self._make(self._files[FILES[output]], key[1])
            except Exception:  # the libraries' own errors have no common base; the other session says what is wrong
                return self._any(output)
        return self._for_one.get(key) or self._any(output)

    def _has_room(self) -> bool:
        """Whether another session may be made; the one that was not asked for longest goes, if that was long ago."""
        if len(self._for_one) < SIZES_KEPT:
            return True
        oldest = min(self._for_one, key=lambda key: self._asked_at.get(key, 0))
        if self._num_asked - self._asked_at.get(oldest, 0) < LATELY:
            return False
        del self._for_one[oldest]
        return True

    def _any(self, output: Output) -> Any:
        if output not in self._for_any:
            try:
                self._for_any[output] = self._make(self._files[FILES[output]], None)
            except Exception as error:  # the libraries' own errors have no common base
                raise _unusable(self._engine, output, error) from error
        return self._for_any[output]


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch computes with one thread in this thread, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@functools.cache
def _openvino_core() -> Any:
    """One for the life of the process: with the last one OpenVINO would unload its plugins, whose threads still run."""
    import openvino

    return openvino.Core()


def needs_files(engine: str) -> bool:
    """Whether the engine runs exported files rather than the version's own weights."""
    return PACKAGES[engine] is not None


def is_installed(engine: str) -> bool:
    """Whether what the engine needs can be imported."""
    package = PACKAGES[engine]
    return package is None or importlib.util.find_spec(package) is not None


def engine_version(engine: str) -> str:
    """The version of the library that runs the engine."""
    return importlib.metadata.version(PACKAGES[engine] or "torch")


def has_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _unusable(engine: str, output: Output, error: Exception) -> RoadbedError:
    reason = str(error).partition("\n")[0]
    return DamagedError(
        f"{FILES[output]}: {engine} cannot use it: {reason}; export the version again with `roadbed models export "
        f"--replace`"
    )
