"""Which white pixels are lamps, and which the sky."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .fill import enlarge
from .steps import smoothstep
from .windows import local_max

# A lamp is what is clipped with little else that is: within this share of the longer side around it, up to the first
# share of the pixels for sure and beyond the second no more.
_REACH, _FEW, _MANY = 1 / 30, 0.05, 0.2
# Where a pixel counts as clipped: from the first on, fully from white on.
_CLIPPED = 0.9


def weigh_lamps(linear: Tensor) -> Tensor:
    """Tells lamps, which clipping made too dark, from the sky and white walls, which it hardly did.

    Both are white in a photo of 8 bits. A lamp is small; made brighter, large white areas would outshine all else.

    Args:
        linear: ``(B, 3, H, W)``, linear light, white at 1.

    Returns:
        ``(B, 1, H, W)``: 1 where little of what is around is clipped, 0 where much is.

    Example:
        >>> import torch
        >>> night = torch.zeros(1, 3, 60, 90)
        >>> night[..., 20, 20] = 1
        >>> night[..., 60:] = 1
        >>> weigh_lamps(night)[0, 0, 20, [20, 80]].tolist()
        [1.0, 0.0]
    """
    height, width = linear.shape[2:]
    reach = max(1, round(_REACH * max(height, width)))
    step = max(1, reach // 4)  # a mean needs no more pixels
    clipped = smoothstep((linear.amax(1, keepdim=True) - _CLIPPED) / (1 - _CLIPPED))
    coarse = F.avg_pool2d(clipped, step, ceil_mode=True)
    near = round(reach / step)
    share = F.avg_pool2d(F.pad(coarse, (near,) * 4, mode="replicate"), 2 * near + 1, 1)
    # The rim of the sky and what shines through leaves belong to the sky.
    share = enlarge(local_max(share, near), step, height, width)
    return smoothstep((_MANY - share) / (_MANY - _FEW))
