"""Differentiable depth of field: variable-radius blur, optics and rendering for PyTorch.

Torch and the renderer are loaded when a name is first used, models, files and the command line when they are imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .aperture import Aperture
    from .blend import BlendRenderer
    from .blur import gather_blur, scatter_blur
    from .compositing import composite
    from .fitting import LensFit, fit_lens
    from .layers import DefocusLayers, find_focus, fuse_defocus, fuse_layers
    from .refine import refine_disparity
    from .render import BokehRenderer, render_defocus

__version__ = "0.1.0"

__all__ = [
    "Aperture",
    "BlendRenderer",
    "BokehRenderer",
    "DefocusLayers",
    "LensFit",
    "__version__",
    "composite",
    "find_focus",
    "fit_lens",
    "fuse_defocus",
    "fuse_layers",
    "gather_blur",
    "refine_disparity",
    "render_defocus",
    "scatter_blur",
]

_HOMES = {
    "Aperture": "aperture",
    "BlendRenderer": "blend",
    "BokehRenderer": "render",
    "DefocusLayers": "layers",
    "LensFit": "fitting",
    "composite": "compositing",
    "find_focus": "layers",
    "fit_lens": "fitting",
    "fuse_defocus": "layers",
    "fuse_layers": "layers",
    "gather_blur": "blur",
    "refine_disparity": "refine",
    "render_defocus": "render",
    "scatter_blur": "blur",
}
_MODULES = {*_HOMES.values(), "color", "optics"}


def __getattr__(name: str) -> Any:
    # Loading torch takes a second: the command line does without where it can, and loads it in its own way.
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
