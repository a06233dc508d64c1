"""Aligning the bokeh picture of a pair with its photo, only where that really helps.

A tripod that gave way or a hand between the two exposures shifts the pictures by some pixels. Fitting a homography to
every pair does harm, though: a bokeh picture has few sharp places, often in the middle, and a homography that is fitted
to them swings at the corners. Here a homography needs many matches all over the frame, a translation some, and either
must make the pictures agree better where the bokeh picture is *sharp*. What is blurred has no say: there the two
differ in any case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .matching import Matches, match_features
from .sharpness import SharpComparison

Kind: TypeAlias = Literal["none", "translation", "homography"]
Crop: TypeAlias = tuple[int, int, int, int]
_Matrix: TypeAlias = NDArray[np.float64]

# Matches within so many pixels of a motion agree with it.
_TOLERANCE = 1.5
# A homography has 8 numbers and a translation 2; both take far more matches than would determine them.
_HOMOGRAPHY_INLIERS, _TRANSLATION_INLIERS = 40, 8
# Cells of a 4 x 4 grid that a homography's matches must lie in, each with at least 2 of them, in every quadrant.
_GRID, _CELLS, _IN_CELL = 4, 8, 2
# A corner that moves by more than this share of the longer side is a wrong fit.
_FARTHEST = 0.04
# Smaller translations are not worth the resampling, pixels.
_SMALLEST = 0.3
# By which factor the error must fall, all in all and in most parts of the frame: where the camera itself has moved,
# near things shift more than far ones, and what helps here does harm there. A homography must be better than the best
# translation by the last factor.
_GAIN, _TYPICAL_GAIN, _HOMOGRAPHY_GAIN = 0.9, 0.97, 0.97
_MODES, _PROPOSALS = 3, 500  # translations that are tried, and matches that propose them


@dataclass(frozen=True, eq=False)
class Alignment:
    """How a bokeh picture comes to lie on its photo.

    Attributes:
        kind: ``"none"``: as it is; ``"translation"`` or ``"homography"``.
        matrix: (3, 3), where a pixel (x, y, 1) of the bokeh picture, counted from the centre of the first pixel, lies
            in the photo.
        matches: Features found in both.
        inliers: How many of them agree with the matrix.
        error_before: Disagreement where the bokeh picture is sharp, 0 (the same but for exposure) to 2, as the pair is.
        error_after: The same with the matrix.
        crop: (left, top, width, height) in pixels of the photo, what both show.
        reason: Why it is this kind, in words.
    """

    kind: Kind
    matrix: _Matrix
    matches: int
    inliers: int
    error_before: float
    error_after: float
    crop: Crop
    reason: str


def align_pair(photo: Tensor, bokeh: Tensor) -> Alignment:
    """Finds how the bokeh picture must move to lie on its photo.

    SIFT features are matched with those nearby and motions found by RANSAC. A motion is accepted if its matches are
    many, a homography only if they are spread over the frame too, *and* if the error falls by a tenth, in most parts
    of the frame: 1 minus the correlation within windows, which no gain changes, averaged over what is sharp in the
    bokeh picture.

    Args:
        photo: ``(1, 3, H, W)``, sRGB 0..1, all in focus.
        bokeh: The same size.

    Returns:
        What was found; ``kind="none"`` is the usual outcome, not a failure.

    Raises:
        ValueError: If the shapes differ or are not as above.

    Example:
        >>> photo = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
        >>> align_pair(photo, photo).kind
        'none'
    """
    if photo.ndim != 4 or photo.shape[:2] != (1, 3):
        raise ValueError(f"photo has shape {tuple(photo.shape)}: expected (1, 3, H, W)")
    if bokeh.shape != photo.shape:
        raise ValueError(f"bokeh has shape {tuple(bokeh.shape)}: expected {tuple(photo.shape)}, as the photo")
    first, second = _to_grey(photo), _to_grey(bokeh)
    second *= first.mean() / max(float(second.mean()), 1.0)  # features are found by their contrast
    size = (photo.shape[2], photo.shape[3])
    comparison = SharpComparison(first, second)
    matches = match_features(first, second)
    before = comparison.measure(np.eye(3)).before
    still = Alignment("none", np.eye(3), len(matches), _count(matches, np.eye(3)), before, before, _whole(size), "")
    shift = _best_translation(matches, comparison, size)
    turn, refusal = _try_homography(matches, comparison, size)
    if turn and (shift is None or turn.error_after < _HOMOGRAPHY_GAIN * shift.error_after):
        return turn
    if shift:
        return shift
    return _replace_reason(still, refusal if len(matches) >= _TRANSLATION_INLIERS else "too few matches")


def apply_alignment(bokeh: Tensor, matrix: _Matrix, crop: Crop, size: tuple[int, int] | None = None) -> Tensor:
    """Moves a picture onto the photo, crops and resizes it, all in one resampling.

    Args:
        bokeh: ``(1, C, H, W)``; the identity matrix serves the photo and its maps.
        matrix: (3, 3), see :class:`Alignment`.
        crop: (left, top, width, height) in pixels of the photo.
        size: (H, W) of the result; by default the crop's.

    Returns:
        ``(1, C, *size)``. A picture that is only cropped keeps its values exactly.

    Example:
        >>> picture = torch.arange(20.0).view(1, 1, 4, 5)
        >>> apply_alignment(picture, np.eye(3), (1, 2, 3, 2))
        tensor([[[[11., 12., 13.],
                  [16., 17., 18.]]]])
    """
    import cv2

    left, top, width, height = crop
    size = size or (height, width)
    if size == (height, width) and np.array_equal(matrix, np.eye(3)):
        return bokeh[..., top : top + height, left : left + width].clone()
    if size[0] < 0.75 * height:  # reducing takes averaging, which a warp does not do
        whole = apply_alignment(bokeh, matrix, crop)
        return torch.nn.functional.interpolate(whole, size, mode="bilinear", antialias=True)
    x, y = size[1] / width, size[0] / height
    # Pixel centres: the crop's edge -0.5 stays the edge.
    scale = np.array([[x, 0, x * (0.5 - left) - 0.5], [0, y, y * (0.5 - top) - 0.5], [0, 0, 1]])
    planes = [
        cv2.warpPerspective(
            plane, scale @ matrix, (size[1], size[0]), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE
        )
        for plane in bokeh[0].float().cpu().numpy()
    ]
    return torch.from_numpy(np.stack(planes))[None].clamp(float(bokeh.min()), float(bokeh.max()))


def _best_translation(matches: Matches, comparison: SharpComparison, size: tuple[int, int]) -> Alignment | None:
    """The translation on which many matches agree and with which the pictures do, if it helps."""
    best: Alignment | None = None
    left = np.ones(len(matches), bool)
    for _ in range(_MODES):
        moves = matches.photo[left] - matches.bokeh[left]
        if len(moves) < _TRANSLATION_INLIERS:
            break
        # Every match proposes its own move; of very many, as many as are surely enough.
        proposals = moves[:: 1 + len(moves) // _PROPOSALS]
        agreeing = np.linalg.norm(proposals[:, None] - moves[None], axis=2) < _TOLERANCE
        move = np.median(moves[agreeing[agreeing.sum(1).argmax()]], axis=0)
        matrix = np.array([[1, 0, move[0]], [0, 1, move[1]], [0, 0, 1]], np.float64)
        left &= ~_agree(matches, matrix)
        inliers = _count(matches, matrix)
        if inliers < _TRANSLATION_INLIERS:
            break
        if np.hypot(*move) < _SMALLEST or np.hypot(*move) > _FARTHEST * max(size):
            continue
        found = _judge("translation", matrix, matches, inliers, comparison, size)
        if found and (best is None or found.error_after < best.error_after):
            best = found
    return best


def _try_homography(
    matches: Matches, comparison: SharpComparison, size: tuple[int, int]
) -> tuple[Alignment | None, str]:
    """A homography if it may be trusted and helps; otherwise why not."""
    import cv2

    if len(matches) < _HOMOGRAPHY_INLIERS:
        return None, f"{len(matches)} matches, too few for a homography"
    matrix, _ = cv2.findHomography(
        matches.bokeh, matches.photo, cv2.USAC_MAGSAC, _TOLERANCE, maxIters=5000, confidence=0.999
    )
    if matrix is None:
        return None, "no motion found"
    agreeing = _agree(matches, matrix)
    if agreeing.sum() < _HOMOGRAPHY_INLIERS:
        return None, f"{agreeing.sum()} matches agree, too few for a homography"
    if not _is_spread(matches.bokeh[agreeing], size):
        return None, "matches lie in one part of the frame"
    corners = _corners(size)
    farthest = np.linalg.norm(_move(matrix, corners) - corners, axis=1).max()
    if farthest > _FARTHEST * max(size):
        return None, f"a corner would move by {farthest:.0f} px"
    if farthest < _SMALLEST:
        return None, "aligned already"
    found = _judge("homography", matrix, matches, int(agreeing.sum()), comparison, size)
    return found, "no motion makes the sharp parts agree better"


def _judge(
    kind: Kind, matrix: _Matrix, matches: Matches, inliers: int, comparison: SharpComparison, size: tuple[int, int]
) -> Alignment | None:
    """The alignment, if the pictures agree better with it."""
    change = comparison.measure(matrix)
    if not (change.after < _GAIN * change.before and change.typical < _TYPICAL_GAIN):
        return None
    crop = _intersection(matrix, size)
    reason = f"error falls to {change.after / change.before:.2f}"
    return Alignment(kind, matrix, len(matches), inliers, change.before, change.after, crop, reason)


def _agree(matches: Matches, matrix: _Matrix) -> NDArray[np.bool_]:
    distance = np.linalg.norm(_move(matrix, matches.bokeh) - matches.photo, axis=1)
    agreeing: NDArray[np.bool_] = distance < _TOLERANCE
    return agreeing


def _count(matches: Matches, matrix: _Matrix) -> int:
    return int(_agree(matches, matrix).sum())


def _move(matrix: _Matrix, points: NDArray[Any]) -> NDArray[np.float64]:
    """Points (N, 2) under a homography."""
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return np.asarray(moved[:, :2] / moved[:, 2:])


def _is_spread(points: NDArray[Any], size: tuple[int, int]) -> bool:
    """Whether points (N, 2) fill enough cells, in all quadrants."""
    cells = np.zeros((_GRID, _GRID), int)
    column, row = (points * _GRID / (size[1], size[0])).astype(int).clip(0, _GRID - 1).T
    np.add.at(cells, (row, column), 1)
    filled = cells >= _IN_CELL
    half = _GRID // 2
    quadrants = filled.reshape(2, half, 2, half).any(axis=(1, 3))
    return bool(quadrants.all()) and int(filled.sum()) >= _CELLS


def _corners(size: tuple[int, int]) -> NDArray[np.float64]:
    right, bottom = size[1] - 1, size[0] - 1
    return np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], np.float64)


def _whole(size: tuple[int, int]) -> Crop:
    return 0, 0, size[1], size[0]


def _intersection(matrix: _Matrix, size: tuple[int, int]) -> Crop:
    """The upright rectangle within the photo and the moved bokeh picture, whose motion is small."""
    top_left, top_right, bottom_right, bottom_left = _move(matrix, _corners(size))
    left = int(np.ceil(max(0, top_left[0], bottom_left[0])))
    top = int(np.ceil(max(0, top_left[1], top_right[1])))
    right = int(np.floor(min(size[1] - 1, top_right[0], bottom_right[0])))
    bottom = int(np.floor(min(size[0] - 1, bottom_left[1], bottom_right[1])))
    return left, top, right - left + 1, bottom - top + 1


def _replace_reason(alignment: Alignment, reason: str) -> Alignment:
    return Alignment(**{**vars(alignment), "reason": reason})


def _to_grey(image: Tensor) -> NDArray[np.float32]:
    """Luma (H, W), 0..255."""
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    return np.asarray((image[0].detach().float().cpu().clamp(0, 1) * weights).sum(0).mul(255))
