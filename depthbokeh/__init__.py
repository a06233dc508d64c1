"""Differentiable depth of field: variable-radius blur, optics and rendering for PyTorch.

Importing it loads torch and the renderer alone; models, files and the command line are loaded when they are used.
"""

from .aperture import Aperture
from .blend import BlendRenderer
from .blur import gather_blur, scatter_blur
from .layers import find_focus, fuse_defocus
from .render import BokehRenderer, render_defocus

__version__ = "0.1.0"

__all__ = [
    "Aperture",
    "BlendRenderer",
    "BokehRenderer",
    "__version__",
    "find_focus",
    "fuse_defocus",
    "gather_blur",
    "render_defocus",
    "scatter_blur",
]
