"""Do masks learn from bokeh photographs alone? Three models, made-up portraits, and what they are compared with.

Each model is trained in four ways, with the same photos and rates:

- ``bokeh``: by the bokeh pictures alone, through the renderer. No mask is ever shown.
- ``frozen``: the mask model stays as it began, the lens alone learns.
- ``no gradient``: the mask's own losses act, but the picture's gradient does not reach it.
- ``true masks``: by the true masks instead of bokeh, the ceiling.

All are judged on portraits never seen: PSNR and SSIM of the rendered pictures, IoU of the masks. "Blend with Gaussian"
takes the masks that were learned by bokeh for a plain blend of the photo with one Gaussian blur of it, whose width is
the best for the pictures learned from.

    python benchmarks/finetune_experiment.py --out benchmarks/results          28 minutes on two cores

With ``--data`` it is real pairs that teach, prepared by ``depthbokeh prepare`` so that they have disparity and masks to
judge by, and with ``--full`` the full models, which wants a GPU:

    python benchmarks/finetune_experiment.py --data EBB --full --size 768x512 --steps 20000 --out DIR
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from report import replace_file
from tap_loop import describe_machine
from torch import Tensor

from depthbokeh.data.synthesize import Recipe, parse_size, write_pairs
from depthbokeh.evaluation.metrics import gain_fitted_psnr, psnr, ssim
from depthbokeh.photo import read_photo, write_photo
from depthbokeh.training.config import FinetuneConfig
from depthbokeh.training.finetune import Trainer
from depthbokeh.training.losses import LossWeights
from depthbokeh.training.model import LearnedPipeline, Prediction
from depthbokeh.training.setup import build_model, load_pairs
from depthbokeh.training.validation import validate

SIZE = (96, 144)
PAIRS, UNSEEN = 640, 40
WAYS = ("bokeh", "frozen", "no gradient", "true masks")
_FIRST = ("deeplab", "bokeh")
SHOWN = 2
# Where the lens alone learns, or the mask has nothing to learn from, less is enough.
SHORT = {"frozen": 100, "no gradient": 200}

FULL: dict[str, dict[str, Any]] = {
    "deeplab": {"steps": 20_000, "mask_model": "deeplab_mobilenet", "mask_options": {"backbone_weights": True}},
    "mask_rcnn": {"steps": 20_000, "mask_model": "mask_rcnn_resnet50_fpn", "mask_weights": "published"},
    "xception": {"steps": 20_000, "mask_model": "xception", "mask_options": {"backbone_weights": True}},
}
# Small enough for two cores and pictures of 144 x 96; layouts, losses and renderer are those of the full models.
SMALL: dict[str, dict[str, Any]] = {
    "deeplab": {
        "steps": 600,
        "lr": 3e-3,
        "mask_model": "deeplab_mobilenet",
        "mask_options": {"backbone": "test_resnet", "width": 32},
    },
    "mask_rcnn": {
        "steps": 600,
        "lr": 1e-3,
        "mask_model": "mask_rcnn_resnet50_fpn",
        "mask_options": {
            "classes": "person",
            "body": "resnet10",
            "channels": 32,
            "hidden": 64,
            "proposals": 60,
            "min_size": 96,
            "frozen_bn": False,
        },
    },
    "xception": {
        "steps": 800,
        "lr": 3e-3,
        "mask_model": "xception",
        "mask_options": {"backbone": "test_resnet", "width": 32, "stride": 8},
    },
}


class MaskLearner(LearnedPipeline):
    """The same pipeline, taught by true masks: they take the place of the bokeh picture, and the mask that of ours."""

    def forward(
        self, photo: Tensor, disparity: Tensor | None, longer_side: Tensor, number: Tensor | None
    ) -> Prediction:
        """In training mode the mask as a picture, so that the trainer's loss compares it with the true one."""
        if not self.training:
            return super().forward(photo, disparity, longer_side, number)
        mask = self.pipeline.find_mask(photo)
        assert mask is not None
        return Prediction(mask.expand(-1, 3, -1, -1), None)


