"""Comparing two pictures where the second is sharp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_Plane: TypeAlias = NDArray[np.float32]

_SMOOTH = 1.2  # pixels (standard deviation); makes noise and the softness of resampling matter less
_WINDOW = 6.0  # pixels (standard deviation) of the windows within which pictures are correlated
_FLAT = 2.0  # variance, of 0..255, below which a window says nothing
# Share of the photo's detail that a sharp place of the bokeh picture has kept: none counts below, all above.
_KEPT = (0.3, 0.7)
# Cells of a 4 x 4 grid that hold at least this share of what is sharp are asked whether they gain.
_GRID, _TELLING = 4, 0.02


@dataclass(frozen=True)
class Change:
    """What moving the bokeh picture does.

    Attributes:
        before: Error of the pair as it is, 0 (the same but for exposure) to 2.
        after: Error of the moved pair over the same pixels.
        typical: Error after by error before, the median over those parts of the frame that are sharp; a gain in one
            part of the frame leaves it at 1.
    """

    before: float
    after: float
    typical: float


class SharpComparison:
    """Measures how well a bokeh picture agrees with its photo where it is sharp.

    The error is 1 minus the correlation within Gaussian windows, which neither gain nor offset changes, averaged with
    the detail of the bokeh picture as the weight, where it has kept what the photo has.

    Args:
        photo: (H, W), 0..255.
        bokeh: The same.
    """

    def __init__(self, photo: _Plane, bokeh: _Plane) -> None:
        self._photo, self._bokeh = _blur(photo, _SMOOTH), _blur(bokeh, _SMOOTH)
        mean = _blur(self._bokeh, _WINDOW)
        self._deviation = self._bokeh - mean
        self._variance = _blur(self._bokeh**2, _WINDOW) - mean**2
        # Detail is compared in wide windows: the pictures may be shifted.
        detail = [_blur((plane - _blur(plane, 2.0)) ** 2, 2 * _WINDOW) for plane in (self._photo, self._bokeh)]
        kept = np.sqrt(detail[1] / (detail[0] + 1e-3))
        low, high = _KEPT
        self._weight = np.clip((kept - low) / (high - low), 0, 1) * np.sqrt(detail[1])

    def measure(self, matrix: NDArray[np.float64]) -> Change:
        """Compares the pair as it is with the bokeh picture moved by a matrix (3, 3), over the same pixels."""
        import cv2

        height, width = self._bokeh.shape
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        moved = cv2.warpPerspective(self._photo, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        inside = cv2.warpPerspective(np.ones_like(self._photo), matrix, (width, height), flags=flags) > 0.99
        weight = _sum_cells(self._weight * inside)
        before, after = (_sum_cells(self._weight * inside * self._errors(photo)) for photo in (self._photo, moved))
        telling = (weight >= _TELLING * weight.sum()) & (before > 0)
        typical = float(np.median(after[telling] / before[telling])) if telling.any() else 1.0
        total = max(float(weight.sum()), 1e-9)
        return Change(float(before.sum()) / total, float(after.sum()) / total, typical)

    def _errors(self, photo: _Plane) -> _Plane:
        """1 minus the correlation round every pixel, (H, W)."""
        mean = _blur(photo, _WINDOW)
        variance = _blur(photo**2, _WINDOW) - mean**2
        common = _blur(photo * self._bokeh, _WINDOW) - mean * (self._bokeh - self._deviation)
        return np.asarray(1 - common / np.sqrt((variance.clip(0) + _FLAT) * (self._variance.clip(0) + _FLAT)))


def _sum_cells(plane: _Plane) -> NDArray[np.float64]:
    """Sums (4, 4) over the parts of the frame."""
    starts = [np.arange(_GRID) * side // _GRID for side in plane.shape]
    rows = np.add.reduceat(plane, starts[0], axis=0, dtype=np.float64)
    return np.asarray(np.add.reduceat(rows, starts[1], axis=1))


def _blur(plane: _Plane, sigma: float) -> _Plane:
    import cv2

    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT))
