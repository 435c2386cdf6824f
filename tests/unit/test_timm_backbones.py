"""Backbones of timm: which are taken, which are refused in which words, and where their weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import safetensors.torch
import timm
import torch
from timm.layers import BatchNormAct2d

from roadbed.errors import RoadbedError, UsageError
from roadbed.models import SegmentationModel, build_model
from roadbed.models.depthwise import DepthwiseConv2d
from roadbed.models.timm_backbone import build_timm
from roadbed.spec import ModelSpec


def make(name: str, **changes: Any) -> SegmentationModel:
    torch.manual_seed(0)
    values = {"backbone": f"timm:{name}", "weights": "none", "head_channels": 16} | changes
    return build_model(ModelSpec.parse(values, origin="test"), num_classes=3)


class TestNetworks:
    @pytest.mark.parametrize("stride", [8, 16])
    @pytest.mark.parametrize("name", ["convnext_atto", "regnety_002", "tf_efficientnet_lite0", "resnet18.tv_in1k"])
    def test_sizes_are_those_of_whole_strides_whichever_way_it_rounds(self, name: str, stride: int) -> None:
        backbone = build_timm(name, output_stride=stride).eval()
        with torch.inference_mode():
            for height, width in ((64, 96), (49, 66)):
                features = backbone(torch.zeros(1, 3, height, width))
                for values, channels, at in zip(features, backbone.channels, (4, stride, stride), strict=True):
                    assert values.shape == (1, channels, -(-height // at), -(-width // at))

    def test_what_the_padding_adds_changes_nothing_at_whole_strides(self) -> None:
        backbone = build_timm("resnet18", output_stride=16).eval()
        images = torch.randn(1, 3, 64, 96)
        with torch.inference_mode():
            low, _, high = backbone(images)
            theirs = timm.create_model("resnet18", features_only=True, output_stride=16).eval()
            theirs.load_state_dict(backbone.network.state_dict())
            expected = theirs(images)
        torch.testing.assert_close(low, expected[1])
        torch.testing.assert_close(high, expected[4])

    def test_depthwise_convolutions_are_ours_and_compute_the_same(self) -> None:
        backbone = build_timm("mobilenetv3_small_100", output_stride=16).eval()
        theirs = timm.create_model("mobilenetv3_small_100", features_only=True, output_stride=16).eval()
        theirs.load_state_dict(backbone.network.state_dict())
        images = torch.randn(1, 3, 64, 96)
        assert sum(isinstance(module, DepthwiseConv2d) for module in backbone.modules()) == 11
        assert not any(isinstance(module, DepthwiseConv2d) for module in theirs.modules())
        with torch.inference_mode():
            torch.testing.assert_close(backbone(images).high_BChw, theirs(images)[4], rtol=1e-4, atol=1e-4)

    def test_other_depthwise_convolutions_stay_torchs(self) -> None:
        """ConvNeXt's have 7x7 kernels and biases, TensorFlow's strided ones pad in their own way."""
        assert not any(isinstance(m, DepthwiseConv2d) for m in build_timm("convnext_atto", output_stride=16).modules())
        lite = build_timm("tf_efficientnet_lite0", output_stride=16)
        strided = [m for m in lite.modules() if isinstance(m, torch.nn.Conv2d) and m.groups > 1 and m.stride[0] == 2]
        assert len(strided) == 3
        assert not any(isinstance(module, DepthwiseConv2d) for module in strided)

    def test_frozen_batch_norm_is_frozen_in_timms_own_layers_too(self) -> None:
        model = make("mobilenetv3_small_100", batch_norm="frozen").train()
        layers = [module for module in model.backbone.modules() if isinstance(module, BatchNormAct2d)]
        before = [layer.running_mean.clone() for layer in layers if layer.running_mean is not None]
        model(torch.randint(0, 256, (2, 3, 40, 48), dtype=torch.uint8))
        assert len(before) == len(layers) > 20
        assert not any(layer.training for layer in layers)
        assert all(torch.equal(layer.running_mean, old) for layer, old in zip(layers, before, strict=True))


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("resnet81", r"timm:resnet81: timm .* knows no such network; did you mean resnet18 or"),
            ("resnet18.bogus", r"knows no such network; did you mean resnet18\.\w+"),
            ("hf-hub:timm/resnet18", r"knows no such network"),
            ("densenet121", r"at model\.output_stride 16 \(.*\); timm has its features at strides: 2, 4, 8, 16, 32\."),
            ("vgg11", r"\(AssertionError\); timm has its features at strides: 1, 2, 4, 8, 16, 32\."),
            ("vit_tiny_patch16_224", r"at strides: 16, 16, 16\. .* needs them at stride 4 .*timm:resnet18"),
            ("mobilevitv2_050", r"features are \(192, 4, 6\), and should be \(192, 3, 5\)"),
            (
                "swin_tiny_patch4_window7_224",
                r"\(.*'output_stride'\); timm has its features at strides: 4, 8, 16, 32\.",
            ),
        ],
    )
    def test_a_network_that_does_not_fit(self, name: str, words: str) -> None:
        with pytest.raises(UsageError, match=words):
            make(name)


class TestWeights:
    @pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "mobilenetv3_small_100"])
    def test_a_file_as_timm_publishes_it_fills_the_backbone(self, tmp_path: Path, name: str) -> None:
        """ConvNeXt's stages have other names once timm makes features of them."""
        torch.manual_seed(7)
        theirs = timm.create_model(name, num_classes=7)
        path = tmp_path / "published.safetensors"
        safetensors.torch.save_file(theirs.state_dict(), path)
        model = make(name, weights=str(path))
        features = timm.create_model(
            name, features_only=True, pretrained=True, pretrained_cfg_overlay={"state_dict": theirs.state_dict()}
        )
        state = model.backbone.network.state_dict()
        assert state.keys() == features.state_dict().keys()
        assert all(torch.equal(state[key], value) for key, value in features.state_dict().items())
        assert model.start_note == f"{path}, the head is random"
        assert model.normalization.mean == (0.485, 0.456, 0.406)

    def test_the_networks_own_normalization_is_taken(self, tmp_path: Path) -> None:
        path = tmp_path / "published.pth"
        torch.save(timm.create_model("tf_mobilenetv3_small_minimal_100").state_dict(), path)
        model = make("tf_mobilenetv3_small_minimal_100", weights=str(path))
        assert (model.normalization.mean, model.normalization.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def test_our_own_file_is_taken_whole(self, tmp_path: Path) -> None:
        model = make("resnet18")
        path = tmp_path / "ours.safetensors"
        safetensors.torch.save_file(model.state_dict(), path)
        with torch.random.fork_rng():
            again = make("resnet18", weights=str(path), dropout=0.5)
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
        assert again.start_note == str(path)

    def test_a_file_that_lacks_a_tensor_is_refused(self, tmp_path: Path) -> None:
        state = timm.create_model("resnet18").state_dict()
        del state["layer4.1.conv2.weight"]
        path = tmp_path / "torn.pth"
        torch.save(state, path)
        with pytest.raises(RoadbedError, match=r'torn\.pth does not fit timm:resnet18 \(.*"layer4\.1\.conv2\.weight"'):
            make("resnet18", weights=str(path))

    def test_a_hub_out_of_reach_is_an_error_with_a_remedy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(
            RoadbedError,
            match=r"imagenet: .* cannot be fetched from https://huggingface.co/timm/resnet18\.a1_in1k/.*s3://.*none",
        ):
            make("resnet18", weights="imagenet")

    def test_weights_that_nobody_published(self) -> None:
        with pytest.raises(UsageError, match=r"timm publishes no weights of nf_resnet26; .*model\.weights: none"):
            make("nf_resnet26", weights="imagenet")
