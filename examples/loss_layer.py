"""Trains a network in one's own loop with the renderer as its loss: it finds masks and is never shown one.

The network sees a photo and says what is the subject; the renderer blurs all else; the loss compares that with the
picture the lens took. ``python examples/loss_layer.py`` learns from made-up portraits and takes some minutes,
``python examples/loss_layer.py --pairs 3 --size 48x32 --steps 120`` some seconds (and learns these three by heart).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbokeh import BokehRenderer
from depthbokeh.color import linear_to_srgb
from depthbokeh.data import random_scene
from depthbokeh.data.synthesize import parse_size
from depthbokeh.photo import write_photo
from depthbokeh.training.losses import area_loss, smoothness_loss, sparsity_loss
from depthbokeh.training.validation import measure_iou

RADIUS = 1 / 16  # blur of what is not subject, share of the longer side


class Pairs(NamedTuple):
    """Pictures, sRGB (N, 3, H, W), and the true masks (N, 1, H, W), which nothing learns from."""

    photo: Tensor
    bokeh: Tensor
    mask: Tensor


class MaskNetwork(nn.Module):
    """Convolutions at a half to a sixteenth of the size; what each says is added up."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        widths = (3, width, width, 2 * width, 2 * width)
        steps = pairwise(widths)
        self.down = nn.ModuleList(nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in steps)
        self.say = nn.ModuleList(nn.Conv2d(width, 1, 3, padding=1) for width in widths[1:])

    def forward(self, photo: Tensor) -> Tensor:
        """The mask ``(B, 1, H, W)`` of photos ``(B, 3, H, W)``."""
        features, logits = photo - 0.5, torch.zeros_like(photo[:, :1])
        for down, say in zip(self.down, self.say, strict=True):
            features = F.relu(down(features))
            logits = logits + F.interpolate(say(features), photo.shape[2:], mode="bilinear")
        return logits.sigmoid()


def make_pairs(count: int, size: tuple[int, int], first: int) -> Pairs:
    """Portraits, traced through a lens: somebody in focus and one plane behind."""
    pairs = []
    for seed in range(first, first + count):
        scene = random_scene(seed, size, portraits=True)
        layers = scene.layers[0], scene.layers[-1]
        strength = RADIUS * max(size) / (layers[1].disparity - layers[0].disparity)
        pairs.append(replace(scene, layers=layers, strength=strength, subject=1).render())
    photo = torch.cat([linear_to_srgb(pair.all_in_focus).clamp(0, 1) for pair in pairs])
    bokeh = torch.cat([linear_to_srgb(pair.bokeh).clamp(0, 1) for pair in pairs])
    return Pairs(photo, bokeh, torch.cat([pair.mask for pair in pairs]))


def train(network: nn.Module, renderer: BokehRenderer, pairs: Pairs, steps: int) -> None:
    """The loop: an ordinary one, in which the renderer is one more layer."""
    optimizer = torch.optim.Adam(network.parameters(), lr=6e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        chosen = torch.randperm(len(pairs.photo))[:8]
        photo, bokeh = pairs.photo[chosen], pairs.bokeh[chosen]
        mask = network(photo)
        # With a mask alone there are two planes: the subject, in focus, and all else.
        rendered = renderer(photo, None, mask, strength=RADIUS * max(photo.shape[2:]))
        loss = F.l1_loss(rendered, bokeh)
        # All sharp and all blurred are local optima; and where the photo is flat, the picture tells nothing.
        bounds = area_loss(mask, least=0.1, most=0.6) + 0.004 * smoothness_loss(mask, photo)
        bounds = bounds.mean() + 0.002 * step / steps * sparsity_loss(mask).mean()
        optimizer.zero_grad()
        (loss + bounds).backward()
        optimizer.step()
        schedule.step()
        if step % max(1, steps // 5) == 0:
            print(f"step {step}: loss {loss.item():.4f}")


def main(argv: Sequence[str] | None = None) -> tuple[float, float]:
    """Returns the masks' mean IoU on the pairs that were learned from, and on others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=48, help="portraits to learn from")
    parser.add_argument("--size", type=parse_size, default=(48, 72), metavar="WxH")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--output", type=Path, default=Path("loss_layer.png"), help="photo, mask, rendered, truth")
    options = parser.parse_args(argv)
    torch.manual_seed(0)
    known = make_pairs(options.pairs, options.size, first=0)
    unseen = make_pairs(max(1, options.pairs // 4), options.size, first=10_000)
    network, renderer = MaskNetwork(), BokehRenderer()
    train(network, renderer, known, options.steps)
    with torch.no_grad():
        masks = [network(pairs.photo) for pairs in (known, unseen)]
        rendered = renderer(known.photo[:4], None, masks[0][:4], strength=RADIUS * max(options.size))
    ious = [float(measure_iou(mask, pairs.mask).mean()) for mask, pairs in zip(masks, (known, unseen), strict=True)]
    print(f"IoU of the masks, of which none was shown: {ious[0]:.2f}, on other portraits {ious[1]:.2f}")
    columns = (known.photo[:4], masks[0][:4].expand(-1, 3, -1, -1), rendered, known.bokeh[:4])
    write_photo(options.output, torch.cat([part for part in torch.cat(columns, 3)], 1), overwrite=True)
    return ious[0], ious[1]


if __name__ == "__main__":
    main()
