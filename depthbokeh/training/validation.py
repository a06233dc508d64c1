"""How good a pipeline is on pairs that it does not learn from, in figures and in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from depthbokeh.evaluation.metrics import gain_fitted_psnr, psnr, ssim
from depthbokeh.photo import write_photo
from depthbokeh.training.model import LearnedPipeline

_PICTURES = 4


class Scores(NamedTuple):
    """Means over the pairs."""

    psnr: float
    gain_fitted_psnr: float
    ssim: float
    mask_area: float | None
    mask_iou: float | None
    """Against the true masks, where the pairs have some."""


def measure_iou(mask: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union of two masks, each cut at 0.5.

    Args:
        mask: ``(B, 1, H, W)``, 0..1.
        truth: The same.

    Returns:
        ``(B,)``; 1 for two empty masks.

    Example:
        >>> measure_iou(torch.tensor([0.9, 0.8, 0.1]).view(1, 1, 1, 3), torch.tensor([1.0, 0.0, 0.0]).view(1, 1, 1, 3))
        tensor([0.5000])
    """
    found, true = mask > 0.5, truth > 0.5
    either = (found | true).sum((1, 2, 3))
    return torch.where(either > 0, (found & true).sum((1, 2, 3)) / either.clamp(min=1), 1.0)


@torch.no_grad()
def validate(model: LearnedPipeline, pairs: Dataset[Any], device: torch.device, pictures: Path | None) -> Scores:
    """Renders all pairs, one at a time.

    Args:
        model: In evaluation mode.
        pairs: Items by index, see :data:`depthbokeh.training.finetune.Item`.
        device: The model's.
        pictures: Folder for sheets of the first pairs: photo, mask, rendering, photograph.

    Example:
        >>> from depthbokeh.pipeline import BokehPipeline
        >>> from depthbokeh.training.lens import LensParameters
        >>> model = LearnedPipeline(BokehPipeline(), LensParameters(strength=0.05)).eval()
        >>> pair = {"photo": torch.rand(3, 16, 24), "bokeh": torch.rand(3, 16, 24), "longer_side": torch.tensor(24.0)}
        >>> validate(model, [pair], torch.device("cpu"), None).mask_iou is None
        True
    """
    rows: list[list[float]] = []
    found: list[tuple[float, float | None]] = []
    for index in range(len(pairs)):  # type: ignore[arg-type]
        item = {name: value.to(device) for name, value in pairs[index].items()}
        photo, target = item["photo"][None], item["bokeh"][None]
        disparity = item["disparity"][None] if "disparity" in item else None
        bokeh, mask = model(photo, disparity, item["longer_side"][None], None)
        bokeh = bokeh.clamp(0, 1)
        rows.append([float(measure(bokeh, target)) for measure in (psnr, gain_fitted_psnr, ssim)])
        if mask is not None:
            iou = float(measure_iou(mask, item["mask"][None])) if "mask" in item else None
            found.append((float(mask.mean()), iou))
        if pictures is not None and index < _PICTURES:
            shown = [photo, *([] if mask is None else [mask.expand(-1, 3, -1, -1)]), bokeh, target]
            pictures.mkdir(parents=True, exist_ok=True)
            write_photo(pictures / f"{index}.png", torch.cat(shown, 3), overwrite=True)
    means = [sum(column) / len(column) for column in zip(*rows, strict=True)]
    ious = [iou for _, iou in found if iou is not None]
    return Scores(
        means[0],
        means[1],
        means[2],
        sum(area for area, _ in found) / len(found) if found else None,
        sum(ious) / len(ious) if ious else None,
    )
