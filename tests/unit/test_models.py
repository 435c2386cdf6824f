"""What every model keeps, one class that all of them pass, and what is particular to some."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large, deeplabv3_resnet50

from roadbed.errors import UsageError
from roadbed.models import SegmentationModel, build_model
from roadbed.models.deeplab import enlarge
from roadbed.models.efficientnet_lite import EfficientNetLite
from roadbed.models.segmentation import Normalization
from roadbed.spec import ModelSpec

NUM_CLASSES = 5
LITE = {"architecture": "deeplabv3plus", "backbone": "efficientnet_lite0"}
BACKBONES = ("efficientnet_lite0", "mobilenet_v3_large", "resnet50", "timm:resnet18", "timm:mobilenetv3_small_100")
# Every head over every backbone, every backbone at both strides. ResNet-101 is ResNet-50 with more of the same, as
# EfficientNet-Lite1 and -Lite2 are Lite0.
CASES = [
    *((architecture, backbone, 16) for architecture in ("deeplabv3plus", "deeplabv3") for backbone in BACKBONES),
    *(("deeplabv3plus", backbone, 8) for backbone in ("efficientnet_lite0", "mobilenet_v3_large", "timm:resnet18")),
    *(("deeplabv3", backbone, 8) for backbone in ("resnet50", "timm:mobilenetv3_small_100")),
]
SPECS = {
    f"{architecture}-{backbone}-{stride}": {
        "architecture": architecture,
        "backbone": backbone,
        "output_stride": stride,
        "head_channels": 32,
    }
    for architecture, backbone, stride in CASES
}


def make(parts: dict[str, Any], **changes: Any) -> SegmentationModel:
    torch.manual_seed(0)
    spec = ModelSpec.parse(parts | {"weights": "none"} | changes, origin="test")
    return build_model(spec, num_classes=NUM_CLASSES)


def painting(batch: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * width)
    return torch.randint(0, 256, (batch, 3, height, width), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks gain nothing by two threads, which lose much by waiting for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=SPECS, ids=list(SPECS))
def model(request: pytest.FixtureRequest) -> SegmentationModel:
    return make(SPECS[request.param])


class TestEveryModel:
    @pytest.mark.parametrize(("height", "width"), [(32, 32), (49, 66)])
    def test_logits_have_the_images_size(self, model: SegmentationModel, height: int, width: int) -> None:
        images = painting(2, height, width)
        with torch.inference_mode():
            model.eval()
            logits, coarse = model(images), model.coarse_logits(images)
        assert logits.shape == (2, NUM_CLASSES, height, width)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()
        assert coarse.shape[-2:] == (-(-height // model.stride), -(-width // model.stride))

    @pytest.mark.parametrize(("height", "width"), [(32, 32), (49, 66)])
    def test_features_lie_at_the_strides_and_have_the_channels_that_are_told(
        self, model: SegmentationModel, height: int, width: int
    ) -> None:
        with torch.inference_mode():
            features = model.eval().backbone(model.normalization(painting(1, height, width)))
        deep = model.spec.output_stride
        for values, channels, stride in zip(features, model.backbone.channels, (4, deep, deep), strict=True):
            assert values.shape == (1, channels, -(-height // stride), -(-width // stride))

    def test_autocast_gives_float_logits_near_those_of_float(self, model: SegmentationModel) -> None:
        images = painting(1, 64, 96)
        with torch.inference_mode():
            exact = model.eval()(images)
            with torch.autocast("cpu", torch.bfloat16):
                low = model(images)
        assert low.dtype == torch.float32
        assert (low - exact).abs().max() < 0.05 * exact.abs().max()

    def test_it_is_exported_as_what_it_computes(self, model: SegmentationModel) -> None:
        images = painting(1, 48, 64)
        program = torch.export.export(model.eval(), (images,))
        torch.testing.assert_close(program.module()(images), model(images))

    def test_a_batch_of_two_is_learnt(self, model: SegmentationModel) -> None:
        """Left from right, in a few steps from random weights."""
        student = copy.deepcopy(model).train()
        losses = steps(student, 5, learning_rate=1e-2)
        assert losses[0] == pytest.approx(torch.tensor(float(NUM_CLASSES)).log().item(), abs=0.5)
        assert losses[-1] < 0.6 * losses[0]

    def test_bytes_and_floats_are_the_same_image(self, model: SegmentationModel) -> None:
        images = painting(1, 40, 48)
        with torch.inference_mode():
            torch.testing.assert_close(model.eval()(images), model.eval()(images.float()))

    def test_a_batch_of_one_trains_every_parameter(self, model: SegmentationModel) -> None:
        """At 32 pixels some features have one value per channel: no batch statistics may be taken of them."""
        model.train()
        for size in (64, 32):
            model.zero_grad()
            model(painting(1, size, size)).logsumexp(1).mean().backward()
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None, name
                assert parameter.grad.isfinite().all(), name

    def test_parameter_groups_hold_each_parameter_once(self, model: SegmentationModel) -> None:
        groups = model.parameter_groups()
        grouped = [id(parameter) for part in ("backbone", "head") for parameter in groups[part]]
        assert set(groups) == {"backbone", "head"}
        assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())

    def test_weights_pass_through_safetensors(self, model: SegmentationModel) -> None:
        data = safetensors.torch.save(model.state_dict())
        other = make(model.spec.model_dump(), head_channels=model.spec.head_channels)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(1)
        other.load_state_dict(safetensors.torch.load(data))
        with torch.inference_mode():
            assert torch.equal(other.eval()(painting(1, 40, 48)), model.eval()(painting(1, 40, 48)))

    def test_frozen_batch_norm_stays_frozen(self, model: SegmentationModel) -> None:
        frozen = copy.deepcopy(model)
        frozen.spec = model.spec.model_copy(update={"batch_norm": "frozen"})
        frozen.train()
        before = {name: value.clone() for name, value in frozen.named_buffers()}
        frozen(painting(2, 40, 48))
        assert frozen.head.training
        assert not any(module.training for module in frozen.modules() if isinstance(module, _BatchNorm))
        for name, value in frozen.named_buffers():
            assert torch.equal(value, before[name]), name
        model.train()
        assert all(module.training for module in model.modules() if isinstance(module, _BatchNorm))


def steps(model: SegmentationModel, num_steps: int, *, learning_rate: float) -> list[float]:
    """The losses of training on two frames whose right half is dark; every other step is in bfloat16."""
    images = painting(2, 48, 64)
    truth = torch.zeros(2, 48, 64, dtype=torch.long)
    truth[:, :, 32:] = 1
    images[:, :, :, 32:] //= 4
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    losses = []
    for step in range(num_steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=step % 2 == 1):
            logits = model(images)
        loss = torch.nn.functional.cross_entropy(logits, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("batch_norm", ["live", "frozen"])
def test_it_learns_from_imagenet(batch_norm: str) -> None:
    """Gradients point the right way, in both precisions, live or frozen."""
    model = make(LITE, weights="imagenet", batch_norm=batch_norm, head_channels=16, dropout=0.0).train()
    losses = steps(model, 20, learning_rate=1e-2)
    assert losses[0] == pytest.approx(torch.tensor(float(NUM_CLASSES)).log().item(), abs=0.3)
    assert losses[-1] < 0.4 * losses[0]


@pytest.mark.parametrize("backbone", [*BACKBONES, "timm:convnext_atto"])
def test_gradients_have_the_layout_that_distributed_training_wants(backbone: str) -> None:
    """DistributedDataParallel warns of gradients whose strides are not the weights'; warnings are errors here."""
    model = make({"backbone": backbone, "head_channels": 32}).train()
    torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
    try:
        wrapped = torch.nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
        for is_low in (False, True):
            model.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=is_low):
                logits = wrapped(painting(2, 48, 64))
            logits.logsumexp(1).mean().backward()
    finally:
        torch.distributed.destroy_process_group()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = make(LITE), make(LITE)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(
    ("parts", "digest"),
    [
        (LITE, "bb53baa2bd1ed73f"),
        ({"architecture": "deeplabv3", "backbone": "mobilenet_v3_large"}, "bbeb6065bbd6c5e3"),
        ({"architecture": "deeplabv3", "backbone": "resnet50"}, "90e62b928128513c"),
        ({"architecture": "deeplabv3", "backbone": "resnet101"}, "6ae4cef1a00e3e20"),
    ],
    ids=lambda value: value["backbone"] if isinstance(value, dict) else "",
)
def test_names_and_shapes_of_weights_are_those_that_were_published(parts: dict[str, Any], digest: str) -> None:
    """Versions of the registry must load for ever: a change here needs a conversion of old names, not a new digest."""
    with torch.device("meta"):
        state = make(parts).state_dict()
    names = "\n".join(f"{name} {tuple(value.shape)}" for name, value in state.items())
    assert hashlib.sha256(names.encode()).hexdigest().startswith(digest)


