"""Which of the instances in a photo are its subject."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from depthbokeh.models.inputs import Box, Point
from depthbokeh.models.masks.mask_rcnn.regions import measure_area, measure_overlap

Choice: TypeAlias = Literal["subject", "largest", "central", "all"]

_SURE = 0.5  # score from which on an instance is there
_THING = 0.3  # what a thing counts beside a living being
_CORNER = 0.5  # what an instance in the frame's corner counts beside one in the middle
_EQUAL = 0.5  # share of the most important instance's importance from which on another is subject too
_WITHIN = 0.7  # share of an instance that lies in a box drawn round it
_TRAINED = 16  # instances that get a gradient


def choose(
    boxes: Tensor,
    scores: Tensor,
    living: Tensor,
    height: int,
    width: int,
    choice: Choice = "subject",
    box: Box | None = None,
    training: bool = False,
) -> Tensor:
    """Chooses instances as :class:`MaskRCNN` describes.

    Args:
        boxes: ``(N, 4)``, left, top, right, bottom in pixels of the photo.
        scores: ``(N,)``, 0..1.
        living: ``(N,)``, whether it is a person or an animal.
        height: Of the photo, pixels.
        width: Of the photo, pixels.
        choice: The rule where no box is given.
        box: ``(x, y, width, height)``: what is in it.
        training: Take the most important instances, however sure, where the rule may take several.

    Returns:
        Indices; none only if there is nothing to choose from.

    Example:
        >>> boxes = torch.tensor([[30.0, 10, 60, 80], [70, 50, 100, 80]])
        >>> choose(boxes, torch.tensor([0.9, 0.9]), torch.tensor([True, False]), 80, 100)
        tensor([0])
    """
    meant = find_inside(boxes, box, training)
    if not len(meant):
        return meant
    importance = weigh(boxes, scores, living, height, width)
    # Where nothing is sure, the surest is.
    sure = meant[scores[meant] >= scores[meant].max().clamp(max=_SURE)]
    if box is None and choice == "largest":
        return sure[measure_area(boxes[sure]).argmax()][None]
    if box is None and choice == "central":
        return sure[_measure_offset(boxes[sure], height, width).argmin()][None]
    if training:
        return meant[importance[meant].argsort(descending=True)[:_TRAINED]]
    if box is None and choice == "subject":
        return sure[importance[sure] >= _EQUAL * importance[sure].max()]
    return sure


def weigh(boxes: Tensor, scores: Tensor, living: Tensor, height: int, width: int) -> Tensor:
    """Return how important instances are, (N,): score times extent times centrality, things less than the living."""
    extent = (measure_area(boxes) / (height * width)).sqrt()
    centrality = 1 - (1 - _CORNER) * _measure_offset(boxes, height, width)
    return scores * extent * centrality * torch.where(living, 1.0, _THING)


def find_inside(boxes: Tensor, box: Box | None, training: bool = False) -> Tensor:
    """Return which of the boxes (N, 4) lie in a drawn one; else the most alike; if none overlaps, all in training."""
    every = torch.arange(len(boxes), device=boxes.device)
    if box is None:
        return every
    x, y, across, down = box
    drawn = boxes.new_tensor([x, y, x + across, y + down])
    common, areas = measure_overlap(boxes, drawn), measure_area(boxes)
    inside = every[common >= _WITHIN * areas]
    if len(inside):
        return inside
    if common.any():
        return (common / (areas + across * down - common)).argmax()[None]
    return every if training else inside


def find_under(boxes: Tensor, point: Point) -> Tensor:
    """Return which of the boxes (N, 4) hold a point; else the nearest."""
    at = boxes.new_tensor(point)
    away = (boxes[:, :2] - at).clamp(min=0) + (at - boxes[:, 2:]).clamp(min=0)  # (N, 2)
    distance = away.square().sum(1)
    return (distance <= distance.min()).nonzero()[:, 0] if len(boxes) else distance.nonzero()[:, 0]


def _measure_offset(boxes: Tensor, height: int, width: int) -> Tensor:
    """Squared distance of the middles from the frame's, 0..1, 1 in its corners, (N,)."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    return (middles / boxes.new_tensor([width, height]) * 2 - 1).square().mean(1)
