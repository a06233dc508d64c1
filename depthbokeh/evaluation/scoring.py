"""Judges every method's picture of everything that there is a photograph of."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..files import PhotoError
from ..photo import read_photo
from .gallery import Gallery
from .metrics import SsimProtocol, gain_fitted_psnr, mse, psnr, quantize, ssim

Predictor: TypeAlias = Callable[[Tensor, str], Tensor]
"""From a photo, ``(1, 3, H, W)`` sRGB 0..1, and its id to the picture that is to be judged, the same shape."""

Method: TypeAlias = Mapping[str, Path] | Predictor
"""Finished pictures by id, or what makes them."""

# Sides rounded to some multiple change the aspect ratio a little; beyond this the two are different views.
_LARGEST_ASPECT_DIFFERENCE = 0.02


@dataclass(frozen=True)
class Score:
    """How near one picture comes to another.

    Attributes:
        method: Whose picture it is.
        name: Its id.
        psnr_db: See :func:`depthbokeh.evaluation.psnr`.
        psnr_gain_db: See :func:`depthbokeh.evaluation.gain_fitted_psnr`.
        mse: Of values 0..1.
        ssim: By protocol.
        lpips: If it was asked for.
        resized: Whether the picture had to be brought to the target's size.

    Example:
        >>> score = Judge().score("mine", "17", torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.1))
        >>> score.method, round(score.psnr_db, 2)
        ('mine', 20.0)
    """

    method: str
    name: str
    psnr_db: float
    psnr_gain_db: float
    mse: float
    ssim: dict[SsimProtocol, float]
    lpips: float | None = None
    resized: bool = False


@dataclass(frozen=True)
class Summary:
    """The means of a method's scores, and ``psnr_of_mean_mse_db``, the PSNR of its mean MSE.

    Example:
        >>> pictures = torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.1)
        >>> (mean,) = summarize([Judge().score("mine", name, *pictures) for name in "ab"])
        >>> mean.pictures, round(mean.psnr_db, 2)
        (2, 20.0)
    """

    method: str
    pictures: int
    resized: int
    psnr_db: float
    psnr_of_mean_mse_db: float
    psnr_gain_db: float
    mse: float
    ssim: dict[SsimProtocol, float]
    lpips: float | None


@dataclass(frozen=True)
class Judge:
    """What is measured.

    Attributes:
        protocols: Of SSIM.
        lpips: A module prediction, target → ``(B,)``, as :class:`depthbokeh.evaluation.lpips.Lpips`.
        resize: Whether pictures of another size than the target's are resized to it, if they have its aspect ratio
            within 2 %.
        change_vs_input: Whether methods are also compared with the input, for :attr:`Evaluation.changes`.

    Example:
        >>> list(Judge(("pynet",)).score("mine", "17", *torch.rand(2, 1, 3, 96, 96)).ssim)
        ['pynet']
    """

    protocols: Sequence[SsimProtocol] = ("gaussian", "uniform7")
    lpips: nn.Module | None = None
    resize: bool = False
    change_vs_input: bool = False

    def score(self, method: str, name: str, picture: Tensor, reference: Tensor, *, resized: bool = False) -> Score:
        """Compares a picture with a reference, both ``(1, 3, H, W)``, sRGB 0..1."""
        try:
            return Score(
                method,
                name,
                psnr(picture, reference).item(),
                gain_fitted_psnr(picture, reference).item(),
                mse(picture, reference).item(),
                {protocol: ssim(picture, reference, protocol).item() for protocol in self.protocols},
                None if self.lpips is None else float(self.lpips(picture, reference)),
                resized,
            )
        except ValueError as error:
            raise PhotoError(f"{name} of {method}: {error}") from error


@dataclass(frozen=True)
class Evaluation:
    """What came of judging.

    Attributes:
        scores: Against the targets, for every picture those of all methods.
        changes: Against the inputs; empty unless it was asked for.
        gallery: Pictures to look at.

    Example:
        >>> Evaluation().scores
        []
    """

    scores: list[Score] = field(default_factory=list)
    changes: list[Score] = field(default_factory=list)
    gallery: Gallery = field(default_factory=Gallery)


def evaluate_pictures(
    targets: Mapping[str, Path],
    methods: Mapping[str, Method],
    *,
    inputs: Mapping[str, Path] | None = None,
    judge: Judge | None = None,
    examples: int = 4,
    workers: int = 2,
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Judges methods on the same pictures.

    Args:
        targets: The photographs through the open lens, by id.
        methods: By name: either files, one for each id of ``targets``, which are judged as they are, or a callable,
            which is given the input and whose result is clamped and rounded to 8 bits first, as its file would be.
        inputs: The photos all in focus by id; callables need them. Where they are one of the methods too, as the
            baseline, the gallery and the changes leave that out.
        judge: What is measured.
        examples: How many of each method's best and worst pictures are kept to look at.
        workers: Threads that read files ahead.
        progress: Called with each id when it is done.

    Returns:
        The scores, in the order of the targets.

    Raises:
        PhotoError: If a file cannot be read or does not fit its target.
        ValueError: If a callable has no inputs.

    Example:
        >>> import tempfile
        >>> from depthbokeh.photo import write_photo
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "17.png")
        ...     write_photo(file, torch.full((3, 16, 16), 0.5))
        ...     methods = {"darker": lambda photo, name: 0.5 * photo}
        ...     evaluation = evaluate_pictures({"17": file}, methods, inputs={"17": file})
        >>> (score,) = evaluation.scores
        >>> score.method, score.name, round(score.psnr_db)
        ('darker', '17', 12)
    """
    judge = judge or Judge()
    needs_inputs = judge.change_vs_input or not all(isinstance(method, Mapping) for method in methods.values())
    if inputs is None and needs_inputs:
        raise ValueError("inputs must be given where pictures are made of them or compared with them, got None")
    result = Evaluation(gallery=Gallery(examples))
    made = [label for label, method in methods.items() if method is not inputs]
    for shown in _read_ahead(targets, methods, inputs, workers):
        name, target = shown.name, shown.target
        pictures, resized = _collect(shown, methods, judge)
        scores = {
            label: judge.score(label, name, picture, target, resized=label in resized)
            for label, picture in pictures.items()
        }
        result.scores.extend(scores.values())
        photo = shown.photo
        if photo is not None:
            photo = _fit(photo, target, f"{name} of the inputs", judge.resize)
        if photo is not None and judge.change_vs_input:
            result.changes.extend(judge.score(label, name, pictures[label], photo) for label in made)
        looked_at = made or list(methods)  # the untouched inputs are shown anyway
        psnr_db = {label: scores[label].psnr_db for label in looked_at}
        result.gallery.offer(name, target, photo, {label: pictures[label] for label in looked_at}, psnr_db)
        if progress is not None:
            progress(name)
    return result


