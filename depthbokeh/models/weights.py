"""Published weights: what there is, where it lies, and how it gets there."""

from __future__ import annotations

from pathlib import Path

from depthbokeh.models.checkpoints import CheckpointError
from depthbokeh.models.registry import Pretrained


def find_weights(model: str, pretrained: Pretrained) -> Path | None:
    """Returns the checkpoint that ``pretrained`` asks for.

    Args:
        model: The model's name.
        pretrained: ``False`` for none, ``True`` for the published ones, or a checkpoint's path.

    Raises:
        CheckpointError: The file does not exist, or there are no published weights.
    """
    if pretrained is False:
        return None
    if pretrained is True:
        raise CheckpointError(f"pretrained is True, but there are no published weights of {model!r}")
    path = Path(pretrained)
    if not path.is_file():
        raise CheckpointError(f"pretrained is {str(path)!r}: no such file")
    return path
