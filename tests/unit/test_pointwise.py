"""1x1 convolutions as products give what torch's own give, forwards and backwards, and leave the rest to it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from roadbed.models.pointwise import PointwiseConv2d, is_pointwise, replace_pointwise


def outcome(
    module: nn.Conv2d, images_BCHW: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    """Outputs, and the gradients of images, weight and bias."""
    images = images_BCHW.clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        outputs = module(images)
    assert outputs.dtype == dtype
    assert outputs.is_contiguous(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(1)
    (outputs.float() * torch.randn(outputs.shape, generator=generator)).sum().backward()
    return outputs.detach(), images.grad, module.weight.grad, None if module.bias is None else module.bias.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("size", [(5, 7), (1, 1)])
def test_values_and_gradients_are_torchs(dtype: torch.dtype, has_bias: bool, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    theirs = nn.Conv2d(24, 16, 1, bias=has_bias)
    ours = PointwiseConv2d(24, 16, bias=has_bias)
    ours.load_state_dict(theirs.state_dict())
    images_BCHW = torch.randn(3, 24, *size).contiguous(memory_format=torch.channels_last)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for found, wanted in zip(outcome(ours, images_BCHW, dtype), outcome(theirs, images_BCHW, dtype), strict=True):
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)
    assert ours.weight.grad is not None
    assert ours.weight.grad.stride() == ours.weight.stride(), "DistributedDataParallel minds the strides"


def test_other_layouts_are_torchs_own() -> None:
    ours = PointwiseConv2d(3, 4)
    assert ours(torch.randn(2, 3, 5, 5)).is_contiguous()


def test_what_is_replaced() -> None:
    kept = [
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 1, stride=2),
        nn.Conv2d(4, 4, 1, padding=1),
        nn.Conv2d(4, 4, 1, groups=2),
    ]
    assert not any(is_pointwise(module) for module in kept)
    module = nn.Sequential(*kept, nn.Sequential(nn.Conv2d(4, 2, 1)))
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    replace_pointwise(module)
    assert torch.equal(state, torch.get_rng_state()), "replacing draws no weights"
    assert [type(child) for child in module.modules()].count(PointwiseConv2d) == 1
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())
    assert module.state_dict().keys() == weights.keys()