def documented() -> list[list[str]]:
    """The rows of the table of backbones in docs/models.md."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text()
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if len(row) == 7 and row[1].replace(".", "").isdigit()]


@pytest.mark.parametrize("row", documented(), ids=lambda row: row[0])
def test_the_documented_sizes_are_those_of_the_models(row: list[str]) -> None:
    """Counted without computing anything: tensors on the meta device have shapes alone."""
    found = []
    for architecture in ("deeplabv3plus", "deeplabv3"):
        spec = ModelSpec.parse({"architecture": architecture, "backbone": row[0], "weights": "none"}, origin="test")
        with torch.device("meta"), torch.inference_mode():
            model = build_model(spec, num_classes=11).eval()
            with FlopCounterMode(display=False) as counter:
                model(torch.zeros(1, 3, 360, 480))
        num_parameters = sum(parameter.numel() for parameter in model.parameters())
        found += [f"{num_parameters / 1e6:.1f}", f"{counter.get_total_flops() / 1e9:.1f}"]
    assert found == row[1:5]


class TestAuxiliaryHead:
    @pytest.mark.parametrize("backbone", BACKBONES)
    def test_it_trains_with_the_rest_and_changes_nothing_else(self, backbone: str) -> None:
        model = make({"backbone": backbone, "head_channels": 16}, auxiliary_head=True, dropout=0.0).train()
        logits, auxiliary = model.forward_with_auxiliary(painting(2, 61, 77))
        assert logits.shape == auxiliary.shape == (2, NUM_CLASSES, 61, 77)
        assert logits.dtype == auxiliary.dtype == torch.float32
        (logits.logsumexp(1).mean() + auxiliary.logsumexp(1).mean()).backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        with torch.inference_mode():
            model.eval()
            torch.testing.assert_close(model.forward_with_auxiliary(painting(1, 40, 48))[0], model(painting(1, 40, 48)))

    def test_its_parameters_are_the_heads(self) -> None:
        model = make(LITE, auxiliary_head=True, head_channels=16)
        groups = model.parameter_groups()
        assert model.aux_head is not None
        assert {id(parameter) for parameter in model.aux_head.parameters()} < {id(p) for p in groups["head"]}
        assert sum(map(len, groups.values())) == len(list(model.parameters()))

    def test_its_weights_load_where_there_is_none(self) -> None:
        trained, plain = make(LITE, auxiliary_head=True, head_channels=16), make(LITE, head_channels=16)
        with torch.no_grad():
            for parameter in plain.parameters():
                parameter.add_(1)
        plain.load_state_dict(trained.state_dict())
        images = painting(1, 40, 48)
        with torch.inference_mode():
            assert torch.equal(plain.eval()(images), trained.eval()(images))
        with pytest.raises(RuntimeError, match=r"aux_head\.0\.weight"):
            trained.load_state_dict(plain.state_dict())


@pytest.mark.parametrize(("stride", "at_half"), [(16, 32), (8, 16)])
@pytest.mark.parametrize(("height", "width"), [(128, 192), (97, 130)])
def test_dilation_computes_the_strided_features_and_those_between(
    stride: int, at_half: int, height: int, width: int
) -> None:
    """Chen et al. (arXiv:1606.00915), section 3.1: dilated features, subsampled, are the strided network's.

    With TensorFlow's alignment the strided 5x5 kernels look at odd pixels, at even and odd image sizes alike.
    """
    torch.manual_seed(0)
    dense, sparse = (EfficientNetLite("efficientnet_lite0", output_stride=s).eval() for s in (stride, at_half))
    sparse.load_state_dict(dense.state_dict())
    images = torch.randn(1, 3, height, width)
    with torch.inference_mode():
        found, expected = dense(images).high_BChw[:, :, 1::2, 1::2], sparse(images).high_BChw
    rows, columns = found.shape[-2:]
    torch.testing.assert_close(found, expected[:, :, :rows, :columns], rtol=1e-3, atol=1e-4)


def test_enlarging_keeps_features_where_they_were() -> None:
    """A ramp over pixel positions, taken at every fourth pixel's cell, comes back as the ramp, at odd sizes too."""
    cells = torch.arange(12.0) * 4 + 1.5
    ramp = enlarge(cells.expand(1, 1, 3, 12), 4, (10, 45))
    assert ramp.shape == (1, 1, 10, 45)
    torch.testing.assert_close(ramp[0, 0, 4, 2:44], torch.arange(2.0, 44.0))


