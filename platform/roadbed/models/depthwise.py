"""Depthwise convolution whose backward pass is fast, and right, on a CPU.

torch hands convolutions on a CPU to oneDNN. Its forward passes are good; of the backward passes of depthwise
convolutions several are 10 to 40 times slower than they need be, and with dilation the weight gradient in bfloat16 is
plainly wrong at some sizes (torch 2.14, channels last: 320 channels, 3x3, dilation 3, 23x30 pixels).
`depthwise_passes` gets the same gradients from passes that are good. Everywhere else (other devices, no gradient,
export, the cases that oneDNN does well) this is torch's own convolution.

Shapes: B batch, C channels, H and W input pixels, h and w output pixels, k kernel size.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torch import nn
from torch.nn import functional

from roadbed.models.depthwise_passes import (
    Geometry,
    Padding,
    convolve_dilated,
    input_gradient,
    is_exported,
    weight_gradient,
)


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution without bias whose output has the input's size over the stride, rounded up.

    Parameters and state dict are those of `nn.Conv2d(channels, channels, kernel, groups=channels, bias=False)`.
    The kernel is 3 or 5; the stride is 1, or 2 without dilation. `is_tf_aligned` is explained at `strided_padding`.
    """

    def __init__(
        self, channels: int, kernel: int, *, stride: int = 1, dilation: int = 1, is_tf_aligned: bool = False
    ) -> None:
        assert kernel in (3, 5)
        assert stride == 1 or (stride == 2 and dilation == 1)
        super().__init__(
            channels,
            channels,
            kernel,
            stride=stride,
            padding=dilation * (kernel - 1) // 2,
            dilation=dilation,
            groups=channels,
            bias=False,
        )
        self.is_tf_aligned = is_tf_aligned

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, h, w)."""
        images, weight, dilation, kernel = images_BCHW, self.weight, self.dilation[0], self.weight.shape[-1]
        padding = Padding(*(dilation * (kernel - 1) // 2,) * 4)
        if self.stride[0] == 2:
            padding = strided_padding(images, kernel=kernel, is_tf_aligned=self.is_tf_aligned)
        geometry = Geometry(self.stride[0], dilation, padding)
        if not _wants_our_gradients(images, weight):
            return convolve(images, weight, geometry)[0]
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            images, weight = images.to(dtype), weight.to(dtype)
        output: torch.Tensor = _Convolution.apply(images, weight, geometry)
        return output


def replace_depthwise(module: nn.Module) -> None:
    """Put a `DepthwiseConv2d` of the same weight in the place of every convolution below `module` that is one."""
    for name, child in module.named_children():
        if is_depthwise(child):
            replacement = DepthwiseConv2d(
                child.in_channels, child.kernel_size[0], stride=child.stride[0], dilation=child.dilation[0]
            )
            replacement.weight = child.weight
            setattr(module, name, replacement)
        else:
            replace_depthwise(child)


def is_depthwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether this is torch's own convolution with a geometry that `DepthwiseConv2d` has.

    Subclasses, which pad in their own ways, are not.
    """
    if type(module) is not nn.Conv2d or not module.groups == module.in_channels == module.out_channels:
        return False
    kernel, stride, dilation = module.kernel_size[0], module.stride[0], module.dilation[0]
    is_square = all(len(set(sides)) == 1 for sides in (module.kernel_size, module.stride, module.dilation))
    is_supported = kernel in (3, 5) and (stride == 1 or (stride == 2 and dilation == 1))
    is_centred = module.padding == (dilation * (kernel - 1) // 2,) * 2 and module.padding_mode == "zeros"
    return is_square and is_supported and is_centred and module.bias is None and module.groups > 1


def strided_padding(images_BCHW: torch.Tensor, *, kernel: int, is_tf_aligned: bool) -> Padding:
    """The zeros with which a convolution of stride 2 has ceil(size / 2) outputs and uses all that it is given.

    torch's networks put (kernel - 1) / 2 zeros above and to the left, TensorFlow's SAME padding one less where the size
    is even. For odd sizes TensorFlow does as torch, which moves the features by a pixel from one image size to the
    next; `is_tf_aligned` puts one less at all sizes.
    """
    before = (kernel - 2) // 2 if is_tf_aligned else (kernel - 1) // 2
    height, width = images_BCHW.shape[-2:]
    below = (height + 1) // 2 * 2 + kernel - 2 - height - before
    right = (width + 1) // 2 * 2 + kernel - 2 - width - before
    return Padding(before, below, before, right)


def pad(images_BCHW: torch.Tensor, padding: Padding) -> torch.Tensor:
    """The images with zeros around them."""
    return functional.pad(images_BCHW, (padding.left, padding.right, padding.above, padding.below))


def convolve(
    images_BCHW: torch.Tensor, weight_C1kk: torch.Tensor, geometry: Geometry
) -> tuple[torch.Tensor, torch.Tensor]:
    """The output, and the input as the convolution saw it: padded by hand if the stride is 2."""
    if geometry.stride == 1:
        return convolve_dilated(images_BCHW, weight_C1kk, geometry.dilation), images_BCHW
    padded = pad(images_BCHW, geometry.padding)
    return functional.conv2d(padded, weight_C1kk, None, 2, 0, 1, weight_C1kk.shape[0]), padded


def _wants_our_gradients(images: torch.Tensor, weight: torch.Tensor) -> bool:
    if is_exported() or not torch.is_grad_enabled():
        return False
    is_supported = images.device.type == "cpu" and images.dtype in (torch.float32, torch.bfloat16)
    return is_supported and (images.requires_grad or weight.requires_grad)


class _Convolution(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def forward(ctx: Any, images: torch.Tensor, weight: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        output, seen = convolve(images, weight, geometry)
        ctx.save_for_backward(seen, weight)
        ctx.geometry = geometry
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(  # type: ignore[override]
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        seen, weight = ctx.saved_tensors
        geometry: Geometry = ctx.geometry
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_images = of_weight = None
        # Measured with torch 2.14 on an EPYC with avx512_bf16, two threads: which way is faster for which case.
        is_low, is_dilated = gradient.dtype == torch.bfloat16, geometry.dilation > 1
        our_images = ctx.needs_input_grad[0] and (is_low or is_dilated)
        our_weight = ctx.needs_input_grad[1] and is_low and (weight.shape[-1] > 3 or is_dilated)
        if our_images:
            of_images = input_gradient(gradient, weight, geometry)
        if our_weight:
            of_weight = weight_gradient(gradient, seen, weight, geometry)
        needed = (ctx.needs_input_grad[0] and not our_images, ctx.needs_input_grad[1] and not our_weight)
        if any(needed):
            native = native_gradients(gradient, seen, weight, geometry, needed=needed)
            of_images, of_weight = native[0] if needed[0] else of_images, native[1] if needed[1] else of_weight
        if of_weight is not None:
            # DistributedDataParallel minds the strides of a gradient even along dimensions of size 1.
            of_weight = torch.empty_like(weight).copy_(of_weight)
        return of_images, of_weight, None


def native_gradients(
    gradient_BChw: torch.Tensor,
    seen_BCHW: torch.Tensor,
    weight_C1kk: torch.Tensor,
    geometry: Geometry,
    *,
    needed: tuple[bool, bool],
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """torch's own gradients of the unpadded input and of the weight, each only if needed."""
    padding = geometry.padding
    margin = padding.above if geometry.stride == 1 else 0
    of_seen, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient_BChw,
        seen_BCHW,
        weight_C1kk,
        None,
        [geometry.stride] * 2,
        [margin] * 2,
        [geometry.dilation] * 2,
        False,
        [0, 0],
        weight_C1kk.shape[0],
        [*needed, False],
    )
    if needed[0] and geometry.stride == 2:
        height, width = of_seen.shape[-2:]
        of_seen = of_seen[:, :, padding.above : height - padding.below, padding.left : width - padding.right]
        of_seen = of_seen.contiguous(memory_format=torch.channels_last)
    return of_seen, of_weight
