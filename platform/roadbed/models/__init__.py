"""The networks: `build_model` makes any of them from a spec."""

from roadbed.models.build import build_model
from roadbed.models.segmentation import SegmentationModel

__all__ = ["SegmentationModel", "build_model"]
