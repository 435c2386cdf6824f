"""Depthwise convolutions and their gradients, from passes that oneDNN does well.

Pure functions without autograd; `depthwise` decides which of them is taken when.

Shapes: B batch, C channels, H and W input pixels, h and w output pixels, k kernel size. "Seen" inputs are what the
convolution saw: as they are at stride 1, padded by hand at stride 2.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch.nn import functional

MAX_DEALT_DILATION = 4
MAX_PADDED_DILATION = 6


class Padding(NamedTuple):
    """Rows and columns of zeros around an image."""

    above: int
    below: int
    left: int
    right: int


class Geometry(NamedTuple):
    """What a depthwise convolution does besides multiplying. With stride 2 the dilation is 1."""

    stride: int
    dilation: int
    padding: Padding


def is_exported() -> bool:
    """Whether torch records the network instead of running it: then plain operations are wanted."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined,no-untyped-call]


def convolve_dilated(images_BCHW: torch.Tensor, weight_C1kk: torch.Tensor, dilation: int) -> torch.Tensor:
    """A convolution of stride 1 that keeps the size, (B, C, H, W).

    With a large dilation oneDNN is up to 20 times slower if it pads by itself.
    """
    channels, margin = weight_C1kk.shape[0], dilation * (weight_C1kk.shape[-1] - 1) // 2
    if dilation > MAX_PADDED_DILATION and images_BCHW.device.type == "cpu" and not is_exported():
        images_BCHW, margin = functional.pad(images_BCHW, (margin,) * 4), 0
    return functional.conv2d(images_BCHW, weight_C1kk, None, 1, margin, dilation, channels)


def input_gradient(gradient_BChw: torch.Tensor, weight_C1kk: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """The gradient of the unpadded input, (B, C, H, W): the output's gradient convolved with the flipped kernel."""
    if geometry.stride == 2:
        return _strided_input_gradient(gradient_BChw, weight_C1kk, geometry.padding)
    return convolve_dilated(gradient_BChw, weight_C1kk.flip(-1, -2), geometry.dilation)


def _strided_input_gradient(gradient: torch.Tensor, weight: torch.Tensor, padding: Padding) -> torch.Tensor:
    """At stride 2, row r of the padded input met the taps of r's parity alone, and so did every column."""
    batch, channels = gradient.shape[:2]
    padded_height, padded_width = ((size - 1) * 2 + weight.shape[-1] for size in gradient.shape[-2:])
    height, width = padded_height - padding.above - padding.below, padded_width - padding.left - padding.right
    result = torch.empty(
        (batch, channels, height, width),
        dtype=gradient.dtype,
        memory_format=torch.channels_last,
        device=gradient.device,
    )
    for row in range(2):
        hidden_rows, parity = divmod(padding.above - row + 1, 2)
        for column in range(2):
            hidden_columns, column_parity = divmod(padding.left - column + 1, 2)
            taps = weight[:, :, row::2, column::2].flip(-1, -2)
            margins = (taps.shape[-2] - 1, taps.shape[-1] - 1)
            part = functional.conv2d(gradient, taps, None, 1, margins, 1, channels)[:, :, hidden_rows:, hidden_columns:]
            target = result[:, :, 1 - parity :: 2, 1 - column_parity :: 2]
            target.copy_(part[:, :, : target.shape[-2], : target.shape[-1]])
    return result


def weight_gradient(
    gradient_BChw: torch.Tensor, seen_BCHW: torch.Tensor, weight_C1kk: torch.Tensor, geometry: Geometry
) -> torch.Tensor:
    """The gradient of the weight, (C, 1, k, k), of a kernel of 3x3 or 5x5.

    With a small dilation the pixels are dealt out to dense images; with a large one, whose taps mostly lie outside the
    image, every tap is a product and a sum; of a 5x5 kernel four blocks of 3x3 are computed.
    """
    kernel, dilation = weight_C1kk.shape[-1], geometry.dilation
    if dilation > MAX_DEALT_DILATION:
        return _weight_gradient_by_tap(gradient_BChw, seen_BCHW, weight_C1kk, dilation)
    margin = dilation * (kernel - 1) // 2 if geometry.stride == 1 else 0
    spare = 0 if kernel == 3 else dilation  # a kernel of 5x5 is computed as one of 6x6
    padded, gradient = functional.pad(seen_BCHW, (margin, margin + spare) * 2), gradient_BChw
    if dilation > 1:
        padded, gradient = deal_out(padded, dilation), deal_out(gradient, dilation)
    if kernel == 3:
        return _dense_weight_gradient(gradient, padded, weight_C1kk, geometry.stride)
    return _weight_gradient_by_blocks(gradient, padded, weight_C1kk, geometry.stride)


def deal_out(images_BCHW: torch.Tensor, step: int) -> torch.Tensor:
    """(step * step * B, C, ceil(H / step), ceil(W / step)): every step-th pixel of every step-th row; zeros at ends."""
    batch, channels, height, width = images_BCHW.shape
    rows, columns = -(-height // step), -(-width // step)
    images = images_BCHW
    if (height, width) != (rows * step, columns * step):
        images = functional.pad(images, (0, columns * step - width, 0, rows * step - height))
    images = images.permute(0, 2, 3, 1)
    images = images.reshape(batch, rows, step, columns, step, channels).permute(2, 4, 0, 1, 3, 5)
    return images.reshape(step * step * batch, rows, columns, channels).permute(0, 3, 1, 2)


def _weight_gradient_by_blocks(
    gradient: torch.Tensor, padded: torch.Tensor, weight: torch.Tensor, stride: int
) -> torch.Tensor:
    """Of a kernel of up to 6x6: its four 3x3 blocks, each over its own part of the input, padded as for 6x6."""
    kernel = weight.shape[-1]
    height, width = ((size - 1) * stride + 3 for size in gradient.shape[-2:])
    block_C133 = weight.new_empty(weight.shape[0], 1, 3, 3)
    rows = []
    for top in (0, 3):
        parts = [padded[:, :, top : top + height, left : left + width] for left in (0, 3)]
        rows.append(torch.cat([_dense_weight_gradient(gradient, part, block_C133, stride) for part in parts], dim=-1))
    return torch.cat(rows, dim=-2)[:, :, :kernel, :kernel]


def _dense_weight_gradient(
    gradient: torch.Tensor, padded: torch.Tensor, weight: torch.Tensor, stride: int
) -> torch.Tensor:
    """torch's own, of an undilated convolution without padding."""
    gradients = torch.ops.aten.convolution_backward(
        gradient,
        padded,
        weight,
        None,
        [stride] * 2,
        [0, 0],
        [1, 1],
        False,
        [0, 0],
        weight.shape[0],
        [False, True, False],
    )
    return cast(torch.Tensor, gradients[1])


def _weight_gradient_by_tap(
    gradient: torch.Tensor, images: torch.Tensor, weight: torch.Tensor, dilation: int
) -> torch.Tensor:
    """At stride 1: for every tap that reaches into the image, the product with the shifted input, summed."""
    result = torch.zeros_like(weight)
    height, width = images.shape[-2:]
    kernel = weight.shape[-1]
    for row in range(kernel):
        for column in range(kernel):
            down, right = ((tap - kernel // 2) * dilation for tap in (row, column))
            if abs(down) >= height or abs(right) >= width:
                continue
            here = gradient[:, :, max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
            there = images[:, :, max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
            result[:, 0, row, column] = (here * there).sum(dim=(0, 2, 3))
    return result
