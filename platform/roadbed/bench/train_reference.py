"""torchvision's recipe for segmentation, written plainly: what a person would start from.

Transforms, DataLoader, loss, SGD and the rate's fall are those of
https://github.com/pytorch/vision/tree/main/references/segmentation (train.py, presets.py), with its defaults: float32,
frames as files on this machine, worker processes that decode (as many as there are threads to compute), and
DistributedDataParallel over several workers. The network is this project's in shape and weights, made of torch's own
layers alone, in torch's own layout; of the recipe's metrics the loss is read after every step, as there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler
from torch.utils.data import Dataset as TorchDataset
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from roadbed.data.dataset import Dataset
from roadbed.models import SegmentationModel, build_model
from roadbed.models.depthwise import DepthwiseConv2d, convolve, strided_padding
from roadbed.models.depthwise_passes import Geometry, Padding

if TYPE_CHECKING:
    from roadbed.bench.train_contender import Settings

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, POLY_POWER = 0.01, 0.9, 1e-4, 0.9
RATE_STEPS = 100_000
Sample = tuple[Any, Any]


class Turns(Protocol):
    """What is told of every step; the phases of a block are none of this contender's business."""

    def step(self) -> None:
        """A step is done."""


class _Files(TorchDataset[Sample]):
    """Frames NAME.jpg with masks NAME.png, transformed."""

    def __init__(self, folder: Path, transforms: Callable[[Any, Any], Sample]) -> None:
        self._paths = sorted(folder.glob("*.jpg"))
        self._transforms = transforms

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, place: int) -> Sample:
        path = self._paths[place]
        image = tv_tensors.Image(decode_image(str(path), mode=ImageReadMode.RGB))
        mask = tv_tensors.Mask(decode_image(str(path.with_suffix(".png")), mode=ImageReadMode.UNCHANGED)[0])
        return self._transforms(image, mask)


def train(settings: Settings, rank: int, take_turns: Callable[[nn.Module, torch.optim.Optimizer], Turns]) -> None:
    """Train for ever."""
    dataset = Dataset.open(settings.dataset_uri)
    ignore_id = dataset.label_space.ignore_id
    files = _Files(Path(settings.files), _preset(settings.crop_px, dataset, ignore_id))
    sampler: Any = DistributedSampler(files) if settings.num_workers > 1 else RandomSampler(files)
    loader = DataLoader(
        files,
        batch_size=settings.global_batch // settings.num_workers,
        sampler=sampler,
        num_workers=settings.num_threads,
        drop_last=True,
    )
    model: nn.Module = plain_model(settings, dataset)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    rates = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=RATE_STEPS, power=POLY_POWER)
    turns = take_turns(model, optimizer)
    if settings.num_workers > 1:
        model = DistributedDataParallel(model)
    while True:
        for images_B3HW, masks_BHW in loader:
            loss = functional.cross_entropy(model(images_B3HW), masks_BHW, ignore_index=ignore_id)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rates.step()
            loss.item()
            turns.step()


def _preset(crop_px: tuple[int, int], dataset: Dataset, ignore_id: int) -> Callable[[Any, Any], Sample]:
    """The recipe's SegmentationPresetTrain: half to twice the crop's height, mirror, crop, normalise."""
    fill: dict[Any, Any] = {tv_tensors.Image: 0, tv_tensors.Mask: ignore_id}
    preset: Callable[[Any, Any], Sample] = v2.Compose(
        [
            v2.RandomResize(min_size=crop_px[0] // 2, max_size=crop_px[0] * 2),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomCrop(crop_px, pad_if_needed=True, fill=fill),
            v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}, scale=True),
            v2.Normalize(mean=dataset.channel_mean, std=dataset.channel_std),
            v2.ToPureTensor(),
        ]
    )
    return preset


def plain_model(settings: Settings, dataset: Dataset) -> SegmentationModel:
    """The project's default network, its depthwise convolutions torch's own, for frames that are normalised already."""
    model = build_model(settings.job.model, num_classes=dataset.label_space.num_classes)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, DepthwiseConv2d):
                setattr(module, name, _PlainDepthwise(child))
    model.normalization = nn.Identity()  # type: ignore[assignment]
    return model


class _PlainDepthwise(nn.Module):
    """A depthwise convolution with torch's own gradients."""

    def __init__(self, ours: DepthwiseConv2d) -> None:
        super().__init__()
        self.weight = ours.weight
        self._stride, self._dilation, self._is_tf_aligned = ours.stride[0], ours.dilation[0], ours.is_tf_aligned

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        kernel = self.weight.shape[-1]
        padding = Padding(*(self._dilation * (kernel - 1) // 2,) * 4)
        if self._stride == 2:
            padding = strided_padding(images_BCHW, kernel=kernel, is_tf_aligned=self._is_tf_aligned)
        return convolve(images_BCHW, self.weight, Geometry(self._stride, self._dilation, padding))[0]
