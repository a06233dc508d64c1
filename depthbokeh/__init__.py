"""Differentiable depth of field: variable-radius blur, optics and rendering for PyTorch.

Importing it loads torch and the renderer alone; models, files and the command line are loaded when they are used.
"""

from .aperture import Aperture
from .blur import gather_blur, scatter_blur

__version__ = "0.1.0"

__all__ = ["Aperture", "__version__", "gather_blur", "scatter_blur"]
