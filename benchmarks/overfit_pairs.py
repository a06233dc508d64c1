"""Learns the mask of one photo from its bokeh photograph alone, for each of the real pairs, and draws the curves.

``python benchmarks/overfit_pairs.py --data DIR [--out benchmarks/results] [--pictures DIR]``; see README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from report import replace_file
from tap_loop import describe_machine
from torch import Tensor, nn

from depthbokeh import BokehRenderer
from depthbokeh.data import EBBDataset
from depthbokeh.data.ebb import TrainingItems
from depthbokeh.evaluation.metrics import gain_fitted_psnr
from depthbokeh.photo import write_photo
from depthbokeh.pipeline import BokehPipeline
from depthbokeh.training.lens import LensParameters
from depthbokeh.training.losses import BokehLoss, LossWeights
from depthbokeh.training.model import LearnedPipeline
from depthbokeh.training.validation import measure_iou

Item = dict[str, Tensor]
Row = dict[str, float]
Size = tuple[int, int]

# One setting for all pairs.
SIZE = (192, 288)
STEPS, LENS_STEPS = 100, 60
MASK_RATE, LENS_RATE = 0.05, 0.1
# Subjects of 1 % of the frame are among these pairs, and the box bounds the area anyway.
LOSS = LossWeights(area=0.0, sparsity=0.0, smoothness=0.05)
STRENGTH = 0.01
GAP = 0.5
# Logit of the whole box at the start.
SURENESS = 2.0
ENLARGED = 0.1
STRIDE, LEVELS = 4, 4

MODES = {
    "box": "box, lens fitted",
    "mask": "learned mask, lens fitted",
    "given": "given mask, lens fitted",
}


class FreeMask(nn.Module):
    """A mask of one photo that is nothing but parameters.

    Logits are a sum over grids, each half as fine as the one before, made to follow the photo's edges by a guided
    filter (He et al. 2010). So what is flat, of which the bokeh photograph says nothing, follows its surroundings.

    Args:
        start: ``(1, 1, H, W)``, the box to begin with, of 0 and 1; what is outside is no subject and stays so.
        sureness: Logit of its inside.
        stride: Pixels between the nodes of the finest grid.
        levels: How many grids.
    """

    def __init__(
        self, start: Tensor, *, sureness: float = SURENESS, stride: int = STRIDE, levels: int = LEVELS
    ) -> None:
        super().__init__()
        self.start: Tensor
        self.register_buffer("start", start)
        self.sureness, self.radius = sureness, stride
        height, width = start.shape[2:]
        strides = [stride * 2**level for level in range(levels)]
        self.grids = nn.ParameterList(torch.zeros(1, 1, -(-height // step), -(-width // step)) for step in strides)

    def forward(self, photo: Tensor) -> Tensor:
        """The mask, ``(1, 1, H, W)``."""
        size = (photo.shape[2], photo.shape[3])
        logits = torch.full_like(self.start, self.sureness)
        for grid in self.grids:
            logits = logits + F.interpolate(grid, size, mode="bilinear")
        return self.start * filter_guided(logits.sigmoid(), photo, self.radius).clamp(0, 1)


def filter_guided(plane: Tensor, photo: Tensor, radius: int, noise: float = 1e-3) -> Tensor:
    """A map as a function of the photo's brightness that is linear within every window.

    Args:
        plane: ``(B, 1, H, W)``.
        photo: ``(B, 3, H, W)``, 0..1.
        radius: The windows', pixels.
        noise: Variance of the brightness below which a window counts as flat.
    """

    def average(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, 2 * radius + 1, 1, radius, count_include_pad=False)

    guide = photo.mean(1, keepdim=True)
    mean, center = average(plane), average(guide)
    slope = (average(plane * guide) - mean * center) / (average(guide * guide) - center.square() + noise)
    return average(slope) * guide + average(mean - slope * center)


class FixedMask(nn.Module):
    """A mask that stays as it is."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask: Tensor
        self.register_buffer("mask", mask)

    def forward(self, photo: Tensor) -> Tensor:
        """The mask, ``(1, 1, H, W)``."""
        del photo
        return self.mask


