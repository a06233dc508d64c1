"""Whether two photos show the same thing at the same place."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .color import linear_to_srgb, luminance

# Shifts up to this share of the longer side are looked for.
_REACH = 1 / 48
# Fewer pixels than this say nothing about a shift.
_FEWEST = 100


def measure_detail(linear: Tensor) -> float:
    """Mean step from pixel to pixel of the displayed luminance, (B, 3, H, W) linear light."""
    shown = _display(linear)
    return float((shown.diff(dim=2).abs().mean() + shown.diff(dim=3).abs().mean()) / 2)


def find_shift(first: Tensor, second: Tensor, weight: Tensor) -> tuple[tuple[float, float] | None, float]:
    """Where the detail of one photo is found again in another, and how well it correlates there.

    Normalised cross-correlation of what is left of the displayed luminance without its mean over 9 x 9 pixels, for
    all shifts up to 1/48 of the longer side at once by FFT; the maximum is placed between pixels by a parabola.

    Args:
        first: ``(1, 3, H, W)``, linear light.
        second: The same.
        weight: ``(1, 1, H, W)``, 0..1, the part of ``first`` that is looked for.

    Returns:
        The shift (x, y) in pixels, ``None`` if there is too little to tell by, and the correlation, -1..1.
    """
    reach = max(4, round(max(first.shape[2:]) * _REACH))
    detail = [
        shown - F.avg_pool2d(F.pad(shown, (4,) * 4, mode="replicate"), 9, 1) for shown in map(_display, (first, second))
    ]
    energy = float((weight * detail[0].square()).sum())
    if float(weight.sum()) < _FEWEST or energy < 1e-6 * float(weight.sum()):
        return None, 0.0
    height, width = first.shape[2:]
    size = (height + 2 * reach, width + 2 * reach)

    def correlate(sought: Tensor, there: Tensor) -> Tensor:
        """Sum over p of sought(p) there(p + d) for every shift d, that of (-reach, -reach) first."""
        spectrum = torch.fft.rfft2(sought, size).conj() * torch.fft.rfft2(there, size)
        rolled: Tensor = torch.fft.irfft2(spectrum, size).roll((reach, reach), (2, 3))
        return rolled[0, 0, : 2 * reach + 1, : 2 * reach + 1]

    common = correlate(weight * detail[0], detail[1])
    # What the shift pushes beyond the frame has no energy there; it must not count as a perfect match.
    other = correlate(weight, detail[1].square()).clamp(min=1e-3 * energy)
    score = common / (energy * other).sqrt()
    row, column = divmod(int(score.argmax()), score.shape[1])
    x, y = column + _vertex(score[row], column), row + _vertex(score[:, column], row)
    return (x - reach, y - reach), float(score[row, column])


def _vertex(values: Tensor, index: int) -> float:
    """How far the top of the parabola through three neighbours lies from the middle one."""
    if not 0 < index < len(values) - 1:
        return 0.0
    before, here, after = values[index - 1 : index + 2].tolist()
    bend = before - 2 * here + after
    return 0.0 if bend >= 0 else 0.5 * (before - after) / bend


def _display(linear: Tensor) -> Tensor:
    return linear_to_srgb(luminance(linear.clamp(0, 1)))
