"""Importing torchvision, and with it timm and transformers, where its compiled operators do not match torch."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import torch

_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_libraries: list[torch.library.Library] = []  # a library's definitions live as long as it does


def import_torchvision() -> ModuleType:
    """Imports torchvision, whether or not its compiled operators can be loaded.

    Built for another torch, its Python part fails on importing: it describes operators that are not there. Those two
    are declared then, without an implementation, so that everything that does without them works.

    Returns:
        torchvision.

    Example:
        >>> import_torchvision().__name__
        'torchvision'
    """
    try:
        return import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        library.define(operator + _NMS)
    _libraries.append(library)
    return import_module("torchvision")


def has_torchvision_ops(device: str = "cpu") -> bool:
    """Whether torchvision's compiled operators work, not only its Python part.

    Args:
        device: The type of device that they are to run on.

    Example:
        >>> has_torchvision_ops() in (True, False)
        True
    """
    import_torchvision()
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::nms", device.upper()))


def import_timm() -> ModuleType:
    """Imports timm, which imports torchvision.

    Returns:
        timm.

    Example:
        >>> import_timm().__name__
        'timm'
    """
    import_torchvision()
    return import_module("timm")


def import_transformers() -> ModuleType:
    """Imports transformers, which imports torchvision.

    Returns:
        transformers.

    Raises:
        ImportError: It is not installed; the message names the extra.
    """
    import_torchvision()
    try:
        return import_module("transformers")
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        raise ImportError("this model needs transformers: pip install 'depthbokeh[transformers]'") from error
