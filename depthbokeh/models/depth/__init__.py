"""Depth maps: photo ``(B, 3, H, W)`` sRGB 0..1 to disparity ``(B, 1, H, W)`` 0..1, larger is nearer."""

from depthbokeh.models.depth.ground_plane import GroundPlane

__all__ = ["GroundPlane"]