def draw_box(mask: Tensor, enlarged: float = ENLARGED) -> Tensor:
    """The bounding box of a mask ``(1, 1, H, W)``, enlarged on each side by a share of itself, filled with 1."""
    rows, columns = torch.nonzero(mask[0, 0] > 0.5, as_tuple=True)
    if len(rows) == 0:
        raise ValueError("mask is empty: expected some pixels above 0.5")
    box = torch.zeros_like(mask)
    spans = []
    for places, length in ((rows, mask.shape[2]), (columns, mask.shape[3])):
        first, last = int(places.min()), int(places.max()) + 1
        margin = round(enlarged * (last - first))
        spans.append(slice(max(0, first - margin), min(length, last + margin)))
    box[:, :, spans[0], spans[1]] = 1
    return box


def make_model(mask_model: nn.Module, learned: bool, strength: float = STRENGTH) -> LearnedPipeline:
    """The pipeline that a fine-tuning trains, around a mask model of its own."""
    mask_model.requires_grad_(learned)
    lens = LensParameters(strength=strength, learned=["strength"])
    return LearnedPipeline(BokehPipeline(BokehRenderer(), mask_model, None), lens, gap=GAP)


@torch.no_grad()
def judge(model: LearnedPipeline, item: Item) -> tuple[Row, Tensor, Tensor]:
    """Figures of the picture as the pipeline renders it, the picture and the mask."""
    model.eval()
    picture, mask = model(item["photo"], item["disparity"], item["longer_side"], None)
    model.train()
    picture = picture.clamp(0, 1)
    assert mask is not None
    row = {
        "gain_fitted_psnr": float(gain_fitted_psnr(picture, item["bokeh"])),
        "iou": float(measure_iou(mask, item["mask"])),
        "area": float(mask.mean()),
        "strength_px": float(model.lens(None).strength * item["longer_side"]),
    }
    return row, picture, mask


def fit(
    model: LearnedPipeline, item: Item, *, steps: int, every: int, weights: LossWeights = LOSS
) -> tuple[list[Row], Tensor, Tensor]:
    """Trains on one pair; figures before, every so many steps and after, the last picture and mask.

    Where the mask does not learn, the training renders as the evaluation does, and the lens is fitted to that.
    """
    groups = [
        {"params": [p for p in part.parameters() if p.requires_grad], "lr": rate}
        for part, rate in ((model.pipeline, MASK_RATE), (model.lens, LENS_RATE))
    ]
    learns_mask = bool(groups[0]["params"])
    optimizer = torch.optim.Adam([group for group in groups if group["params"]])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    loss_of = BokehLoss(weights, match_exposure=True)
    rows: list[Row] = []
    row, picture, mask = judge(model, item)
    for step in range(steps + 1):
        model.train(learns_mask)
        rendered, found = model(item["photo"], item["disparity"], item["longer_side"], None)
        loss = loss_of(rendered, item["bokeh"], found, item["photo"])["total"]
        if step % every == 0 or step == steps:
            row, picture, mask = judge(model, item)
            rows.append({"step": step, "loss": float(loss.detach()), **row})
        if step < steps:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return rows, picture, mask


def run_pair(item: Item, *, steps: int, every: int) -> tuple[dict[str, list[Row]], dict[str, tuple[Tensor, Tensor]]]:
    """The curves of every mode, and its last picture and mask."""
    box = draw_box(item["mask"])
    curves: dict[str, list[Row]] = {}
    pictures: dict[str, tuple[Tensor, Tensor]] = {}

    def fit_lens(mode: str, mask: Tensor) -> None:
        rows, picture, mask = fit(make_model(FixedMask(mask), learned=False), item, steps=LENS_STEPS, every=every)
        curves[mode], pictures[mode] = rows, (picture, mask)

    fit_lens("box", box)
    curves["learning"], _, mask = fit(make_model(FreeMask(box), learned=True), item, steps=steps, every=every)
    # While it learns, what is not subject is blurred by more than its disparity says; the lens learned that too.
    fit_lens("mask", mask)
    fit_lens("given", item["mask"])
    return curves, pictures


def load_items(data: Path, size: Size) -> dict[str, Item]:
    """The pairs by name, batches of one."""
    pairs = EBBDataset(data / "ebb_pairs", size=size)
    items = TrainingItems(pairs)
    return {
        pair.id: {name: value[None] for name, value in items[number].items()} for number, pair in enumerate(pairs.pairs)
    }