def _collect(shown: _Shown, methods: Mapping[str, Method], judge: Judge) -> tuple[dict[str, Tensor], set[str]]:
    """The pictures of all methods in the target's size, and whose had another."""
    pictures, resized = {}, set()
    for label, method in methods.items():
        if isinstance(method, Mapping):
            picture = shown.pictures[label]
        else:
            assert shown.photo is not None
            with torch.inference_mode():
                picture = quantize(method(shown.photo, shown.name))
        pictures[label] = _fit(picture, shown.target, f"{shown.name} of {label}", judge.resize)
        if pictures[label] is not picture:
            resized.add(label)
    return pictures, resized


def summarize(scores: Sequence[Score]) -> list[Summary]:
    """The means of every method, in the order in which the methods first come.

    Example:
        >>> one, two = Score("m", "1", 20.0, 21.0, 0.01, {}), Score("m", "2", 30.0, 31.0, 0.001, {})
        >>> [mean] = summarize([one, two])
        >>> mean.psnr_db, round(mean.psnr_of_mean_mse_db, 2)
        (25.0, 22.6)
    """
    by_method: dict[str, list[Score]] = {}
    for score in scores:
        by_method.setdefault(score.method, []).append(score)
    return [_summarize(method, own) for method, own in by_method.items()]


def _summarize(method: str, scores: Sequence[Score]) -> Summary:
    mean_mse = _mean([score.mse for score in scores])
    return Summary(
        method,
        len(scores),
        sum(score.resized for score in scores),
        _mean([score.psnr_db for score in scores]),
        -10 * math.log10(mean_mse) if mean_mse > 0 else math.inf,
        _mean([score.psnr_gain_db for score in scores]),
        mean_mse,
        {protocol: _mean([score.ssim[protocol] for score in scores]) for protocol in scores[0].ssim},
        None if scores[0].lpips is None else _mean([score.lpips for score in scores if score.lpips is not None]),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else sum(values) / len(values)


@dataclass(frozen=True)
class _Shown:
    """What the files show of one id; all pictures (1, 3, H, W)."""

    name: str
    target: Tensor
    photo: Tensor | None
    pictures: dict[str, Tensor]


def _read_ahead(
    targets: Mapping[str, Path], methods: Mapping[str, Method], inputs: Mapping[str, Path] | None, workers: int
) -> Iterator[_Shown]:
    """In the targets' order; no more pictures are in memory than the workers read."""

    def read(name: str) -> _Shown:
        files = {label: method[name] for label, method in methods.items() if isinstance(method, Mapping)}
        return _Shown(
            name,
            read_photo(targets[name]).image,
            None if inputs is None else read_photo(inputs[name]).image,
            {label: read_photo(path).image for label, path in files.items()},
        )

    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[_Shown]] = deque()
    try:
        for name in targets:
            waiting.append(pool.submit(read, name))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _fit(picture: Tensor, target: Tensor, what: str, resize: bool) -> Tensor:
    """The picture in the target's size."""
    if picture.shape == target.shape:
        return picture
    (height, width), (goal_height, goal_width) = picture.shape[2:], target.shape[2:]
    sizes = f"{what}: {width} x {height} pixels, but the target has {goal_width} x {goal_height}"
    if abs(width * goal_height / (height * goal_width) - 1) > _LARGEST_ASPECT_DIFFERENCE:
        raise PhotoError(f"{sizes}, another aspect ratio")
    if not resize:
        raise PhotoError(f"{sizes}; --resize brings it to that size")
    return F.interpolate(picture, target.shape[2:], mode="bilinear", antialias=True)