@pytest.mark.parametrize(
    ("theirs", "backbone", "stride"),
    [(deeplabv3_mobilenet_v3_large, "mobilenet_v3_large", 16), (deeplabv3_resnet50, "resnet50", 8)],
)
def test_torchvision_models_compute_what_torchvision_computes(theirs: Any, backbone: str, stride: int) -> None:
    parts = {"architecture": "deeplabv3", "backbone": backbone, "output_stride": stride}
    ours = make(parts).eval()
    reference = theirs(weights=None, weights_backbone=None, num_classes=NUM_CLASSES).eval()
    reference.load_state_dict(
        {
            name.replace("head.", "classifier.", 1) if name.startswith("head.") else name: value
            for name, value in ours.state_dict().items()
        }
    )
    images = painting(1, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), reference(ours.normalization(images))["out"], rtol=1e-3, atol=1e-4)


def test_normalization_is_mean_and_deviation_of_shares() -> None:
    normalize = Normalization(mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    images = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    values = normalize(images)
    torch.testing.assert_close(values[0, :, 0, 0], torch.tensor([1.0, 3.0, 1.0]))
    assert not normalize.state_dict()


def test_given_mean_and_deviation_are_taken_for_random_weights() -> None:
    spec = ModelSpec.parse(LITE | {"weights": "none"}, origin="test")
    model = build_model(spec, num_classes=2, channel_mean=(0.1, 0.2, 0.3), channel_std=(0.4, 0.5, 0.6))
    assert (model.normalization.mean, model.normalization.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_a_backbone_that_is_not_offered_names_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"efficientnet_lite0, .* such as timm:resnet18; did you mean resnet50\?"):
        make({"backbone": "resnet5"})
    with pytest.raises(UsageError, match="backbone: expected"):
        make({"backbone": "timm:"})