def make_table(curves: dict[str, dict[str, list[Row]]]) -> str:
    """Markdown: gain-fitted PSNR and IoU, from the box at the first strength to the learned mask and beyond."""
    lines = [
        "| pair | box, dB | box, lens fitted, dB | learned mask, lens fitted, dB | given mask, lens fitted, dB "
        "| IoU of the box | IoU of the learned mask |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, modes in curves.items():
        levels = [modes["box"][0], *(modes[mode][-1] for mode in MODES)]
        texts = [f"{row['gain_fitted_psnr']:.2f}" for row in levels]
        texts += [f"{row['iou']:.3f}" for row in (modes["box"][0], modes["mask"][-1])]
        lines.append(f"| {' | '.join([name, *texts])} |")
    return "\n".join(lines)


def draw(curves: dict[str, dict[str, list[Row]]], path: Path) -> None:
    """Writes a PNG: PSNR and IoU over steps, a column for every pair."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(3, len(curves), figsize=(4 * len(curves), 8), layout="constrained", squeeze=False)
    for column, (name, modes) in enumerate(curves.items()):
        steps = [row["step"] for row in modes["learning"]]
        for axes, quantity in zip(panels[:, column], ("gain_fitted_psnr", "iou", "loss"), strict=True):
            axes.plot(steps, [row[quantity] for row in modes["learning"]], color="#2166ac", label="mask learns")
            if quantity == "gain_fitted_psnr":
                for mode, colour in zip(MODES, ("#b2182b", "#2166ac", "#1b7837"), strict=True):
                    axes.axhline(modes[mode][-1][quantity], color=colour, ls="--", lw=1, label=MODES[mode])
            axes.grid(alpha=0.2)
        panels[0, column].set_title(f"pair {name}")
        panels[1, column].set_ylim(0, 1)
        panels[2, column].set_xlabel("step")
    for axes, text in zip(panels[:, 0], ("gain-fitted PSNR [dB]", "IoU with the given mask", "loss"), strict=True):
        axes.set_ylabel(text)
    panels[0, 0].legend(fontsize=8)
    figure.savefig(path, dpi=110, format="png")
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with ebb_pairs, see README.md")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--every", type=int, default=10, help="steps between two points of a curve")
    parser.add_argument("--out", type=Path, help="folder for overfit_pairs.json, .md and .png")
    parser.add_argument("--pictures", type=Path, help="folder for photo, mask, picture and photograph of every pair")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    curves: dict[str, dict[str, list[Row]]] = {}
    for name, item in load_items(arguments.data, SIZE).items():
        curves[name], pictures = run_pair(item, steps=arguments.steps, every=arguments.every)
        if arguments.pictures:
            arguments.pictures.mkdir(parents=True, exist_ok=True)
            for mode, (picture, mask) in pictures.items():
                shown = [item["photo"], mask.expand(-1, 3, -1, -1), picture, item["bokeh"]]
                write_photo(arguments.pictures / f"{name}_{mode}.png", torch.cat(shown, 3), overwrite=True)
    table = make_table(curves)
    print(table)
    if arguments.out:
        save(arguments, curves, table)
    return 0


def save(arguments: argparse.Namespace, curves: dict[str, dict[str, list[Row]]], table: str) -> None:
    settings: dict[str, Any] = {
        "size": SIZE,
        "steps": arguments.steps,
        "lens_steps": LENS_STEPS,
        "mask_rate": MASK_RATE,
        "lens_rate": LENS_RATE,
        "loss": vars(LOSS),
        "strength": STRENGTH,
        "gap": GAP,
        "sureness": SURENESS,
        "enlarged": ENLARGED,
        "stride": STRIDE,
        "levels": LEVELS,
    }
    report = {"machine": describe_machine(), "settings": settings, "curves": curves}
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    arguments.out.mkdir(parents=True, exist_ok=True)
    replace_file(arguments.out / "overfit_pairs.json", lambda part: part.write_text(text, encoding="utf-8"))
    replace_file(arguments.out / "overfit_pairs.md", lambda part: part.write_text(table + "\n", encoding="utf-8"))
    replace_file(arguments.out / "overfit_pairs.png", lambda part: draw(curves, part))


if __name__ == "__main__":
    sys.exit(main())
