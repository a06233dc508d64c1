"""Subject masks: photo ``(B, 3, H, W)`` sRGB 0..1 to mask ``(B, 1, H, W)`` 0..1."""

from depthbokeh.models.masks.deeplab import DeepLab
from depthbokeh.models.masks.deeplabv3 import DeepLabV3
from depthbokeh.models.masks.grabcut import GrabCut
from depthbokeh.models.masks.mask_rcnn import MaskRCNN
from depthbokeh.models.masks.xception import Xception

__all__ = ["DeepLab", "DeepLabV3", "GrabCut", "MaskRCNN", "Xception"]
