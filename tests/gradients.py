"""Gradients of what works on batches of pictures, against differences."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

STEP = 1e-6


def check_gradients(run: Callable[..., Tensor | tuple[Tensor, ...]], leaves: list[Tensor]) -> None:
    """Every single entry of the leaves, against three weighted sums of all that comes out.

    What ``torch.autograd.gradcheck`` does too, one entry after the other: here each has a picture of its own in one
    large batch, which takes a tenth of the time. A last look by gradcheck, in its fast way, is at gradients that are
    undefined and at runs that differ from each other.

    Args:
        run: Works on every picture of a batch for itself.
        leaves: Its arguments, for one picture, (1, ...) float64.
    """
    counts = [leaf.numel() for leaf in leaves]
    moves = torch.eye(sum(counts), dtype=torch.float64).mul(STEP).split(counts, dim=1)  # of every leaf, by every entry

    def summed(*leaves: Tensor) -> Tensor:
        outputs = run(*leaves)
        flat = torch.cat([output.flatten(1) for output in ((outputs,) if isinstance(outputs, Tensor) else outputs)], 1)
        weight = torch.rand(flat.shape[1], 3, dtype=torch.float64, generator=torch.Generator().manual_seed(9)) - 0.5
        return flat @ weight  # (B, 3)

    with torch.no_grad():
        moves = [move.view(-1, *leaf.shape[1:]) for move, leaf in zip(moves, leaves, strict=True)]
        both = [torch.cat([leaf + move, leaf - move]) for leaf, move in zip(leaves, moves, strict=True)]
        ahead, behind = summed(*both).chunk(2)
    expected = (ahead - behind) / (2 * STEP)  # (entries, 3)

    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    sums = summed(*leaves)[0]
    gradients = [torch.autograd.grad(sums[i], leaves, retain_graph=True) for i in range(3)]
    found = torch.stack([torch.cat([part.flatten() for part in parts]) for parts in gradients], dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert torch.autograd.gradcheck(summed, leaves, atol=1e-5, fast_mode=True)
