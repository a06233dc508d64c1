"""Judging pictures against photographs: metrics by named protocols, and reports over folders of them."""

from .metrics import fit_gain, gain_fitted_psnr, mse, psnr, quantize, ssim

__all__ = ["fit_gain", "gain_fitted_psnr", "mse", "psnr", "quantize", "ssim"]
