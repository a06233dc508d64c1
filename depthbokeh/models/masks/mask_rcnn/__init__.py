"""Mask R-CNN: instances of 80 classes, of which the subject is chosen.

The modules that hold weights are torchvision's, so that its checkpoints fit key for key; what happens between them is
written here. torchvision's own needs compiled operators, gives no masks in training and rounds boxes when it pastes
them; without, the same few steps run on every machine and pass gradients on.
"""

from depthbokeh.models.masks.mask_rcnn.choice import Choice
from depthbokeh.models.masks.mask_rcnn.model import MaskRCNN, mask_rcnn_resnet50_fpn

__all__ = ["Choice", "MaskRCNN", "mask_rcnn_resnet50_fpn"]
