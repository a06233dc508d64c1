"""Features that a photo and its bokeh picture have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FEATURES = 5000  # the strongest, per picture
_CONTRAST = 0.02  # half of the usual: what is a little out of focus counts too
_REACH = 0.04  # of the longer side; the same thing lies no farther away in the other picture
_RATIO = 0.75  # a match must be better than the next by this factor (Lowe 2004)
_SCALES = 1.6  # a match has the same size up to this factor
_BAND = 256  # features at a time


@dataclass(frozen=True, eq=False)
class Matches:
    """Where the same features lie: (N, 2) each, (x, y) in pixels from the centre of the first."""

    photo: NDArray[np.float32]
    bokeh: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.photo)


def match_features(photo: NDArray[np.float32], bokeh: NDArray[np.float32]) -> Matches:
    """SIFT features (Lowe 2004) of both pictures, matched one to one with those nearby.

    Looking nearby only keeps the many alike leaves and twigs of one photo apart, which a search over the whole frame
    gives up as ambiguous.

    Args:
        photo: (H, W), 0..255.
        bokeh: The same.

    Returns:
        The matches; none at all in pictures without features.
    """
    first, second = _detect(photo), _detect(bokeh)
    reach = _REACH * max(photo.shape)
    there, here = _nearest(second, first, reach)[0], _nearest(first, second, reach)
    # `here` tells each feature of the photo its best in the bokeh picture, `there` the other way round.
    partner, clear = here
    row = np.flatnonzero(clear)
    row = row[there[partner[row]] == row]
    return Matches(first.points[row], second.points[partner[row]])


@dataclass(frozen=True, eq=False)
class _Features:
    """Places (N, 2), unit vectors (N, 128) and logarithms of sizes (N,), from top to bottom."""

    points: NDArray[np.float32]
    vectors: NDArray[np.float32]
    sizes: NDArray[np.float32]


def _nearest(queries: _Features, features: _Features, reach: float) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For each query the feature nearby that is most like it, and whether that is clearly better than the next."""
    best = np.full(len(queries.points), -1)
    clear = np.zeros(len(queries.points), bool)
    for start in range(0, len(queries.points), _BAND):
        rows = slice(start, start + _BAND)
        points = queries.points[rows]
        # Both are sorted from top to bottom: few of the others can be within reach.
        low, high = np.searchsorted(features.points[:, 1], (points[0, 1] - reach, points[-1, 1] + reach))
        if high - low < 2:
            continue
        others = slice(low, high)
        apart = np.abs(points[:, None] - features.points[others]).max(2)
        far = apart > reach
        far |= np.abs(queries.sizes[rows, None] - features.sizes[others]) > np.log(_SCALES)
        distance = 2 - 2 * queries.vectors[rows] @ features.vectors[others].T  # squared; the vectors have length 1
        distance[far] = np.inf
        two = np.partition(distance, 1, axis=1)[:, :2]
        # Without a second candidate nearby there is nothing to tell a match from chance by.
        clear[rows] = np.isfinite(two[:, 1]) & (two[:, 0] < _RATIO**2 * two[:, 1])
        best[rows] = np.where(np.isfinite(two[:, 0]), low + distance.argmin(1), -1)
    return best, clear


def _detect(grey: NDArray[np.float32]) -> _Features:
    import cv2

    found, vectors = cv2.SIFT.create(_FEATURES, contrastThreshold=_CONTRAST).detectAndCompute(
        np.round(grey.clip(0, 255)).astype(np.uint8), None
    )
    if vectors is None:
        return _Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32), np.zeros(0, np.float32))
    points = np.array([feature.pt for feature in found], np.float32)
    order = points[:, 1].argsort(kind="stable")
    sizes = np.log(np.array([feature.size for feature in found], np.float32))
    length: NDArray[Any] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return _Features(points[order], (vectors / np.maximum(length, 1e-6))[order], sizes[order])
