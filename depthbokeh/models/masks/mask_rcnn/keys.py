"""Published checkpoints of Mask R-CNN bear older names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_WRAPPED = re.compile(r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)")
_RPN = re.compile(r"rpn\.head\.conv\.(weight|bias)")
_MASK = re.compile(r"roi_heads\.mask_head\.mask_fcn(\d+)\.(weight|bias)")


def rename_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gives the tensors of an older checkpoint the names of today; newer ones keep theirs.

    ``num_batches_tracked``, which nothing uses and frozen BatchNorm does not have, is left out.

    Example:
        >>> import torch
        >>> state = {"rpn.head.conv.bias": torch.zeros(1), "roi_heads.mask_head.mask_fcn1.bias": torch.zeros(1)}
        >>> list(rename_keys(state))
        ['rpn.head.conv.0.0.bias', 'roi_heads.mask_head.0.0.bias']
    """
    return {_rename(key): value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def _rename(key: str) -> str:
    if found := _WRAPPED.fullmatch(key):
        return f"{found[1]}.0.{found[2]}"
    if found := _RPN.fullmatch(key):
        return f"rpn.head.conv.0.0.{found[1]}"
    if found := _MASK.fullmatch(key):
        return f"roi_heads.mask_head.{int(found[1]) - 1}.0.{found[2]}"
    return key
