"""Figures that others published, each with its source and what is known of its protocol.

Two kinds that must not be mixed: those that compare a result with the photograph through the open lens, and those that
compare it with the *input*, which say how much a method changes and nothing about how good it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from .metrics import SsimProtocol

VAL294 = frozenset(str(number) for number in range(4400, 4694))
"""The pairs of EBB!'s training set that are usually kept for validation, its own validation targets being secret."""


@dataclass(frozen=True)
class PublishedFigure:
    """What a publication states of a method.

    Attributes:
        method: Its name there.
        psnr_db: Mean PSNR.
        ssim: Mean SSIM.
        ssim_protocol: See :func:`depthbokeh.evaluation.ssim`; ``None`` where the source does not say.
        pictures: What it was measured on.
        source: Where the figure stands.
        lpips: Mean LPIPS, where it is stated.
    """

    method: str
    psnr_db: float
    ssim: float
    ssim_protocol: SsimProtocol | None
    pictures: str
    source: str
    lpips: float | None = None


_AIM = "AIM test set"
_QUOTED = "thesis, second hand"

PUBLISHED: tuple[PublishedFigure, ...] = (
    PublishedFigure("BRViT", 24.76, 0.8904, "uniform7", "EBB! Val294", "the authors' README", 0.1924),
    PublishedFigure("DDDF", 24.74, 0.89, None, _AIM, _QUOTED),
    PublishedFigure("Xiong", 23.93, 0.89, None, _AIM, _QUOTED),
    PublishedFigure("Airia-bokeh", 23.58, 0.87, None, _AIM, _QUOTED),
    PublishedFigure("PyNET", 23.28, 0.87, None, _AIM, _QUOTED),
    PublishedFigure("Dutta", 22.14, 0.87, None, _AIM, _QUOTED),
)
"""Results compared with the photograph through the open lens."""

PUBLISHED_NOTE = (
    "Published figures were measured on the pictures named, by the protocols named; they can be ranked with this run's "
    "only where both are the same. Val294: EBB!'s training pairs 4400 to 4693. AIM test set: that of the AIM "
    "challenges, whose targets are not public. Thesis, second hand: quoted in the comparison table of the thesis whose "
    "own figures are changes against the input; not verified."
)
"""To be shown with `PUBLISHED`."""

_THESIS = "thesis, table 1"

PUBLISHED_CHANGE_VS_INPUT: tuple[PublishedFigure, ...] = (
    PublishedFigure("DeepLab", 33.86, 0.75, None, "10 pictures", _THESIS),
    PublishedFigure("Mask R-CNN", 33.35, 0.78, None, "10 pictures", _THESIS),
    PublishedFigure("Xception", 26.87, 0.60, None, "10 pictures", _THESIS),
)
"""Results compared with the *input*: no measure of quality, and not to be set beside `PUBLISHED`."""

CHANGE_WARNING = (
    "These figures compare a picture with the input, not with a photograph through an open lens. They say how much was "
    "changed, not how well: the untouched input would score best, an infinite PSNR and an SSIM of 1."
)
"""To be shown wherever a change against the input is."""

CHANGE_CONTRADICTION = (
    "The thesis also states a mean squared error of 100 (8-bit values), which is a PSNR of 28.1 dB: its figures do not "
    "agree with each other."
)
