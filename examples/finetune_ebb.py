"""Fine-tunes a mask model on pairs of photographs, as ``depthbokeh finetune`` does, from Python.

``python examples/finetune_ebb.py runs/short`` makes up pairs beside the run and learns from them for minutes;
``--pairs 4 --size 48x32 --steps 12`` is the short form. EBB! itself, prepared by ``depthbokeh prepare``:
``--data ebb/ --size 768x512 --mask-model deeplab_vgg16 --steps 20000``. Several processes share the work:
``torchrun --nproc-per-node 2 examples/finetune_ebb.py runs/short``, or ``accelerate launch`` before the script's
name. It needs ``pip install 'depthbokeh[train]'``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import PartialState

from depthbokeh.data import Recipe, write_pairs
from depthbokeh.data.synthesize import parse_size
from depthbokeh.training.config import FinetuneConfig
from depthbokeh.training.finetune import Trainer
from depthbokeh.training.setup import build_model, keep_config, load_pairs
from depthbokeh.training.validation import Scores, validate

_JUDGED = 1 / 6  # of the made-up pairs


def make_config(options: argparse.Namespace) -> FinetuneConfig:
    """Settings for real pairs, or for small made-up ones and a network that is as small."""
    common = FinetuneConfig(size=options.size, steps=options.steps, learn_per_photo=("strength",), workers=0)
    if options.data is not None:
        model = options.mask_model or "deeplab_vgg16"
        return replace(common, data=str(options.data), mask_model=model, workers=2)
    judged = max(1, round(_JUDGED * options.pairs))
    return replace(
        common,
        data=str(options.run.with_name(f"{options.run.name}_pairs")),
        train_split=f"{judged}-{options.pairs - 1}",
        val_split=f"0-{judged - 1}",
        disparity="coarse_disparity",
        mask_model=options.mask_model or "deeplab_mobilenet",
        mask_options={} if options.mask_model else {"backbone": "test_resnet", "width": 32},
        # A radius below half a pixel lies within its pixel, and nothing would be learned from it.
        strength=0.06,
        gap=0.2,
        batch=4,
        lr=3e-3,
        validate_every=max(1, options.steps // 4),
    )


def main(argv: Sequence[str] | None = None) -> tuple[Scores, Scores] | None:
    """Returns the scores before and after, on pairs that nothing was learned from; in one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a new folder for all that the run writes")
    parser.add_argument("--data", type=Path, help="prepared pairs; without, pairs are made up")
    parser.add_argument("--pairs", type=int, default=60, help="how many are made up")
    parser.add_argument("--size", type=parse_size, default=(96, 144), metavar="WxH")
    parser.add_argument("--mask-model")
    parser.add_argument("--steps", type=int, default=120)
    options = parser.parse_args(argv)
    config = make_config(options)
    state = PartialState(cpu=not torch.cuda.is_available())
    torch.manual_seed(config.seed)
    if options.data is None:
        with state.main_process_first():  # the others find them there
            write_pairs(Path(config.data), options.pairs, Recipe(size=options.size, portraits=True), workers=1)

    known, unseen = (
        load_pairs(config, split, training=split == config.train_split)
        for split in (config.train_split, config.val_split)
    )
    model = build_model(config, len(known))
    before = validate(model.eval(), unseen, torch.device("cpu"), None) if state.is_main_process else None
    trainer = Trainer(model, config, known, unseen, options.run)
    if trainer.is_main:
        keep_config(config, options.run)
    outcome = trainer.train()
    state.destroy_process_group()
    if before is None or outcome.scores is None:
        return None
    for name, scores in (("before", before), ("after", outcome.scores)):
        print(f"{name}: PSNR with gain {scores.gain_fitted_psnr:.2f} dB, IoU of the masks {scores.mask_iou or 0:.2f}")
    print(f"pictures in {options.run / 'pictures'}, the best pipeline in {options.run / 'best'}")
    return before, outcome.scores


if __name__ == "__main__":
    main()
