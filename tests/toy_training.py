"""A training small enough for tests, also run as a program: ``python toy_training.py RUN STEPS [--resume]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset

from depthbokeh import BokehRenderer
from depthbokeh.pipeline import BokehPipeline
from depthbokeh.training.config import FinetuneConfig
from depthbokeh.training.finetune import Trainer
from depthbokeh.training.lens import LensParameters
from depthbokeh.training.model import LearnedPipeline

SIZE = 32
COUNT = 8


class ToyMask(nn.Module):
    """Finds what is red, once it has learned to; drops some of it while it does."""

    def __init__(self, dropout: float = 0.1):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Dropout(dropout), nn.Conv2d(4, 1, 1))

    def forward(self, photo, box=None, point=None):
        return self.layers(photo).sigmoid()


class ToyPairs(Dataset):
    """A red square on grey noise; in the photograph the noise is blurred."""

    def __init__(self, count: int = COUNT, seed: int = 0, spoiled: int | None = None):
        self.items = [self.make(seed * 1000 + index, index) for index in range(count)]
        if spoiled is not None:
            self.items[spoiled]["bokeh"] = torch.full((3, SIZE, SIZE), float("nan"))

    def make(self, seed, number):
        generator = torch.Generator().manual_seed(seed)
        left, top = torch.randint(2, SIZE - 18, (2,), generator=generator).tolist()
        mask = torch.zeros(1, 1, SIZE, SIZE)
        mask[..., top : top + 16, left : left + 16] = 1
        noise = torch.rand(1, 1, SIZE, SIZE, generator=generator).expand(-1, 3, -1, -1)
        red = torch.tensor([1.0, 0.3, 0.3]).view(1, 3, 1, 1)
        photo = mask * noise * red + (1 - mask) * noise
        disparity = 0.2 + 0.6 * mask
        bokeh = BokehRenderer(quality="fast")(photo, disparity, mask, strength=6.0)
        maps = {"photo": photo, "bokeh": bokeh, "disparity": torch.full_like(mask, 0.2) + 0.6 * mask, "mask": mask}
        item = {name: value[0].detach() for name, value in maps.items()}
        return {**item, "longer_side": torch.tensor(float(SIZE)), "number": torch.tensor(number)}

    def __len__(self):
        return len(self.items)

    def __getitem__(self, key):
        return self.items[key[1] if isinstance(key, tuple) else key]


def make_trainer(run: Path, *, spoiled: int | None = None, dropout: float = 0.1, **options) -> Trainer:
    torch.manual_seed(0)
    settings = {
        "quality": "fast",
        "steps": 6,
        "batch": 4,
        "workers": 0,
        "save_every": 2,
        "validate_every": 3,
        "lr": 1e-2,
    }
    config = FinetuneConfig(**{**settings, "learn_per_photo": ("strength",), **options})
    pipeline = BokehPipeline(BokehRenderer(quality="fast"), ToyMask(dropout), None)
    # Only what is created by its name can be saved; this is not.
    pipeline.save_pretrained = lambda folder, overwrite: Path(folder).mkdir(exist_ok=True)
    lens = LensParameters(strength=0.1, photos=COUNT, learned=config.learn, per_photo=config.learn_per_photo)
    model = LearnedPipeline(pipeline, lens, checkpointing=config.checkpointing)
    return Trainer(model, config, ToyPairs(spoiled=spoiled), ToyPairs(2, seed=1), run)


def read_losses(run: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["total"] for line in lines if "total" in line}


def train(run: Path, steps: int, *flags: str) -> None:
    """What the program does; with one thread, so that it is the same to the last bit wherever it runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    # Dropout draws for each process on its own; what is to be equal for any number of them does without.
    trainer = make_trainer(run, steps=steps, dropout=0.0 if "--plain" in flags else 0.1)
    if "--resume" in flags:
        trainer.resume()
    print(trainer.train())
    torch.set_num_threads(threads)


if __name__ == "__main__":
    train(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
