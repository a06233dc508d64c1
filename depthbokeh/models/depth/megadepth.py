"""MegaDepth (Li and Snavely, 2018): log depth from one photo."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch.nn.functional as F
from torch import Tensor

from depthbokeh.models.checkpoints import load_checkpoint, read_checkpoint
from depthbokeh.models.depth.base import DepthModel
from depthbokeh.models.depth.hourglass import HOURGLASS_MULTIPLE, build_hourglass
from depthbokeh.models.inputs import pad_to_multiple
from depthbokeh.models.registry import Pretrained, register_depth_model
from depthbokeh.models.weights import find_weights
from depthbokeh.optics import normalize_disparity

InputMode: TypeAlias = Literal["demo", "half", "full"]

_DEMO_SIZE = (384, 512)  # shorter and longer side
_FULL_MULTIPLE = 32


class MegaDepth(DepthModel):
    """The network of MegaDepth, which returns the logarithm of depth, its scale unknown.

    Its tensors have the names of the authors' checkpoint ``best_generalization_net_G.pth``.

    Args:
        input_mode: How the network sees a photo; the three ways in which it has been used.

            ``"demo"``, the default: resized to 512 x 384 pixels, a photo in portrait format to 384 x 512, as the
            authors' demo does. The network has been trained at such sizes: what it knows of scenes, it knows at that
            scale, and time and memory do not depend on the photo.
            ``"half"``: at half resolution, the disparity stretched to 0..1 (PyNET's bokeh).
            ``"full"``: at full resolution (DDDF's depth-guided dense filters). In large photos the network sees parts
            only, and memory grows with the photo: about 2 kB per pixel.

    Raises:
        ValueError: ``input_mode`` is none of these.

    Example:
        >>> import torch
        >>> model = MegaDepth("full").eval()
        >>> with torch.no_grad():
        ...     model(torch.rand(1, 3, 40, 56)).shape
        torch.Size([1, 1, 40, 56])
    """

    kind = "log_depth"

    def __init__(self, input_mode: InputMode = "demo") -> None:
        super().__init__()
        if input_mode not in get_args(InputMode):
            raise ValueError(f"input_mode is {input_mode!r}: expected one of {', '.join(get_args(InputMode))}")
        self.input_mode = input_mode
        for name, layer in build_hourglass().named_children():
            self.add_module(name, layer)

    def forward(self, photo: Tensor, mask: Tensor | None = None) -> Tensor:
        """Estimates the scene's disparity, see :meth:`DepthModel.forward`; the mask is not needed."""
        disparity = super().forward(photo, mask)
        return normalize_disparity(disparity) if self.input_mode == "half" else disparity

    def predict(self, photo: Tensor) -> Tensor:
        """Return the logarithm of depth ``(B, 1, H, W)`` of a photo ``(B, 3, H, W)``, sRGB 0..1."""
        height, width = photo.shape[2:]
        if self.input_mode == "demo":
            size = _DEMO_SIZE if height <= width else _DEMO_SIZE[::-1]
            seen = F.interpolate(photo, size, mode="bilinear", antialias=True)
            multiple = HOURGLASS_MULTIPLE
        elif self.input_mode == "half":
            seen = F.interpolate(photo, ((height + 1) // 2, (width + 1) // 2), mode="bilinear", antialias=True)
            multiple = HOURGLASS_MULTIPLE
        else:
            seen, multiple = photo, _FULL_MULTIPLE
        log_depth = pad_to_multiple(seen, multiple)
        for layer in self.children():
            log_depth = layer(log_depth)
        log_depth = log_depth[..., : seen.shape[2], : seen.shape[3]]
        if log_depth.shape[2:] == photo.shape[2:]:
            return log_depth
        return F.interpolate(log_depth, (height, width), mode="bilinear", antialias=True)


@register_depth_model("megadepth")
def megadepth(*, pretrained: Pretrained = False, input_mode: InputMode = "demo", frozen: bool = False) -> MegaDepth:
    """Build a :class:`MegaDepth`.

    Args:
        pretrained: The path of the authors' checkpoint, or ``False``.
        input_mode: See :class:`MegaDepth`.
        frozen: Whether the weights are fixed, see :meth:`DepthModel.freeze`.

    Raises:
        CheckpointError: The checkpoint does not exist, or is another network's.
    """
    model = MegaDepth(input_mode)
    path = find_weights("megadepth", pretrained)
    if path is not None:
        load_checkpoint(model, read_checkpoint(path), path)
    return model.freeze() if frozen else model
