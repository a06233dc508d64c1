"""What holds for every mask model that is a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from depthbokeh import BokehRenderer
from depthbokeh.pipeline import BokehPipeline


def make_photo(batch: int = 1, height: int = 64, width: int = 96, seed: int = 0) -> Tensor:
    """Noise with a bright disc in it."""
    rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
    disc = ((columns - width / 2) ** 2 + (rows - height / 2) ** 2 < (height / 3) ** 2).float()
    noise = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return 0.5 * noise + 0.5 * disc


def find_first_convolution(model: nn.Module) -> nn.Conv2d:
    """The convolution that sees the photo, wherever the model keeps it."""
    called: list[nn.Conv2d] = []
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    hooks = [module.register_forward_hook(lambda module, *_: called.append(module)) for module in convolutions]
    with torch.no_grad():
        model(make_photo())
    for hook in hooks:
        hook.remove()
    return called[0]


def reach_first_convolution(model: nn.Module, batch: int = 1) -> Tensor:
    """The gradient of a loss of the bokeh to the weights that see the photo."""
    first = find_first_convolution(model)
    photo = make_photo(batch)
    disparity = torch.linspace(0.2, 0.8, photo.shape[2]).view(1, 1, -1, 1).expand(batch, 1, *photo.shape[2:])
    pipeline = BokehPipeline(BokehRenderer(quality="fast"), model, None)
    model.zero_grad()
    bokeh = pipeline(photo, disparity, focus=0.7, strength=6.0).bokeh
    (bokeh - make_photo(batch, seed=1)).square().mean().backward()
    assert first.weight.grad is not None
    return first.weight.grad


def check_shapes(model: nn.Module) -> None:
    """Any size, any batch, also in training."""
    for mode in (True, False):
        model.train(mode)
        for batch, height, width in ((1, 1, 1), (1, 17, 90), (2, 65, 33)):
            mask = model(make_photo(batch, height, width))
            assert mask.shape == (batch, 1, height, width)
            assert mask.isfinite().all()
            assert mask.min() >= 0
            assert mask.max() <= 1


def check_dtypes(model: nn.Module) -> None:
    """The mask has the photo's dtype, with autocast too, and then nearly the same values."""
    photo = make_photo()
    with torch.no_grad():
        exact = model(photo)
        for dtype in (torch.float16, torch.bfloat16, torch.float64):
            assert model(photo.to(dtype)).dtype == dtype
        # Three bits less of precision: eight times the error.
        for dtype, error in ((torch.float16, 0.025), (torch.bfloat16, 0.2)):
            with torch.autocast("cpu", dtype):
                mask = model(photo)
            assert mask.dtype == torch.float32
            assert (mask - exact).abs().mean() < error


def list_running(model: nn.Module) -> list[Tensor]:
    """What batch norm has learned of the photos so far."""
    return [buffer.clone() for name, buffer in model.named_buffers() if "running" in name]


def learn_statistics(model: nn.Module, photos: Tensor) -> None:
    """Let batch norm take over the statistics of some photos at once, and so pass on how photos differ."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    model.train()(photos)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