class TrueMasks(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Pairs whose bokeh picture is the true mask."""

    def __init__(self, pairs: Any) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, key: Any) -> dict[str, Tensor]:
        item = self._pairs[key]
        return {**item, "bokeh": item["mask"].expand(3, -1, -1)}


class Setup(NamedTuple):
    """What is the same for all runs."""

    data: str
    steps: int | None
    size: tuple[int, int]
    real: bool
    full: bool


def make_config(setup: Setup, model: str, way: str) -> FinetuneConfig:
    """The settings of one run."""
    portraits = {
        "train_split": f"{UNSEEN}-{PAIRS - 1}",
        "val_split": f"0-{UNSEEN - 1}",
        "disparity": "coarse_disparity",
        "match_exposure": False,
    }
    settings = dict((FULL if setup.full else SMALL)[model])
    own_steps = settings.pop("steps")
    steps = own_steps if setup.steps is None else setup.steps
    config = FinetuneConfig(
        data=setup.data,
        size=setup.size,
        gap=0.2,
        strength=0.04,
        learn_per_photo=("strength",),
        steps=min(steps, SHORT.get(way, steps)),
        batch=8,
        clip=None,
        workers=0,
        validate_every=max(1, steps // 2),
        save_every=steps,
        keep=1,
        **({} if setup.real else portraits),
        **settings,
    )
    if way == "frozen":
        config = replace(config, train_mask=False, loss=LossWeights(area=0, sparsity=0, smoothness=0))
    elif way == "no gradient":
        config = replace(config, mask_gradient=False)
    elif way == "true masks":
        config = replace(config, learn=(), learn_per_photo=(), loss=LossWeights(area=0, sparsity=0, smoothness=0))
    return config


def run_one(setup: Setup, model: str, way: str, run: Path, strength: float) -> dict[str, Any]:
    """Trains one model in one way; returns what is known before, after and on the way."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = make_config(setup, model, way)
    pairs, unseen = (load_pairs(config, split, training=part) for split, part in (
        (config.train_split, True), (config.val_split, False)
    ))  # fmt: skip
    learned = build_model(config, len(pairs))
    if model == "mask_rcnn" and config.train_mask and not setup.full:
        # Of fresh weights boxes and scores are no detector's, and nothing here teaches boxes: all regions stay the
        # subject's, and backbone and mask head learn what in them is.
        heads = learned.pipeline.get_submodule("mask_model.roi_heads")
        heads.get_submodule("box_head").requires_grad_(False)
        heads.get_submodule("box_predictor").requires_grad_(False)
    if way == "true masks":
        learned.__class__ = MaskLearner
        # No bokeh is seen, so nothing could tell the strength.
        learned.lens.strength.data.fill_(torch.tensor(strength).log())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = validate(learned.to(device).eval(), unseen, device, run / "pictures" / f"{0:08}")
    trainer = Trainer(learned, config, TrueMasks(pairs) if way == "true masks" else pairs, unseen, run)
    trainer.resume()
    after = trainer.train().scores or validate(learned.eval(), unseen, device, None)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    result = {
        "model": model,
        "way": way,
        "steps": config.steps,
        "parameters": sum(parameter.numel() for parameter in learned.pipeline.parameters()),
        "before": before._asdict(),
        "after": after._asdict(),
        "strength": float(learned.lens(None).strength.detach()),
        "curve": [{"step": line["step"], **line["validation"]} for line in lines if "validation" in line],
    }
    if way == "bokeh":
        result["gaussian"] = judge_gaussian(learned.cpu(), pairs, unseen)
    return result


def judge_gaussian(learned: LearnedPipeline, pairs: Any, unseen: Any) -> dict[str, float]:
    """A blend of the photo and its Gaussian blur by the learned mask, the width being the best on 40 learned from."""

    @torch.no_grad()
    def blend(item: dict[str, Tensor], sigma: float) -> Tensor:
        photo = item["photo"][None]
        mask = learned.eval().pipeline.find_mask(photo)
        taps = 2 * int(3 * sigma) + 1
        offsets = torch.arange(taps, dtype=photo.dtype) - taps // 2
        kernel = torch.exp(-0.5 * (offsets / sigma).square())
        kernel = (kernel / kernel.sum()).expand(3, 1, -1)
        wide = F.pad(photo, (taps // 2,) * 4, mode="replicate")
        blurred = F.conv2d(F.conv2d(wide, kernel[..., None, :], groups=3), kernel[..., :, None], groups=3)
        return mask * photo + (1 - mask) * blurred

    sample = [pairs.dataset[index] for index in range(40)]
    sigmas = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8)
    known = [{name: pair[name] for name in ("photo", "bokeh")} for pair in sample]
    scores = {sigma: sum(float(psnr(blend(item, sigma), item["bokeh"][None])) for item in known) for sigma in sigmas}
    best = max(scores, key=scores.__getitem__)
    measures = {"psnr": psnr, "gain_fitted_psnr": gain_fitted_psnr, "ssim": ssim}
    rows = [(blend(unseen[i], best).clamp(0, 1), unseen[i]["bokeh"][None]) for i in range(len(unseen))]
    return {"sigma": best} | {
        name: sum(float(measure(*row)) for row in rows) / len(rows) for name, measure in measures.items()
    }


def run_all(setup: Setup, work: Path) -> list[dict[str, Any]]:
    """All runs, two at a time, each in a process of one thread; what takes long begins early."""
    results: dict[tuple[str, str], dict[str, Any]] = {}

    def command(model: str, way: str) -> list[str]:
        name = work / f"{model}-{way.replace(' ', '_')}"
        # The strength is the photographs', not the model's: every other run begins with what the first has found.
        strength = results[_FIRST]["strength"] if way == "true masks" else 0.0
        return [sys.executable, __file__, "--one", model, way, "--setup", json.dumps(setup), "--run", str(name),
                "--strength", str(strength)]  # fmt: skip

    waiting = [
        ("mask_rcnn", "bokeh"),
        _FIRST,
        ("mask_rcnn", "true masks"),
        *((model, way) for way in WAYS for model in ("xception", "deeplab") if (model, way) != _FIRST),
        ("mask_rcnn", "no gradient"),
        ("mask_rcnn", "frozen"),
    ]
    running: dict[tuple[str, str], subprocess.Popen[str]] = {}
    while waiting or running:
        while waiting and len(running) < 2:
            if waiting[0][1] == "true masks" and _FIRST not in results:
                break
            key = waiting.pop(0)
            running[key] = subprocess.Popen(command(*key), stdout=subprocess.PIPE, text=True)
        for key, process in list(running.items()):
            if process.poll() is None:
                continue
            output = process.communicate()[0]
            if process.returncode:
                raise RuntimeError(f"{key}: failed with status {process.returncode}")
            results[key] = json.loads(output.splitlines()[-1])
            del running[key]
            print(f"{key}: {results[key]['after']}", flush=True)
        time.sleep(0.2)
    return [results[model, way] for model in SMALL for way in WAYS]


def draw_sheet(work: Path) -> Tensor:
    """Unseen photos, a row for each and model: photo, mask and picture before, mask and picture after, the bokeh."""
    rows = []
    for model in SMALL:
        steps = sorted((work / f"{model}-bokeh" / "pictures").iterdir())
        for photo in range(SHOWN):
            before, after = (read_photo(step / f"{photo}.png").image.chunk(4, 3) for step in (steps[0], steps[-1]))
            rows.append(torch.cat([before[0], *before[1:3], *after[1:]], 3))
    return torch.cat(rows, 2)


def format_table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = [
        "| model | way | PSNR, dB | gain-fitted PSNR | SSIM | mask IoU | mask area |",
        "|---|---|---|---|---|---|---|",
    ]

    def add(model: str, way: str, scores: dict[str, Any]) -> None:
        mask = [f"{scores[name]:.3f}" if name in scores else "" for name in ("mask_iou", "mask_area")]
        figures = [f"{scores['psnr']:.2f}", f"{scores['gain_fitted_psnr']:.2f}", f"{scores['ssim']:.4f}", *mask]
        lines.append("| " + " | ".join([model, way, *figures]) + " |")

    for result in results:
        if result["way"] == "bokeh":
            add(result["model"], "before training", result["before"])
        add(result["model"], {"bokeh": "**bokeh alone**"}.get(result["way"], result["way"]), result["after"])
        if "gaussian" in result:
            add(
                result["model"],
                f"its mask, blend with Gaussian (sigma {result['gaussian']['sigma']})",
                result["gaussian"],
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parses the arguments and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for finetune.json, finetune.md and finetune.png")
    parser.add_argument("--steps", type=int, help="of every run, by default each model's own")
    parser.add_argument("--data", type=Path, help="real pairs in a layout of EBB!; by default portraits are made up")
    parser.add_argument("--size", type=parse_size, default=SIZE, help="WxH, default 144x96")
    parser.add_argument("--full", action="store_true", help="the full models with published weights")
    parser.add_argument(
        "--work", type=Path, help="folder for pairs and runs, where what was stopped goes on; default: a temporary one"
    )
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "WAY"), help=argparse.SUPPRESS)
    parser.add_argument("--setup", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--strength", type=float, default=0.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        data, steps, size, *kinds = arguments.setup
        setup = Setup(data, steps, (size[0], size[1]), *kinds)
        result = run_one(setup, *arguments.one, arguments.run, arguments.strength)
        print(json.dumps(result))
        return
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        if arguments.data is None:
            write_pairs(work / "pairs", PAIRS, Recipe(size=arguments.size, portraits=True))
        data, real = (work / "pairs", False) if arguments.data is None else (arguments.data.resolve(), True)
        results = run_all(Setup(str(data), arguments.steps, arguments.size, real, arguments.full), work)
        sheet = draw_sheet(work)
    table = format_table(results)
    print(table)
    if arguments.out:
        report = {"machine": describe_machine(), "minutes": round((time.monotonic() - started) / 60, 1)}
        arguments.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**report, "results": results}, indent=1) + "\n"
        replace_file(arguments.out / "finetune.json", lambda path: path.write_text(text))
        replace_file(arguments.out / "finetune.md", lambda path: path.write_text(table))
        write_photo(arguments.out / "finetune.png", sheet, overwrite=True)


if __name__ == "__main__":
    main()
