"""Pictures in all their shapes, and masks of their own size."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from roadbed.data.labels import CAMVID_11, CAMVID_32
from roadbed.errors import DamagedError, DataError
from roadbed.inference.predictor import Predictor, read_image
from roadbed.inference.views import ONE_VIEW, Views
from roadbed.models import SegmentationModel, build_model
from roadbed.registry import Registry, Version
from roadbed.spec import ModelSpec
from roadbed.storage import open_store

SPEC = ModelSpec(weights="none", head_channels=16)
MEAN, STD = (0.3, 0.4, 0.5), (0.2, 0.3, 0.4)


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    torch.manual_seed(0)
    return build_model(SPEC, num_classes=11, channel_mean=MEAN, channel_std=STD)


def publish(root: Path, model: SegmentationModel, /, **changes: Any) -> Version:
    card = {
        "model": SPEC.model_dump(mode="json"),
        "label_space": CAMVID_11.to_json(),
        "normalization": {"mean": list(MEAN), "std": list(STD)},
    }
    card = {key: value for key, value in (card | changes).items() if value is not None}
    weights = safetensors.torch.save(model.state_dict())
    return Registry(open_store(str(root))).publish("road", {"weights.safetensors": weights}, card)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, 3)).astype(np.uint8)


class TestPredictor:
    @pytest.mark.parametrize(("height", "width"), [(64, 96), (45, 77)])
    def test_a_mask_of_the_images_own_size(self, model: SegmentationModel, height: int, width: int) -> None:
        image = noise(height, width)
        mask = Predictor.of_model(model, CAMVID_11).predict(image)
        assert (mask.shape, mask.dtype) == ((height, width), np.uint8)
        with torch.inference_mode():
            logits = model.eval()(torch.from_numpy(image).permute(2, 0, 1)[None])
        assert np.array_equal(mask, logits[0].argmax(0).numpy())

    @pytest.mark.parametrize(("height", "width"), [(1, 1), (20, 300), (33, 5)])
    def test_an_image_smaller_than_the_network_looks(self, model: SegmentationModel, height: int, width: int) -> None:
        assert Predictor.of_model(model, CAMVID_11).predict(noise(height, width)).shape == (height, width)

    def test_a_published_version_predicts_as_the_model_did(self, model: SegmentationModel, tmp_path: Path) -> None:
        loaded = Predictor.load(publish(tmp_path, model))
        image = noise(48, 64)
        assert loaded.label_space == CAMVID_11
        assert np.array_equal(loaded.predict(image), Predictor.of_model(model, CAMVID_11).predict(image))

    def test_a_version_looks_as_often_as_it_was_scored_unless_told_otherwise(
        self, model: SegmentationModel, tmp_path: Path
    ) -> None:
        version = publish(tmp_path, model, spec={"train": {"eval_scales": [1.0, 1.5], "eval_flip": True}})
        seen: list[torch.Size] = []
        for views, sizes in (
            (None, [(48, 64), (48, 64), (72, 96), (72, 96)]),
            (ONE_VIEW, [(48, 64)]),
            (Views((2.0,)), [(96, 128)]),
        ):
            predictor = Predictor.load(version, views=views)
            seen.clear()
            predictor.engine.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-2:]))
            assert predictor.predict(noise(48, 64)).shape == (48, 64)
            assert seen == sizes

    def test_a_card_that_lacks_something(self, model: SegmentationModel, tmp_path: Path) -> None:
        with pytest.raises(DamagedError, match=r"card\.json: has no normalization; publish"):
            Predictor.load(publish(tmp_path, model, normalization=None))

    def test_weights_of_another_model(self, model: SegmentationModel, tmp_path: Path) -> None:
        card_model = SPEC.model_dump(mode="json") | {"head_channels": 24}
        with pytest.raises(DamagedError, match=r"weights\.safetensors: is not the model that card\.json describes"):
            Predictor.load(publish(tmp_path, model, model=card_model))

    def test_classes_that_are_not_the_models(self, model: SegmentationModel) -> None:
        with pytest.raises(ValueError, match="the model has 11 classes, camvid-32 31"):
            Predictor.of_model(model, CAMVID_32)

    @pytest.mark.parametrize("array", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
    def test_arrays_that_are_no_image(self, model: SegmentationModel, array: np.ndarray) -> None:
        with pytest.raises(ValueError, match="expected a uint8 image"):
            Predictor.of_model(model, CAMVID_11).predict(array)


class TestReadImage:
    def test_upright_as_its_exif_says(self, tmp_path: Path) -> None:
        image = Image.new("RGB", (20, 10), "red")
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(tmp_path / "turned.jpg", exif=exif)
        assert read_image(tmp_path / "turned.jpg").shape == (20, 10, 3)

    @pytest.mark.parametrize(
        ("mode", "color", "expected", "suffix"),
        [
            ("L", 100, (100, 100, 100), "png"),
            ("1", 1, (255, 255, 255), "png"),
            ("RGBA", (10, 20, 30, 255), (10, 20, 30), "png"),
            ("RGBA", (10, 20, 30, 0), (255, 255, 255), "png"),
            ("LA", (50, 255), (50, 50, 50), "png"),
            ("I;16", 257 * 100, (100, 100, 100), "png"),
            ("I", 257 * 100, (100, 100, 100), "tiff"),
            ("CMYK", (0, 0, 0, 0), (255, 255, 255), "tiff"),
        ],
    )
    def test_other_modes(self, tmp_path: Path, mode: str, color: Any, expected: tuple[int, ...], suffix: str) -> None:
        path = tmp_path / f"image.{suffix}"
        Image.new(mode, (6, 4), color).save(path)
        image = read_image(path)
        assert (image.shape, image.dtype) == ((4, 6, 3), np.uint8)
        assert tuple(image[0, 0].tolist()) == expected

    def test_a_palette_with_transparency(self, tmp_path: Path) -> None:
        image = Image.new("P", (6, 4), 1)
        image.putpalette([0, 0, 0, 10, 20, 30])
        image.save(tmp_path / "palette.png", transparency=bytes([0, 255]))
        assert tuple(read_image(tmp_path / "palette.png")[0, 0].tolist()) == (10, 20, 30)

    def test_bytes(self) -> None:
        buffer = io.BytesIO()
        Image.new("RGB", (6, 4), (1, 2, 3)).save(buffer, format="PNG")
        assert tuple(read_image(buffer.getvalue(), name="upload")[0, 0].tolist()) == (1, 2, 3)

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
    def test_cut_short(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"cut.{suffix}"
        Image.fromarray(noise(64, 64)).save(path)
        path.write_bytes(path.read_bytes()[:-600])
        with pytest.raises(DataError, match=rf"cut\.{suffix}: is "):
            read_image(path)

    def test_no_image_or_nothing_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "notes.jpg").write_text("to do")
        with pytest.raises(DataError, match=r"notes\.jpg: is not an image"):
            read_image(tmp_path / "notes.jpg")
        with pytest.raises(DataError, match=r"missing\.jpg: no such file"):
            read_image(tmp_path / "missing.jpg")
        with pytest.raises(DataError, match="upload: is not an image"):
            read_image(b"", name="upload")

    def test_floating_point_pixels(self, tmp_path: Path) -> None:
        Image.new("F", (4, 4), 0.5).save(tmp_path / "depth.tiff")
        with pytest.raises(DataError, match=r"depth\.tiff: has floating-point pixels"):
            read_image(tmp_path / "depth.tiff")

    def test_a_bomb(self, tmp_path: Path) -> None:
        path = tmp_path / "bomb.png"
        Image.new("1", (20_000, 10_000)).save(path)
        with pytest.raises(DataError, match=r"bomb\.png: is too large"):
            read_image(path)
