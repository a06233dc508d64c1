"""Mask and depth models, by name.

Importing this registers every model and loads torch and NumPy alone: what a model needs beyond them (OpenCV,
torchvision) is imported when the model is built or runs.
"""

from depthbokeh.models import depth, masks
from depthbokeh.models.registry import (
    create_depth_model,
    create_mask_model,
    list_depth_models,
    list_mask_models,
    register_depth_model,
    register_mask_model,
)
from depthbokeh.models.tiling import TiledModel

__all__ = [
    "TiledModel",
    "create_depth_model",
    "create_mask_model",
    "depth",
    "list_depth_models",
    "list_mask_models",
    "masks",
    "register_depth_model",
    "register_mask_model",
]
