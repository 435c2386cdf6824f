"""The network that engines run: pixels in, class ids out, with everything between them inside.

Shapes: H and W pixels of one image, K classes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

from roadbed.inference.images import MAX_SIDE_PX
from roadbed.inference.views import MIN_SIDE_PX
from roadbed.models import SegmentationModel

_EXAMPLE_PX = (96, 160)

Output = Literal["mask", "logits"]
OUTPUTS: tuple[Output, ...] = ("mask", "logits")


class Graph(nn.Module):
    """An RGB image (1, H, W, 3), uint8, to the ids of its classes (1, H, W), uint8, at the image's own size.

    The second output are the logits (1, K, H, W), float32: what several views, and windows of a large image, are
    blended from.
    """

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, image_1HW3: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalisation, the network, enlarging and the choice of the class."""
        logits_1KHW = self.model(image_1HW3.permute(0, 3, 1, 2))
        return logits_1KHW.argmax(1).to(torch.uint8), logits_1KHW


def export_onnx(model: SegmentationModel) -> dict[Output, bytes]:
    """ONNX files with the weights, in float32, for images of any size from 32 pixels up; one for each output alone.

    The input is called `image`. Raises RuntimeError if torch cannot record the network.
    """
    image_1HW3 = torch.zeros((1, *_EXAMPLE_PX, 3), dtype=torch.uint8)
    sides = {
        1: torch.export.Dim("height", min=MIN_SIDE_PX, max=MAX_SIDE_PX),
        2: torch.export.Dim("width", min=MIN_SIDE_PX, max=MAX_SIDE_PX),
    }
    with torch.no_grad(), _silent():
        program = torch.export.export(
            Graph(model).eval(),
            (image_1HW3,),
            dynamic_shapes={"image_1HW3": sides},
            prefer_deferred_runtime_asserts_over_guards=True,
        )
        exported = torch.onnx.export(program, input_names=["image"], output_names=OUTPUTS, dynamo=True, verbose=False)
    assert exported is not None
    files: dict[Output, bytes] = {}
    for output in OUTPUTS:
        alone = exported.model_proto
        for other in [value for value in alone.graph.output if value.name != output]:
            alone.graph.output.remove(other)  # whoever loads the file leaves out what leads to no output
        files[output] = alone.SerializeToString()
    return files


@contextmanager
def _silent() -> Iterator[None]:
    """Without what torch and onnxscript tell of their own affairs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
