"""Depth maps: photo ``(B, 3, H, W)`` sRGB 0..1 to disparity ``(B, 1, H, W)`` 0..1, larger is nearer."""

from depthbokeh.models.depth.base import DepthKind, DepthModel, convert_to_disparity
from depthbokeh.models.depth.ground_plane import GroundPlane
from depthbokeh.models.depth.megadepth import MegaDepth
from depthbokeh.models.depth.sources import CallableDepth, FileDepth, read_disparity_file
from depthbokeh.models.depth.transformer import TransformersDepth

__all__ = [
    "CallableDepth",
    "DepthKind",
    "DepthModel",
    "FileDepth",
    "GroundPlane",
    "MegaDepth",
    "TransformersDepth",
    "convert_to_disparity",
    "read_disparity_file",
]
