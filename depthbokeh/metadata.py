"""EXIF blocks: reading them, and fitting them to an upright picture of another size."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Exif

ORIENTATION, _PIXEL_X, _PIXEL_Y = 274, 40962, 40963
EXIF_IFD, GPS_IFD, _INTEROP_IFD = 34665, 34853, 40965
# The base tags about the photo: description to copyright, rating, those of Windows. Others are about storage.
_BASE_TAGS = (270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096))


def parse_exif(block: bytes) -> Exif:
    """An EXIF block, from its TIFF header on, as Pillow holds it."""
    from PIL.Image import Exif

    exif = Exif()
    exif.load(b"Exif\0\0" + block)
    return exif


def fit_exif(exif: Exif, width: int, height: int) -> bytes:
    """Make the EXIF block for an upright picture of this size, empty without any tags."""
    if not exif:
        return b""
    from PIL.Image import Exif

    fitted = Exif()
    fitted.endian = exif.endian  # maker notes follow the byte order around them
    for tag, value in _writable(exif).items():
        if tag in _BASE_TAGS:
            fitted[tag] = value
    for group in (EXIF_IFD, GPS_IFD):
        with suppress(Exception):  # the offset of a broken one leads anywhere
            values = _writable(exif.get_ifd(group), group)
            values.pop(_INTEROP_IFD, None)  # an offset in the old block
            if _PIXEL_X in values:
                values.update({_PIXEL_X: width, _PIXEL_Y: height})
            if values:
                fitted[group] = values
    if not fitted:
        return b""
    fitted[ORIENTATION] = 1
    return fitted.tobytes()[6:]


def _writable(tags: Mapping[int, Any], group: int | None = None) -> dict[int, Any]:
    """The tags that Pillow can write again; one broken tag would cost all of them."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    kept = {}
    for tag in tags:
        with suppress(Exception):
            directory = ImageFileDirectory_v2(group=group)
            directory[tag] = tags[tag]
            directory.tobytes()
            kept[tag] = tags[tag]
    return kept
