"""What all mask models that are networks have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from depthbokeh.models.inputs import check_photo
from depthbokeh.models.masks.selection import keep_subject


class MaskModel(nn.Module):
    """A network photo → soft mask of the subject.

    A subclass implements :meth:`predict`; one that tells instances apart overrides :meth:`forward`.

    Attributes:
        skips_parameters: Whether some photos give some parameters no gradient, which those who train on several
            processes must know.

    Example:
        >>> import torch
        >>> class Red(MaskModel):
        ...     def predict(self, photo):
        ...         return photo[:, :1]
        >>> Red()(torch.ones(1, 3, 4, 4), box=(0, 0, 2, 4))[0, 0, 0]  # soft at the box's side
        tensor([1.0000, 1.0000, 0.5000, 0.0000])
    """

    skips_parameters = False

    def forward(
        self,
        photo: Tensor,
        box: Tensor | Sequence[float] | None = None,
        point: Tensor | Sequence[float] | None = None,
    ) -> Tensor:
        """Finds the subject.

        Args:
            photo: ``(B, 3, H, W)``, sRGB 0..1.
            box: The subject's ``(x, y, width, height)`` in pixels, for all photos, or a tensor ``(B, 4)`` with one for
                each; what is not in it does not belong to the subject.
            point: ``(x, y)`` in pixels or a tensor ``(B, 2)``: what is not connected with this does not belong to it.

        Returns:
            Mask ``(B, 1, H, W)``, 0..1, soft, with the photo's dtype and device; differentiable in photo and weights.

        Raises:
            ValueError: A shape is not as above, the photo is not floating-point, or box or point miss the frame.
        """
        check_photo(photo)
        return keep_subject(self.predict(photo), box, point)

    @abstractmethod
    def predict(self, photo: Tensor) -> Tensor:
        """Return the mask ``(B, 1, H, W)``, 0..1, of everything that could be a subject in a checked photo."""
