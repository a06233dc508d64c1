"""Depth from no network at all: a level camera above flat ground, and the subject standing on it."""

import torch
from torch import Tensor, nn

from depthbokeh.models.registry import Pretrained, refuse_weights, register_depth_model

# The backdrop's disparity where it would reach the bottom of the frame: far behind any subject, yet not at
# infinity, so that the blur still changes from the top of the picture to the ground.
_BACKDROP = 0.2

# A subject is never farther than this. With its lowest point at or above the horizon it cannot stand on the
# plane, which would put it into the backdrop, and it would be blurred like the backdrop.
_FARTHEST_SUBJECT = 0.3


class GroundPlane(nn.Module):
    r"""Disparity of a ground plane with a backdrop, and of a subject that stands on the plane.

    A pinhole camera at height c, level, with focal length f in pixels, sees the ground at depth z in the row
    f c / z below the horizon. Disparity is proportional to 1 / z, so it is *linear in the row*: 0 at the
    horizon, scaled here to 1 in the bottom row. Any other plane is linear in the row too, and the backdrop is
    one that recedes upwards, from the ground to infinity at the top of the frame. With u the row's lower edge
    as a fraction of the height (1 in the bottom row) and h the horizon's,

        disparity(u) = max((u − h) / (1 − h), 0.2 u).

    A subject stands upright on the plane, so all of it is as near as its *contact row*, the lowest row in
    which the mask exceeds half its maximum. A subject cut off by the lower edge thus gets 1, the nearest the
    frame shows; one whose contact row is high in the picture gets at least 0.3, so that it always stands out
    from the backdrop. A mask is taken to be one subject, and cut at half its maximum.

    Args:
        horizon: Row of the horizon as a fraction of the height, 0 (top) ≤ horizon < 1.

    Raises:
        ValueError: ``horizon`` is out of range.

    Examples:
        >>> photo = torch.zeros(1, 3, 5, 4)
        >>> mask = torch.zeros(1, 1, 5, 4)
        >>> mask[..., 1:4, 1:3] = 1
        >>> GroundPlane()(photo, mask)[0, 0].mul(100).round()
        tensor([[  4.,   4.,   4.,   4.],
                [  8.,  67.,  67.,   8.],
                [ 33.,  67.,  67.,  33.],
                [ 67.,  67.,  67.,  67.],
                [100., 100., 100., 100.]])
    """

    def __init__(self, horizon: float = 0.4) -> None:
        super().__init__()
        if not 0 <= horizon < 1:
            raise ValueError(f"horizon is {horizon}: expected a fraction of the height, 0 <= horizon < 1")
        self.horizon = horizon

    def forward(self, photo: Tensor, mask: Tensor | None = None) -> Tensor:
        """Lay out the scene's disparity.

        Without gradient: a pixel is at one depth or at the other.

        Args:
            photo: ``(B, 3, H, W)``, of which only shape, dtype and device count.
            mask: ``(B, 1, H, W)``, 0..1, the subject's; without one there is only the plane.

        Returns:
            Disparity ``(B, 1, H, W)``, 0..1, larger is nearer, with the photo's dtype and device.

        Raises:
            ValueError: A shape is not as above.
        """
        if photo.ndim != 4 or photo.shape[1] != 3 or photo.shape[2] == 0:
            raise ValueError(f"photo has shape {tuple(photo.shape)}: expected (B, 3, H, W)")
        batch, _, height, width = photo.shape
        row = torch.arange(1, height + 1, dtype=torch.float32, device=photo.device) / height  # (H,)
        ground = torch.maximum((row - self.horizon) / (1 - self.horizon), _BACKDROP * row)
        plane = ground[:, None].to(photo.dtype).expand(batch, 1, height, width)  # (B, 1, H, W)
        if mask is None:
            return plane.clone()
        if mask.shape != (batch, 1, height, width):
            raise ValueError(f"mask has shape {tuple(mask.shape)}: expected {(batch, 1, height, width)}, as the photo")
        mask = mask.detach().to(plane)
        # Whole pixels: where a pixel is partly the subject's, a mean of two depths would be at neither.
        within = mask > mask.amax((2, 3), keepdim=True) / 2
        occupied = within.any(3)  # (B, 1, H)
        # Disparity grows downwards, so the lowest row is the one with the largest.
        contact = (ground * occupied).amax(2)[..., None, None]  # (B, 1, 1, 1)
        subject = contact.clamp(min=_FARTHEST_SUBJECT).to(plane)
        return torch.where(within, subject, plane)


@register_depth_model("ground_plane")
def ground_plane(*, pretrained: Pretrained = False, horizon: float = 0.4) -> GroundPlane:
    """Build a `GroundPlane`, which has nothing to load."""
    refuse_weights("ground_plane", pretrained)
    return GroundPlane(horizon)
