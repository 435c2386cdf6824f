"""One training step of a small network on any device and any number of workers, for the tests on GPUs."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.modules.dropout import _DropoutNd

from roadbed.models import SegmentationModel, build_model
from roadbed.spec import LossSpec, ModelSpec
from roadbed.training.batch_norm import synchronize_batch_norm
from roadbed.training.group import Group
from roadbed.training.loss import Divisors, Loss
from roadbed.training.precision import Precision
from roadbed.training.step import GradientStep

NUM_CLASSES, IGNORE_ID, SIDE_PX = 19, 255, 64


def small_model(**settings: object) -> SegmentationModel:
    """A network with random weights, the same every time, and without dropout, whatever its head has."""
    torch.manual_seed(0)
    spec = ModelSpec.model_validate({"weights": "none", "head_channels": 32} | settings)
    model = build_model(spec, num_classes=NUM_CLASSES)
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
    return model


def small_batch(num_samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames and masks of noise, the same every time, with some ignored pixels."""
    generator = torch.Generator().manual_seed(1)
    images_B3HW = torch.randint(0, 256, (num_samples, 3, SIDE_PX, SIDE_PX), dtype=torch.uint8, generator=generator)
    masks_BHW = torch.randint(0, NUM_CLASSES, (num_samples, SIDE_PX, SIDE_PX), dtype=torch.uint8, generator=generator)
    masks_BHW[:, :4] = IGNORE_ID
    return images_B3HW, masks_BHW


def gradients(
    model: SegmentationModel,
    group: Group,
    *,
    num_samples: int,
    precision: Precision = "fp32",
    is_compiled: bool = False,
) -> tuple[float, dict[str, torch.Tensor]]:
    """The mean loss of a batch shared by the workers, and its gradients by name, on the CPU.

    Batch norm is synchronised where the model's spec says so and there are several workers.
    """
    if model.spec.batch_norm == "sync" and group.num_workers > 1:
        synchronize_batch_norm(model)
    model.to(group.device).train()
    loss = Loss(LossSpec(), torch.ones(NUM_CLASSES, device=group.device), ignore_id=IGNORE_ID)
    step = GradientStep(
        model,
        group,
        loss=loss,
        ignore_id=IGNORE_ID,
        micro_batch=num_samples,
        largest_share=num_samples,
        is_compiled=is_compiled,
    )
    images_B3HW, masks_BHW = small_batch(num_samples)
    share = slice(group.rank, None, group.num_workers)
    divisors = loss.divisors(masks_BHW)
    own = step(
        images_B3HW[share].to(group.device),
        masks_BHW[share].to(group.device),
        divisors=Divisors(*divisors),
        precision=precision,
        seed=0,
    )
    (total,) = group.sum([float(own)])
    named = model.named_parameters()
    return total, {name: parameter.grad.cpu() for name, parameter in named if parameter.grad is not None}


def apart(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """The length of the difference of all gradients over the length of the second."""
    assert ours.keys() == theirs.keys()
    left, right = (torch.cat([named[name].flatten() for name in theirs]) for named in (ours, theirs))
    return float((left - right).norm() / right.norm())


def step_over_nccl(rank: int, num_workers: int, folder: Path, settings: dict[str, object], num_samples: int) -> None:
    """What each process of a group runs; the first leaves loss, gradients and buffers in `folder`/found.pt."""
    torch.cuda.set_device(rank)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    dist.init_process_group("nccl", init_method=f"file://{folder}/meeting", rank=rank, world_size=num_workers)
    model = small_model(**settings)
    group = Group(rank=rank, num_workers=num_workers, device=torch.device("cuda", rank))
    loss, named = gradients(model, group, num_samples=num_samples)
    if rank == 0:
        buffers = {name: tensor.cpu() for name, tensor in model.named_buffers()}
        torch.save({"loss": loss, "gradients": named, "buffers": buffers}, folder / "found.pt")
    dist.destroy_process_group()
