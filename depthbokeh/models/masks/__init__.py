"""Subject masks: photo ``(B, 3, H, W)`` sRGB 0..1 to mask ``(B, 1, H, W)`` 0..1."""

from depthbokeh.models.masks.deeplab import DeepLab
from depthbokeh.models.masks.deeplabv3 import DeepLabV3
from depthbokeh.models.masks.grabcut import GrabCut
from depthbokeh.models.masks.mask_rcnn import MaskRCNN
from depthbokeh.models.masks.sources import CallableMask, FileMask
from depthbokeh.models.masks.transformer import TransformersMask
from depthbokeh.models.masks.xception import Xception

__all__ = [
    "CallableMask",
    "DeepLab",
    "DeepLabV3",
    "FileMask",
    "GrabCut",
    "MaskRCNN",
    "TransformersMask",
    "Xception",
]
