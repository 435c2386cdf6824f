"""Engines compute what torch computes, at every size; and an export that does not is refused, here or elsewhere."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from roadbed.data.labels import CAMVID_11
from roadbed.errors import DamagedError, RoadbedError, UsageError
from roadbed.inference import engines
from roadbed.inference.engines import FILES, Engine, InductorEngine, OnnxRuntimeEngine, OpenVinoEngine, TorchEngine
from roadbed.inference.export import CANARY_MASK_FILE, Limits, export_version, open_engine
from roadbed.inference.graph import export_onnx
from roadbed.inference.predictor import Predictor
from roadbed.inference.tiles import Tiles
from roadbed.inference.views import Views
from roadbed.models import SegmentationModel, build_model
from roadbed.registry import Registry, Version
from roadbed.registry.exports import find_export, find_exports
from roadbed.spec import ModelSpec
from roadbed.storage import open_store

SPEC = ModelSpec(weights="none", head_channels=16)
EXPORTED = ("onnxruntime", "openvino")
# OpenVINO computes in bfloat16 where the CPU can, and the classes of a model that learnt nothing lie close together.
LIMITS = Limits(min_equal=0.9, max_miou_drop=1.0)


def picture(height: int, width: int) -> np.ndarray:
    """Coloured blobs, smooth like a photograph."""
    generator = torch.Generator().manual_seed(height * width)
    small = torch.rand(1, 3, height // 16 + 2, width // 16 + 2, generator=generator) * 255
    large = torch.nn.functional.interpolate(small, (height, width), mode="bicubic").clamp(0, 255)
    return large[0].permute(1, 2, 0).to(torch.uint8).contiguous().numpy()


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    torch.manual_seed(0)
    model = build_model(SPEC, num_classes=11).train()
    with torch.no_grad():
        for _ in range(10):  # batch norms see what they will meet
            model(torch.from_numpy(picture(128, 192)).permute(2, 0, 1)[None].repeat(2, 1, 1, 1))
    return model.eval()


@pytest.fixture(scope="module")
def files(model: SegmentationModel) -> dict[str, bytes]:
    return {FILES[output]: data for output, data in export_onnx(model).items()}


@pytest.fixture
def version(tmp_path: Path, model: SegmentationModel) -> Version:
    card = {
        "model": SPEC.model_dump(mode="json"),
        "label_space": CAMVID_11.to_json(),
        "normalization": {"mean": list(model.normalization.mean), "std": list(model.normalization.std)},
    }
    weights = safetensors.torch.save(model.state_dict())
    return Registry(open_store(str(tmp_path))).publish("road", {"weights.safetensors": weights}, card)


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch, model: SegmentationModel, files: dict[str, bytes]) -> None:
    """What export_version records is there already: recording takes seconds."""
    monkeypatch.setattr(
        "roadbed.inference.export.export_onnx", lambda _: {output: files[file] for output, file in FILES.items()}
    )


def open_files(name: str, files: dict[str, bytes]) -> Engine:
    return (OnnxRuntimeEngine if name == "onnxruntime" else OpenVinoEngine)(files, threads=1)


def frames(number: int = 2) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    for place in range(number):
        image = picture(64, 96 + 16 * place)
        yield image, (image[:, :, 0] // 32).astype(np.uint8)


@pytest.mark.parametrize("name", EXPORTED)
class TestTheSameAsTorch:
    @pytest.mark.parametrize(("height", "width"), [(32, 32), (45, 33), (97, 130), (128, 192), (129, 191)])
    def test_at_every_size(
        self, name: str, model: SegmentationModel, files: dict[str, bytes], height: int, width: int
    ) -> None:
        engine, reference, image = open_files(name, files), TorchEngine(model), picture(height, width)
        mask = engine.mask(image)
        assert (mask.dtype, mask.shape) == (np.uint8, (height, width))
        is_exact = "float32" in engine.note
        assert (mask == reference.mask(image)).mean() > (0.999 if is_exact else 0.9)
        logits = engine.logits(image)
        assert (logits.dtype, logits.shape) == (np.float32, (11, height, width))
        expected = reference.logits(image)
        assert np.abs(logits - expected).max() < (1e-3 if is_exact else 0.1) * np.abs(expected).max()

    def test_mask_and_logits_at_once_are_those_of_each(self, name: str, files: dict[str, bytes]) -> None:
        engine, image = open_files(name, files), picture(64, 96)
        mask, logits = engine.mask_and_logits(image)
        assert np.array_equal(mask, engine.mask(image))
        assert np.array_equal(logits, engine.logits(image))

    def test_answers_are_kept_apart(self, name: str, files: dict[str, bytes]) -> None:
        """The second image must not overwrite the answer to the first, whose memory the library may use again."""
        engine = open_files(name, files)
        first = engine.mask(picture(64, 64))
        before = first.copy()
        engine.mask(255 - picture(64, 64))
        assert np.array_equal(first, before)

    def test_sizes_that_come_often_give_the_same_bits(self, name: str, files: dict[str, bytes]) -> None:
        """For them the engine makes sessions of their own; other sizes get none until one of these stays away."""
        engine = open_files(name, files)
        sessions = vars(engine)["_sessions" if name == "onnxruntime" else "_models"]
        images = [picture(64, 64 + 16 * number) for number in range(engines.SIZES_KEPT + 1)]
        first = [engine.mask(image) for image in images]
        assert not sessions._for_one
        for _ in range(2):
            for image, mask in zip(images, first, strict=True):
                assert np.array_equal(engine.mask(image), mask)
        kept = [("mask", image.shape[:2]) for image in images]
        assert list(sessions._for_one) == kept[:-1]
        for _ in range(engines.LATELY):
            assert np.array_equal(engine.mask(images[-1]), first[-1])
        assert list(sessions._for_one) == kept[1:]
        logits = engine.logits(images[0])
        for _ in range(engines.LATELY):
            assert np.array_equal(engine.logits(images[0]), logits)
        assert ("logits", images[0].shape[:2]) in sessions._for_one

    def test_nothing_is_made_ready_for_what_is_rare(self, name: str, files: dict[str, bytes]) -> None:
        engine, image = open_files(name, files), picture(64, 64)
        sessions = vars(engine)["_sessions" if name == "onnxruntime" else "_models"]
        logits = [engine.logits(image, is_rare=True) for _ in range(3)]
        assert np.array_equal(logits[0], logits[2])
        assert not sessions._for_one

    def test_views_and_tiles_go_over_it(self, name: str, model: SegmentationModel, files: dict[str, bytes]) -> None:
        image = picture(128, 192)
        for settings in ({"views": Views((1.0, 1.5), True)}, {"tiles": Tiles(64, 96)}):
            found, expected = (
                Predictor(engine, CAMVID_11, **settings).predict(image)
                for engine in (open_files(name, files), TorchEngine(model))
            )
            assert (found == expected).mean() > 0.9

    def test_a_file_that_is_none(self, name: str) -> None:
        with pytest.raises(DamagedError, match=rf"mask\.onnx: {name} cannot use it: .*--replace"):
            open_files(name, dict.fromkeys(FILES.values(), b"no network"))


class TestExport:
    @pytest.mark.parametrize("name", EXPORTED)
    def test_it_is_stored_with_its_figures_and_opened_again(self, name: str, version: Version, exported: None) -> None:
        made = export_version(version, name, frames(), limits=LIMITS, threads=1)
        parity = made.report["parity"]
        assert parity["num_frames"] == 2
        assert 0.9 < parity["worst_equal"] <= parity["equal"] <= 1
        assert abs(parity["miou"] - parity["reference_miou"]) < 0.1
        assert [export.engine for export in find_exports(version)] == [name]
        for asked in (name, "auto"):
            opened = open_engine(version, asked, threads=1)
            assert opened.engine.name == name
            assert opened.labels == CAMVID_11
            assert not opened.reasons
        mask = Predictor(opened.engine, opened.labels).predict(picture(20, 50))
        assert mask.shape == (20, 50)

    def test_once_unless_told_to_replace_it(self, version: Version, exported: None) -> None:
        first = export_version(version, "onnxruntime", frames(), limits=LIMITS, threads=1)
        with pytest.raises(UsageError, match="road:1 is exported for onnxruntime already; --replace"):
            export_version(version, "onnxruntime", frames(), limits=LIMITS, threads=1)
        second = export_version(version, "onnxruntime", frames(3), limits=LIMITS, threads=1, replace=True)
        found = find_export(version, "onnxruntime")
        assert found is not None
        assert found.report == second.report != first.report
        assert first.get("mask.onnx") == second.get("mask.onnx"), "who opened the old one can go on reading it"

    def test_below_the_limits_nothing_is_stored(self, version: Version, exported: None) -> None:
        limits = Limits(min_equal=1.1)
        with pytest.raises(RoadbedError, match=r"for onnxruntime \(ONNX Runtime .*of the pixels are equal"):
            export_version(version, "onnxruntime", frames(), limits=limits, threads=1)
        with pytest.raises(RoadbedError, match=r"mIoU falls from 0\.\d+ to 0\.\d+"):
            export_version(version, "onnxruntime", frames(), limits=Limits(0, max_miou_drop=-1), threads=1)
        assert find_exports(version) == []
        assert list(version.store.list("exports/")) == []

    def test_frames_without_truth(self, version: Version, exported: None) -> None:
        made = export_version(version, "onnxruntime", [(picture(64, 64), None)], limits=LIMITS, threads=1)
        assert made.report["parity"]["miou"] is None

    def test_no_frame(self, version: Version, exported: None) -> None:
        with pytest.raises(UsageError, match="no frame to compare"):
            export_version(version, "onnxruntime", [], limits=LIMITS, threads=1)

    @pytest.mark.parametrize(
        ("engine", "words"),
        [("torch", "runs every version as it is"), ("tensorrt", "'tensorrt' is no engine; there are auto, torch")],
    )
    def test_engines_that_cannot_be_exported_for(self, version: Version, engine: str, words: str) -> None:
        with pytest.raises(UsageError, match=words):
            export_version(version, engine, frames(), threads=1)


class TestOpening:
    def test_without_an_export_auto_is_torch_and_says_how_to_get_one(self, version: Version) -> None:
        opened = open_engine(version, "auto", threads=1)
        assert opened.engine.name == "torch"
        assert opened.reasons[0].endswith("`roadbed models export road:1` makes one")

    def test_one_that_is_not_exported(self, version: Version) -> None:
        with pytest.raises(UsageError, match=r"road:1 has no export for openvino; make one with .*--engine openvino"):
            open_engine(version, "openvino", threads=1)

    def test_one_that_is_not_installed(self, version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engines.importlib.util, "find_spec", lambda _: None)
        with pytest.raises(UsageError, match="openvino is not installed; pip install openvino"):
            open_engine(version, "openvino", threads=1)
        assert open_engine(version, "auto", threads=1).engine.name == "torch"

    @pytest.mark.parametrize("way", ["another CPU", "damaged"])
    def test_what_does_not_pass_here_is_passed_over_with_the_reason(
        self, version: Version, exported: None, way: str
    ) -> None:
        """An export whose canary comes out otherwise on this machine, or whose bytes were changed."""
        made = export_version(version, "onnxruntime", frames(), limits=LIMITS, threads=1)
        if way == "damaged":
            key = next(info.key for info in version.store.list("exports/") if info.key.endswith("mask.onnx"))
            version.store.put(key, version.store.get(key)[:-1] + b"!")
            words = "sha256"
        else:
            blank = {CANARY_MASK_FILE: png(np.full((64, 96), 250, np.uint8))}
            rewrite(version, made, blank)
            words = r"on this machine ONNX Runtime .* finds 0\.0000% of the canary's pixels as torch did"
        with pytest.raises(RoadbedError, match=words):
            open_engine(version, "onnxruntime", threads=1)
        opened = open_engine(version, "auto", threads=1)
        assert opened.engine.name == "torch"
        assert "onnxruntime" in opened.reasons[0]

    def test_an_export_of_other_weights(self, version: Version, exported: None) -> None:
        made = export_version(version, "onnxruntime", frames(), limits=LIMITS, threads=1)
        rewrite(version, made, {}, weights_sha256="0" * 64)
        with pytest.raises(DamagedError, match="was made of other weights"):
            open_engine(version, "onnxruntime", threads=1)


def rewrite(version: Version, made: Any, changed: dict[str, bytes], **report: Any) -> None:
    """Replace files and facts of an export, as a whole one."""
    from roadbed.registry.exports import write_export

    kept = {file: made.get(file) for file in made.files}
    write_export(version, made.engine, kept | changed, {**made.report, **report}, replace=True)


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


class TestTiles:
    @pytest.mark.parametrize(("height", "width"), [(64, 96), (65, 96), (100, 200), (128, 300)])
    def test_what_sees_every_pixel_alone_sees_it_through_windows_too(self, height: int, width: int) -> None:
        image = picture(height, width)
        seen: list[tuple[int, ...]] = []

        def shares(window: np.ndarray) -> np.ndarray:
            seen.append(window.shape)
            return window.transpose(2, 0, 1).astype(np.float32)

        mask = Tiles(64, 96).mask(shares, image)
        assert np.array_equal(mask, image.transpose(2, 0, 1).argmax(0))
        assert set(seen) == {(64, 96, 3)}

    def test_no_seam_where_two_windows_disagree(self) -> None:
        """Every window says class 0, surely at its left end and hardly at its right one: the blend falls evenly."""
        tiles = Tiles(64, 64)
        total = []

        def shares(window: np.ndarray) -> np.ndarray:
            sure = np.linspace(0.9, 0.6, window.shape[1], dtype=np.float32)
            total.append(sure)
            return np.stack([np.tile(sure, (window.shape[0], 1)), np.tile(1 - sure, (window.shape[0], 1))])

        assert not tiles.mask(shares, np.zeros((64, 160, 3), np.uint8)).any()
        starts = tiles._starts(160, 64)
        assert starts == [0, 48, 96]
        weights = np.zeros(160)
        for start in starts:
            weights[start : start + 64] += tiles._weight(64, at_start=start == 0, at_end=start == 96)
        assert weights.min() > 0.9
        assert np.abs(np.diff(weights)).max() < 0.1

    @pytest.mark.parametrize("text", ["1024", "1024 x 512", "32x512", "0x0", "axb"])
    def test_sizes_that_are_none(self, text: str) -> None:
        with pytest.raises(UsageError, match="is no size of a window; write WIDTHxHEIGHT"):
            Tiles.parse(text)

    def test_a_size(self) -> None:
        assert Tiles.parse("1024x512") == Tiles(height_px=512, width_px=1024)

    def test_a_small_image_is_seen_whole(self, model: SegmentationModel) -> None:
        image = picture(64, 96)
        whole = Predictor.of_model(model, CAMVID_11).predict(image)
        assert np.array_equal(Predictor.of_model(model, CAMVID_11, tiles=Tiles(64, 96)).predict(image), whole)


@pytest.mark.soak
def test_inductor_computes_what_torch_computes(model: SegmentationModel) -> None:
    """A minute or so of compiling."""
    image = picture(97, 130)
    engine = InductorEngine(model)
    assert (engine.mask(image) == TorchEngine(model).mask(image)).mean() > 0.9


def test_the_command(
    version: Version, exported: None, tmp_path: Path, roadbed: Callable[..., tuple[int, str, str]]
) -> None:
    assert roadbed("data", "prepare", "painted", tmp_path / "town", "--train", 4, "--val", 4)[0] == 0
    words = ("--store", tmp_path, "--dataset", tmp_path / "town", "--split", "val", "--num-frames", 2)
    tolerant = ("--min-equal", 0.5, "--max-miou-drop", 1)
    status, out, err = roadbed("models", "export", "road:1", "--engine", "onnxruntime", *words, *tolerant)
    assert (status, err) == (0, err)
    assert "onnxruntime: " in out
    assert " ms a frame (torch " in out
    again = ("--replace", "--json", "--quiet")
    _, out, err = roadbed("models", "export", "road:1", "--engine", "onnxruntime", *words, *tolerant, *again)
    (told,) = json.loads(out)
    assert (told["engine"], set(told), err) == ("onnxruntime", {"engine", "uri", "bytes", "report"}, "")
    status, _, err = roadbed("models", "export", "road:1", "--engine", "onnxruntime", *words)
    assert status == 2
    assert "is exported for onnxruntime already" in err
    frame = tmp_path / "frame.png"
    Image.fromarray(picture(64, 96)).save(frame)
    for engine, library in (("torch", "torch "), ("auto", "ONNX Runtime ")):
        folder = tmp_path / engine
        status, out, err = roadbed("predict", "road:1", frame, "-o", folder, "--engine", engine, "--store", tmp_path)
        assert status == 0, err
        assert f"({library}" in out
        with Image.open(folder / "frame.mask.png") as mask:
            assert mask.size == (96, 64)
