"""The mask model: from a photo through instances to the subject's mask."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from depthbokeh.models.checkpoints import load_checkpoint, read_checkpoint
from depthbokeh.models.inputs import Box, Point, check_boxes, check_photo, check_points, normalize_photo
from depthbokeh.models.masks.base import MaskModel
from depthbokeh.models.masks.mask_rcnn.choice import Choice, choose, find_inside, find_under
from depthbokeh.models.masks.mask_rcnn.detection import Detections, detect, propose, segment
from depthbokeh.models.masks.mask_rcnn.keys import rename_keys
from depthbokeh.models.masks.mask_rcnn.network import (
    LIVING,
    Body,
    build_network,
    find_labels,
    name_labels,
    open_heads,
)
from depthbokeh.models.masks.mask_rcnn.pasting import sample, unite
from depthbokeh.models.registry import Pretrained, register_mask_model
from depthbokeh.models.weights import find_weights

_MULTIPLE = 32  # what the sides of the network's photo are multiples of


class MaskRCNN(MaskModel):
    """Mask R-CNN with a feature pyramid: the soft union of the instances that are the subject.

    The mask is ``1 - prod(1 - p s)`` over instances with mask ``p`` and score ``s``. Which instances:

    - With a point, the one instance whose mask times score is highest there (where no box holds the point, the
      nearest).
    - With a box, every sure instance of which at least 70 % lie in it (where there is none, the one most like it).
    - Else, as ``choice`` says. ``"subject"`` is what one would focus on: an instance's importance is its score, times
      its linear extent, times its centrality (1 in the middle, 1/2 in the corners), times 0.3 for things, because a
      person behind a table is meant, not the table. The most important one is subject, and every other at least half
      as important: a couple, a group, but not passers-by far behind. ``"largest"`` and ``"central"`` take one
      instance, ``"all"`` all.

    An instance is sure from a score of 0.5 on; where none is, the one with the highest score counts as sure. A photo
    in which nothing scores above 0.05 has an empty mask.

    Masks and scores are differentiable in weights and photo; boxes are constants to the gradient, and what makes boxes
    alone, the region proposal network above all, is not trained. In training mode there is no least score, and
    ``"subject"``, ``"all"`` and a box take the 16 most important instances, sure or not: what the network overlooks
    can be learnt, and from fresh weights too a gradient comes. No annotation is needed. Levels of the pyramid on which
    no instance lies get no gradient (``skips_parameters``; ``find_unused_parameters`` for ``DistributedDataParallel``).

    K. He et al., "Mask R-CNN", ICCV 2017. The tensors are those of torchvision's ``maskrcnn_resnet50_fpn``.

    Example:
        >>> model = MaskRCNN(body="resnet10", channels=8, hidden=8, proposals=20, min_size=64).eval()
        >>> model(torch.rand(1, 3, 48, 64), point=(20, 30)).shape
        torch.Size([1, 1, 48, 64])
    """

    skips_parameters = True

    def __init__(
        self,
        *,
        classes: str | Sequence[str] | None = None,
        choice: Choice = "subject",
        trainable_layers: int = 5,
        frozen_bn: bool = True,
        min_size: int = 800,
        max_size: int = 1333,
        proposals: int = 1000,
        body: Body = "resnet50",
        channels: int = 256,
        hidden: int = 1024,
    ) -> None:
        """Build the network with fresh weights.

        Args:
            classes: Names of COCO's classes of which the subject is; ``None`` for all 80.
            choice: Which instances are the subject where neither box nor point is given.
            trainable_layers: 0 to 5, how many of the body's five stages are trained, counted from the last.
            frozen_bn: Whether BatchNorm's statistics and factors are constants, as in the published weights.
            min_size: What the network scales a photo's shorter side to, pixels.
            max_size: What the longer side does not exceed then, pixels.
            proposals: How many regions are looked at in a photo.
            body: The ResNet below; published weights are of ``"resnet50"``; ``"resnet10"`` is for trials.
            channels: Of the feature pyramid and the mask head; published weights have 256.
            hidden: Of the box head; published weights have 1024.

        Raises:
            ValueError: If an argument is out of range, or a class is unknown.
        """
        super().__init__()
        if choice not in get_args(Choice):
            raise ValueError(f"choice is {choice!r}: expected one of {', '.join(get_args(Choice))}")
        if proposals < 1:
            raise ValueError(f"proposals is {proposals}: expected at least 1")
        if not 1 <= min_size <= max_size:
            raise ValueError(f"min_size is {min_size}, max_size {max_size}: expected 1 <= min_size <= max_size")
        network: Any = build_network(body, channels, hidden, frozen_bn, trainable_layers)
        self.backbone = network.backbone
        self.rpn = network.rpn
        self.roi_heads = network.roi_heads
        # What makes boxes alone gets no gradient, and is not to look as if it learned.
        for part in (self.rpn, self.roi_heads.box_predictor.bbox_pred):
            part.requires_grad_(False)
        self.choice: Choice = choice
        self.min_size, self.max_size = min_size, max_size
        self.proposals = proposals
        self._labels = list(range(1, len(name_labels()))) if classes is None else find_labels(classes)
        self._living = find_labels(LIVING)
        if classes is not None:
            open_heads(self.roi_heads, self._labels)

    def forward(
        self,
        photo: Tensor,
        box: Tensor | Sequence[float] | None = None,
        point: Tensor | Sequence[float] | None = None,
    ) -> Tensor:
        """Finds the subject.

        Args:
            photo: ``(B, 3, H, W)``, sRGB 0..1.
            box: ``(x, y, width, height)`` in pixels, for all photos, or a tensor ``(B, 4)`` with one for each: the
                instances in it are the subject.
            point: ``(x, y)`` in pixels or a tensor ``(B, 2)``: the instance there is the subject; with a box, of those
                in it.

        Returns:
            Mask ``(B, 1, H, W)``, 0..1, soft, with the photo's dtype and device; differentiable in photo and weights.

        Raises:
            ValueError: A shape is not as above, the photo is not floating-point, or box or point miss the frame.
        """
        check_photo(photo)
        batch, _, height, width = photo.shape
        boxes = [None] * batch if box is None else check_boxes(box, batch, height, width)
        points = [None] * batch if point is None else check_points(point, batch, height, width)
        if not batch:
            return photo.new_zeros(0, 1, height, width)
        images = self._prepare(photo.to(self.backbone.body.conv1.weight.dtype))
        features = list(self.backbone(images.tensors).values())
        found = self._detect(images, features)
        masks = []
        for i in range(batch):
            levels = [level[i : i + 1] for level in features[:4]]
            ratio = _compare(images.image_sizes[i], height, width, found[i].boxes)
            chosen = self._choose(levels, found[i], ratio, height, width, boxes[i], points[i])
            masks.append(self._draw(levels, found[i][chosen], ratio, height, width))
        return torch.stack(masks)[:, None].to(photo.dtype)

    def predict(self, photo: Tensor) -> Tensor:
        """Return the mask (B, 1, H, W) of what :meth:`forward` takes for the subject by itself."""
        return self(photo)  # type: ignore[no-any-return]

    def _prepare(self, photo: Tensor) -> Any:
        """Torchvision's ImageList of photos at the network's size, their sides continued by zeros."""
        height, width = photo.shape[2:]
        scale = min(self.min_size / min(height, width), self.max_size / max(height, width))
        size = max(1, int(height * scale)), max(1, int(width * scale))
        scaled = normalize_photo(F.interpolate(photo, size, mode="bilinear", align_corners=False))
        padded = F.pad(scaled, (0, -size[1] % _MULTIPLE, 0, -size[0] % _MULTIPLE))
        images = import_module("torchvision.models.detection.image_list")
        return images.ImageList(padded, [size] * len(photo))

    def _detect(self, images: Any, features: list[Tensor]) -> list[Detections]:
        proposals = propose(self.rpn, images, features, self.proposals)
        labels = torch.tensor(self._labels, device=features[0].device)
        return detect(self.roi_heads, features[:4], proposals, images.image_sizes, labels, self.training)

    def _choose(
        self,
        levels: list[Tensor],
        found: Detections,
        ratio: Tensor,
        height: int,
        width: int,
        box: Box | None,
        point: Point | None,
    ) -> Tensor:
        """Indices of the instances in one photo that are meant."""
        places = found.boxes * ratio
        if point is None:
            living = torch.isin(found.labels, found.labels.new_tensor(self._living))
            return choose(places, found.scores, living, height, width, self.choice, box, self.training)
        meant = find_inside(places, box, self.training)
        meant = meant[find_under(places[meant], point)]
        if len(meant) < 2:
            return meant
        with torch.no_grad():
            masks, scores = segment(self.roi_heads, levels, [found[meant]])
            return meant[(scores * sample(masks, places[meant], *point)).argmax()][None]

    def _draw(self, levels: list[Tensor], chosen: Detections, ratio: Tensor, height: int, width: int) -> Tensor:
        """The mask (H, W) of instances in one photo."""
        if not len(chosen.labels):
            # Part of the graph still: a step of training on it changes nothing, and NaN is not taken for nothing.
            return (levels[-1].to(ratio.dtype).mean() * 0).expand(height, width)
        masks, scores = segment(self.roi_heads, levels, [chosen])
        with torch.autocast(masks.device.type, enabled=False):  # half precision would move the edges
            return unite(masks * scores[:, None, None], chosen.boxes * ratio, height, width)


@register_mask_model("mask_rcnn_resnet50_fpn")
def mask_rcnn_resnet50_fpn(*, pretrained: Pretrained = False, **kwargs: Any) -> MaskRCNN:
    """Build a :class:`MaskRCNN`.

    Args:
        pretrained: ``False`` for fresh weights, ``True`` for the published ones, or a checkpoint: torchvision's, with
            its older or its newer names, or one of this model.
        **kwargs: Passed on to :class:`MaskRCNN`.

    Raises:
        CheckpointError: The weights cannot be had or are not this model's.
        ValueError: An argument is out of range.
    """
    path = find_weights("mask_rcnn_resnet50_fpn", pretrained)
    model = MaskRCNN(**kwargs)
    if path is not None:
        load_checkpoint(model, rename_keys(read_checkpoint(path)), path)
    return model


def _compare(size: tuple[int, int], height: int, width: int, like: Tensor) -> Tensor:
    """How many pixels of the photo one of the network's photo is, for each side of a box, (4)."""
    return like.new_tensor([width / size[1], height / size[0]] * 2)
