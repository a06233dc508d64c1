"""Judging pictures against photographs: metrics by named protocols, and reports over folders of them."""

from .metrics import fit_gain, gain_fitted_psnr, mse, psnr, quantize, ssim
from .scoring import Evaluation, Judge, Score, Summary, evaluate_pictures, summarize

__all__ = [
    "Evaluation",
    "Judge",
    "Score",
    "Summary",
    "evaluate_pictures",
    "fit_gain",
    "gain_fitted_psnr",
    "mse",
    "psnr",
    "quantize",
    "ssim",
    "summarize",
]
