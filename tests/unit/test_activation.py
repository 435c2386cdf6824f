"""ReLU6 without the copy gives what torch's gives, forwards and backwards."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from roadbed.models.activation import ReLU6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients_are_torchs(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    images_BCHW = (5 * torch.randn(2, 8, 9, 7, generator=generator)).to(dtype)
    images_BCHW[0, 0, 0, :3] = torch.tensor([0.0, 6.0, -0.0])
    weights_BCHW = torch.randn(images_BCHW.shape, generator=generator).to(dtype)
    norm = nn.BatchNorm2d(8)
    found = []
    for activation in (ReLU6(), nn.ReLU6(inplace=True)):
        images = images_BCHW.clone().contiguous(memory_format=torch.channels_last).requires_grad_()
        outputs = activation(copy.deepcopy(norm)(images))
        (outputs * weights_BCHW).sum().backward()
        found.append((outputs.detach(), images.grad))
    torch.testing.assert_close(*found, rtol=0, atol=0)
    direct = images_BCHW.clone().requires_grad_()
    ReLU6()(direct * 1).sum().backward()
    assert direct.grad is not None
    assert direct.grad[0, 0, 0, :3].tolist() == [0, 0, 0]


def test_it_works_in_place() -> None:
    values = torch.tensor([-1.0, 3.0, 9.0], requires_grad=True) * 1
    assert ReLU6()(values).data_ptr() == values.data_ptr()
    assert values.tolist() == [0, 3, 6]
    with torch.no_grad():
        assert ReLU6()(torch.tensor([-1.0, 9.0])).tolist() == [0, 6]
