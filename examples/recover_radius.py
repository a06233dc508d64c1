"""Recovers the blur radius of a picture by gradient descent through the operator.

``python examples/recover_radius.py``; ``--size 48x48`` is the short form.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from depthbokeh import scatter_blur
from depthbokeh.data.synthesize import parse_size
from depthbokeh.photo import write_photo

_TRUE_RADIUS = 6.5


def main(argv: Sequence[str] | None = None) -> tuple[float, float]:
    """Returns the radius that is found and the true one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=parse_size, default=(96, 96), metavar="WxH")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--output", type=Path, default=Path("recover_radius.png"), help="sharp, found, true")
    options = parser.parse_args(argv)
    torch.manual_seed(0)
    image = torch.rand(1, 3, *options.size)
    target = scatter_blur(image, torch.full((1, 1, *options.size), _TRUE_RADIUS))

    radius = torch.tensor(3.0, requires_grad=True)
    optimizer = torch.optim.Adam([radius], lr=0.2)
    for step in range(options.steps):
        blurred = scatter_blur(image, radius.expand(1, 1, *options.size))
        loss = (blurred - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % max(1, options.steps // 4) == 0:
            print(f"step {step}: radius {radius.item():.2f} ({_TRUE_RADIUS}), loss {loss.item():.2e}")
    print(f"radius {radius.item():.3f}, true {_TRUE_RADIUS}")
    write_photo(options.output, torch.cat([image, blurred, target], 3), overwrite=True)
    return radius.item(), _TRUE_RADIUS


if __name__ == "__main__":
    main()
