"""Where instances are: proposals, and what the box head makes of them. Without gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from depthbokeh.models.masks.mask_rcnn.regions import align, clip, suppress

_SAME_PROPOSAL, _SAME_INSTANCE = 0.7, 0.5  # intersection over union
_LEAST_PROPOSAL, _LEAST_INSTANCE = 1e-3, 1e-2  # sides, pixels
_SCORE = 0.05  # less is no detection
# What is suppressed depends on what scores higher alone, so this many best candidates give the same best instances.
_CANDIDATES = 1000
_INSTANCES = 100
_CHUNK = 256  # boxes at a time, for memory


@dataclass(frozen=True)
class Detections:
    """Instances in one photo, best first; boxes in pixels of the photo that the network sees."""

    proposals: Tensor  # (N, 4), what the score comes from
    boxes: Tensor  # (N, 4), the proposal refined
    labels: Tensor  # (N,)
    scores: Tensor  # (N,)

    def __getitem__(self, index: Tensor) -> Detections:
        return Detections(*(getattr(self, field.name)[index] for field in fields(self)))


@torch.no_grad()
def propose(rpn: Any, images: Any, features: Sequence[Tensor], count: int) -> list[Tensor]:
    """Finds boxes that may hold something.

    Args:
        rpn: torchvision's ``RegionProposalNetwork``, whose weights and anchors are used.
        images: torchvision's ``ImageList``.
        features: Of all levels, ``(B, C, h, w)``.
        count: How many are taken of a level, and kept in the end.

    Returns:
        Of each photo ``(N, 4)``, best first.
    """
    objectness, deltas = rpn.head(features)  # of all levels (B, A, h, w) and (B, 4 A, h, w)
    # Of features, anchors take size and dtype; half precision would round them to several pixels.
    wide = torch.promote_types(features[0].dtype, torch.float32)
    maps = [level.new_empty(level.shape[2:], dtype=wide) for level in features]
    anchors = rpn.anchor_generator(images, maps)[0]  # (sum of h w A, 4), the same for all photos
    scores = [level.permute(0, 2, 3, 1).flatten(1) for level in objectness]
    shifts = [level.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3) for level in deltas]
    grids = anchors.split([level.shape[1] for level in scores])
    proposals = []
    for i, (height, width) in enumerate(images.image_sizes):
        boxes, best, levels = [], [], []
        for level, grid in enumerate(grids):
            score, top = scores[level][i].to(wide).topk(min(count, len(grid)))
            boxes.append(rpn.box_coder.decode_single(shifts[level][i, top].to(wide), grid[top]))
            best.append(score)
            levels.append(torch.full_like(top, level))
        every = clip(torch.cat(boxes), height, width)
        sound = _are_larger(every, _LEAST_PROPOSAL)
        every = every[sound]
        kept = suppress(every, torch.cat(best)[sound], torch.cat(levels)[sound], _SAME_PROPOSAL)
        proposals.append(every[kept[:count]])
    return proposals


@torch.no_grad()
def detect(
    heads: Any,
    features: Sequence[Tensor],
    proposals: Sequence[Tensor],
    sizes: Sequence[tuple[int, int]],
    labels: Tensor,
    training: bool,
) -> list[Detections]:
    """Finds the instances among the proposals.

    Args:
        heads: torchvision's ``RoIHeads``, whose weights are used.
        features: Of the four levels, ``(B, C, h, w)``.
        proposals: Of each photo ``(N, 4)``.
        sizes: Height and width of each photo, pixels.
        labels: Of the classes that are looked for, ``(L,)``.
        training: Keep the best whatever they score.

    Returns:
        At most 100 for each photo.
    """
    found = []
    for i, (boxes, (height, width)) in enumerate(zip(proposals, sizes, strict=True)):
        levels = [level[i : i + 1] for level in features]
        outputs = [classify(heads, levels, [part]) for part in torch.split(boxes, _CHUNK)]
        scores = torch.cat([part[0] for part in outputs])[:, labels].flatten()  # (N L,)
        shifts = torch.cat([part[1] for part in outputs])[:, labels].flatten(0, 1)  # (N L, 4)
        scores, top = scores.topk(min(_CANDIDATES, len(scores)))
        if not training:
            top = top[scores > _SCORE]
        source, label = boxes[top // len(labels)], labels[top % len(labels)]
        refined = clip(heads.box_coder.decode_single(shifts[top], source), height, width)
        every = Detections(source, refined, label, scores[: len(top)])
        every = every[_are_larger(refined, _LEAST_INSTANCE)]
        found.append(every[suppress(every.boxes, every.scores, every.labels, _SAME_INSTANCE)[:_INSTANCES]])
    return found


def classify(heads: Any, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the probabilities (N, classes) and the shifts (N, classes, 4) of boxes; differentiable."""
    logits, shifts = heads.box_predictor(heads.box_head(align(features, boxes, 7)))
    wide = torch.promote_types(logits.dtype, torch.float32)
    return logits.to(wide).softmax(1), shifts.to(wide).unflatten(1, (-1, 4))


def segment(heads: nn.Module, features: Sequence[Tensor], found: Sequence[Detections]) -> tuple[Tensor, Tensor]:
    """Draws instances and scores them again, both with gradient.

    Args:
        heads: torchvision's ``RoIHeads``, whose weights are used.
        features: Of the four levels, ``(B, C, h, w)``.
        found: Of each photo, N in all, at least one.

    Returns:
        Masks ``(N, 28, 28)`` over the boxes, and scores ``(N,)``; both 0..1, differentiable in the features.
    """
    parts: Any = heads
    labels = torch.cat([one.labels for one in found])
    every = torch.arange(len(labels), device=labels.device)
    scores = classify(parts, features, [one.proposals for one in found])[0][every, labels]
    logits = parts.mask_predictor(parts.mask_head(align(features, [one.boxes for one in found], 14)))
    return logits[every, labels].to(scores.dtype).sigmoid(), scores


def _are_larger(boxes: Tensor, side: float) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2] >= side).all(1)
