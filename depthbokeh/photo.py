"""Read and write photo files: JPEG, PNG, TIFF and WebP, with EXIF, ICC profile and alpha.

Tensors are in the file's own RGB encoding, 0..1, and upright: the EXIF orientation is applied on reading and
reset to 1 in the metadata. Every failure that a user can cause is a `PhotoError` that names the file.
"""

from __future__ import annotations

import importlib
import itertools
import os
import secrets
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from PIL.Image import Exif
    from PIL.ImageFile import ImageFile

__all__ = ["Photo", "PhotoError", "atomic_path", "read_map", "read_photo", "write_photo"]

# Pillow's plugins are called directly: Image.open would apply a process-wide size limit of its own.
_PLUGINS = {".jpg": "Jpeg", ".jpeg": "Jpeg", ".png": "Png", ".tif": "Tiff", ".tiff": "Tiff", ".webp": "WebP"}
_MAGIC = {b"\xff\xd8\xff": "Jpeg", b"\x89PNG": "Png", b"RIFF": "WebP"}
_MAGIC |= dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "Tiff")
_ORIENTATION, _PIXEL_X, _PIXEL_Y = 274, 40962, 40963
_EXIF_IFD, _GPS_IFD, _INTEROP_IFD = 34665, 34853, 40965
# The base tags about the photo: description to copyright, rating, those of Windows. Others are about storage.
_BASE_TAGS = (270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096))


class PhotoError(ValueError):
    """A photo, map or output file that cannot be used, told in words for the user."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo.

    Attributes:
        image: (1, 3, H, W) float32, 0..1, upright, in the file's own RGB encoding.
        bits: Bits per channel of the file, 8 or 16.
        exif: EXIF block from its TIFF header on (without ``Exif`` and two zeros), orientation 1, or None.
        icc: ICC profile of the RGB encoding, or None.
        alpha: (1, 1, H, W) float32, 0..1, 1 is opaque, not multiplied into `image`, or None.

    Example:
        >>> Photo(torch.zeros(1, 3, 4, 6), bits=8, exif=None, icc=None, alpha=None).exif_ifd()
        {}
    """

    image: Tensor
    bits: int
    exif: bytes | None
    icc: bytes | None
    alpha: Tensor | None

    def exif_ifd(self) -> dict[int, object]:
        """EXIF values by tag number, such as FNumber 33437; those of the Exif sub-IFD go over the base tags.

        Returns:
            Values as Pillow decodes them, {} without EXIF or if it is unreadable.
        """
        with suppress(Exception), warnings.catch_warnings():  # broken EXIF raises nearly anything
            warnings.simplefilter("ignore")
            exif = _parse_exif(self.exif or b"")
            return {**exif, **exif.get_ifd(_EXIF_IFD)}
        return {}


def read_photo(path: str | os.PathLike[str], *, max_pixels: int = 200_000_000) -> Photo:
    """Read a photo: JPEG, WebP, PNG and TIFF with 8 or 16 bits, whatever its extension.

    Grey, palette and CMYK become RGB, and their profile, which is for another space, is dropped. Of several
    pages or frames the first is read.

    Args:
        path: The file.
        max_pixels: Most pixels that a header may claim; more is refused before anything is decoded.

    Returns:
        The photo, upright.

    Raises:
        PhotoError: If the file is missing, truncated, too large or not such a photo.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_photo(f"{folder}/red.png", torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1).expand(3, 4, 6))
        ...     photo = read_photo(f"{folder}/red.png")
        >>> photo.image.shape, photo.bits, photo.image[0, :, 0, 0].tolist()
        (torch.Size([1, 3, 4, 6]), 8, [1.0, 0.0, 0.0])
    """
    samples, exif, icc = _decode(Path(path), max_pixels)
    height, width, channels = samples.shape
    scale = np.float32(np.iinfo(samples.dtype).max)
    planes = np.empty((1, channels, height, width), np.float32)
    for channel in range(channels):
        np.divide(samples[..., channel], scale, out=planes[0, channel], dtype=np.float32)
    image = torch.from_numpy(planes)
    return Photo(image[:, :3], samples.itemsize * 8, exif, icc, image[:, 3:] if channels == 4 else None)


def read_map(path: str | os.PathLike[str], size: tuple[int, int] | None = None) -> Tensor:
    """Read a one-channel map, disparity or mask.

    Pictures and arrays of unsigned integers are scaled by their largest possible value to 0..1, other arrays
    are taken as they are. The alpha of a picture is ignored.

    Args:
        path: Grey JPEG, PNG, TIFF or WebP, or a ``.npy`` array (H, W) of real numbers, which may have further
            axes of length 1.
        size: (H, W) to resize to. The aspect ratio must be the same within 1 %.

    Returns:
        The map, (1, 1, H, W) float32, finite.

    Raises:
        PhotoError: If the file cannot be read, has colours, NaN or infinity, or another aspect ratio.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/near.npy", np.full((4, 6), 2.5))
        ...     read_map(f"{folder}/near.npy", size=(2, 3))
        tensor([[[[2.5000, 2.5000, 2.5000],
                  [2.5000, 2.5000, 2.5000]]]])
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        plane = _read_array(path)
    else:
        image = read_photo(path).image
        spread = float((image.amax(1) - image.amin(1)).max())
        if spread > 0:
            raise PhotoError(f"{path}: a colour picture (channels differ by {spread:.3g}), expected a grey map")
        plane = image[:, :1].clone()  # (1, 1, H, W)
    odd = plane.numel() - int(torch.isfinite(plane).sum())
    if odd:
        raise PhotoError(f"{path}: {odd} of {plane.numel()} values are NaN or infinite, expected finite numbers")
    height, width = plane.shape[-2:]
    if size is None or size == (height, width):
        return plane
    if abs((width * size[0]) / (height * size[1]) - 1) > 0.01:
        wanted = f"{size[1]} x {size[0]} or the same aspect ratio"
        raise PhotoError(f"{path}: the map is {width} x {height} pixels, expected {wanted}")
    return functional.interpolate(plane, size=size, mode="bilinear", antialias=True)


def write_photo(
    path: str | os.PathLike[str],
    image: Tensor,
    *,
    bits: int = 8,
    quality: int = 95,
    exif: bytes | None = None,
    icc: bytes | None = None,
    alpha: Tensor | None = None,
    overwrite: bool = False,
) -> None:
    """Write a photo or map, completely or not at all. The extension of `path` chooses the format.

    Args:
        path: File ending in .jpg, .jpeg, .png, .tif, .tiff or .webp.
        image: (1, 3, H, W) or (3, H, W) RGB or (1, 1, H, W) or (1, H, W) grey, floating, 0..1 in the encoding
            that `icc` describes. Values outside are clipped, then rounded half up.
        bits: Bits per channel, 8 or 16; JPEG and WebP have 8 in any case.
        quality: 1..100 for JPEG (colour not subsampled) and WebP.
        exif: EXIF block as in `Photo`; orientation becomes 1 and the pixel dimensions those of `image`.
        icc: ICC profile of the RGB encoding; left out of a grey file.
        alpha: (1, 1, H, W), 0..1, with an RGB image; left out of a JPEG.
        overwrite: Whether an existing file is replaced.

    Raises:
        PhotoError: If the extension, an argument or the place is unfit, a value is NaN or the file exists.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_photo(f"{folder}/grey.tif", torch.full((1, 1, 4, 6), 0.25), bits=16)
        ...     round(float(read_map(f"{folder}/grey.tif").mean()) * 65535)
        16384
    """
    path = Path(path)
    plugin = _PLUGINS.get(path.suffix.lower())
    if plugin is None:
        raise PhotoError(f"{path}: unknown extension {path.suffix!r}, expected one of {', '.join(_PLUGINS)}")
    if bits not in (8, 16) or not 1 <= quality <= 100:
        raise PhotoError(f"{path}: {bits} bits at quality {quality}, expected 8 or 16 bits and quality 1 to 100")
    deep = bits == 16 and plugin in ("Png", "Tiff")
    samples = _quantize(path, image, None if plugin == "Jpeg" else alpha, np.uint16 if deep else np.uint8)
    height, width, channels = samples.shape
    with atomic_path(path, overwrite=overwrite) as temporary:
        try:
            block = _fit_exif(_parse_exif(exif), width, height) if exif else b""
            profile = icc if icc and channels > 1 else b""  # decoders reject an RGB profile on a grey picture
            if plugin == "Tiff":
                _encode_tiff(temporary, samples, block, profile)
            elif plugin == "Png":
                _encode_png(temporary, samples, block, profile)
            else:
                _encode_lossy(temporary, plugin, quality, samples, block, profile)
        except Exception as error:  # each encoder has its own kinds
            raise PhotoError(f"{path}: {width} x {height} pixels cannot be written: {error}") from error


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Path]:
    """Give a file beside `path` to write to, which takes its place on success and is removed on failure.

    Args:
        path: The file to create.
        overwrite: Whether an existing file is replaced.

    Yields:
        Path of an empty file in the same folder with the same suffix.

    Raises:
        PhotoError: If the file exists and is not to be replaced, or cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_path(f"{folder}/note.txt", overwrite=False) as temporary:
        ...         _ = temporary.write_text("whole")
        ...     Path(folder, "note.txt").read_text()
        'whole'
    """
    path = Path(path)
    _check_target(path, overwrite)
    temporary = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        _check_target(path, overwrite)  # somebody else may have been quicker
        os.replace(temporary, path)
    except OSError as error:
        raise PhotoError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _check_target(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise PhotoError(f"{path}: is a folder, expected a file name")
    if not path.parent.is_dir():
        raise PhotoError(f"{path}: cannot be written, the folder {path.parent} does not exist")
    if os.path.lexists(path) and not overwrite:
        raise PhotoError(f"{path}: exists already and overwriting was not asked for")


def _open_stream(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise PhotoError(f"{path}: cannot be read: {getattr(error, 'strerror', error)}") from error


def _decode(path: Path, max_pixels: int) -> tuple[NDArray[Any], bytes | None, bytes | None]:
    """Upright samples (H, W, 3 or 4) in uint8 or uint16, the EXIF block and the ICC profile."""
    # Pillow warns of odd metadata, which is no news to the user of a photo that can be read.
    with _open_stream(path) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = stream.read(32)
        stream.seek(0)
        plugin = next((plugin for magic, plugin in _MAGIC.items() if head.startswith(magic)), None)
        if plugin is None:
            came = "a file of another kind" if head else "an empty file"
            raise PhotoError(f"{path}: {came}, expected a JPEG, PNG, TIFF or WebP picture")
        try:
            module = importlib.import_module(f"PIL.{plugin}ImagePlugin")
            picture: ImageFile = getattr(module, f"{plugin}ImageFile")(stream)
            width, height = picture.size
            if width * height > max_pixels:
                raise ValueError(f"the header claims {width} x {height} pixels, at most {max_pixels} are read")
            # libjpeg fills missing blocks with grey if only an end marker follows; each of them takes a bit.
            if plugin == "Jpeg" and os.fstat(stream.fileno()).st_size * 512 < width * height:
                raise ValueError(f"truncated, too short for {width} x {height} pixels")
            deep = head[24] == 16 if plugin == "Png" else plugin == "Tiff" and _is_deep_tiff(picture)
            # OpenCV makes up what is missing of a truncated file, so Pillow decodes each file first.
            picture.load()
            if deep:
                samples = _deep_samples(stream)
            else:
                mode = "RGBA" if picture.has_transparency_data else "RGB"
                samples = np.asarray(picture if picture.mode == mode else picture.convert(mode))
        except Exception as error:  # a broken file raises nearly anything
            what = str(error) or type(error).__name__
            raise PhotoError(f"{path}: cannot be read as {plugin.upper()}: {what}") from error
        block = b""
        with suppress(Exception):  # a photo with broken EXIF is a photo
            exif = picture.getexif()
            # For TIFF, Pillow and OpenCV have turned the picture already and Pillow has deleted the tag.
            samples = _turn_upright(samples, exif.get(_ORIENTATION, 1))
            block = _fit_exif(exif, samples.shape[1], samples.shape[0])
    icc = picture.info.get("icc_profile") or b""
    return samples, block or None, icc if icc[16:20] == b"RGB " else None


def _is_deep_tiff(picture: ImageFile) -> bool:
    tags: Mapping[int, Any] = getattr(picture, "tag_v2", {})
    bits, kinds = tags.get(258, (1,)), tags.get(339, (1,))
    if set(kinds) != {1} or (max(bits) > 8 and set(bits) != {16}):
        kind = {1: "unsigned", 2: "signed", 3: "float"}.get(kinds[0], "other")
        raise ValueError(f"{max(bits)} bit {kind} samples, expected 8 or 16 bit unsigned")
    deep = 16 in bits
    # OpenCV mixes up planes, leaves white-is-zero inverted and colours multiplied by their alpha.
    if deep and (tags.get(284, 1) != 1 or tags.get(262) not in (1, 2) or 1 in tags.get(338, ())):
        raise ValueError("16 bit samples in an unusual layout, expected interleaved RGB or grey, plain alpha")
    return deep


def _deep_samples(stream: IO[bytes]) -> NDArray[Any]:
    import cv2

    stream.seek(0)
    data = np.frombuffer(stream.read(), np.uint8)
    # Unknown TIFF tags would be logged to the terminal. The setter moved in OpenCV 5.
    set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    level = set_log_level(0)
    try:
        samples = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)  # (H, W) or (H, W, BGR or BGRA)
    finally:
        set_log_level(level)
    if samples is None or samples.dtype != np.uint16:
        raise ValueError("unusual layout of 16 bit samples")
    order = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    return np.asarray(cv2.cvtColor(samples, order[1 if samples.ndim == 2 else samples.shape[2]]))


def _turn_upright(samples: NDArray[Any], orientation: int) -> NDArray[Any]:
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    rows, columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return samples[:: -1 if rows else 1, :: -1 if columns else 1]


def _read_array(path: Path) -> Tensor:
    with _open_stream(path) as stream:
        try:
            array = np.lib.format.read_array(stream, allow_pickle=False)
        except Exception as error:
            raise PhotoError(f"{path}: cannot be read as a .npy array: {error}") from error
    shape = array.shape
    while array.ndim > 2 and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "buif":
        raise PhotoError(f"{path}: {array.dtype} array of shape {shape}, expected real numbers (H, W)")
    scale = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
    with np.errstate(over="ignore"):  # becomes infinite, which is reported
        return torch.from_numpy(array.astype(np.float32) / np.float32(scale))[None, None]


def _parse_exif(block: bytes) -> Exif:
    from PIL.Image import Exif

    exif = Exif()
    exif.load(b"Exif\0\0" + block)
    return exif


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


def _fit_exif(exif: Exif, width: int, height: int) -> bytes:
    """The EXIF block for an upright picture of this size, empty without any tags."""
    from PIL.Image import Exif

    fitted = Exif()
    fitted.endian = exif.endian  # maker notes follow the byte order around them
    for tag, value in _writable(exif).items():
        if tag in _BASE_TAGS:
            fitted[tag] = value
    for group in (_EXIF_IFD, _GPS_IFD):
        with suppress(Exception):  # the offset of a broken one leads anywhere
            values = _writable(exif.get_ifd(group), group)
            values.pop(_INTEROP_IFD, None)  # an offset in the old block
            if _PIXEL_X in values:
                values.update({_PIXEL_X: width, _PIXEL_Y: height})
            if values:
                fitted[group] = values
    if not fitted:
        return b""
    fitted[_ORIENTATION] = 1
    return fitted.tobytes()[6:]


def _quantize(path: Path, image: Tensor, alpha: Tensor | None, dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """Samples (H, W, C), clipped and rounded half up, plane by plane to save memory."""
    shape, cover = tuple(image.shape), None if alpha is None else tuple(alpha.shape)
    image = image.squeeze(0) if image.ndim == 4 else image
    if image.ndim != 3 or len(image) not in (1, 3) or 0 in shape or not image.is_floating_point():
        raise PhotoError(f"{path}: {image.dtype} image {shape}, expected floats (1, 3, H, W) or (1, 1, H, W)")
    if cover not in (None, (1, 1, *shape[-2:])) or (cover and len(image) == 1):
        raise PhotoError(f"{path}: alpha {cover} with image {shape}, expected RGB and alpha (1, 1, H, W)")
    planes = [*image.detach(), *([] if alpha is None else alpha.detach()[0])]
    samples = np.empty((*shape[-2:], len(planes)), dtype)
    for channel, plane in enumerate(planes):
        odd = int(torch.isnan(plane).sum())
        if odd:
            raise PhotoError(f"{path}: {odd} values of channel {channel} are NaN, expected numbers 0 to 1")
        scaled = plane.to("cpu", torch.float32).clamp(0, 1).mul_(int(np.iinfo(dtype).max)).add_(0.5)
        samples[..., channel] = scaled.numpy()
    return samples


def _encode_lossy(path: Path, plugin: str, quality: int, samples: NDArray[Any], exif: bytes, icc: bytes) -> None:
    from PIL import Image

    importlib.import_module(f"PIL.{plugin}ImagePlugin")  # registers the encoder
    picture = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    block = b"Exif\0\0" + exif if exif else b""
    picture.save(path, plugin.upper(), quality=quality, subsampling=0, exif=block, icc_profile=icc)


def _encode_png(path: Path, samples: NDArray[Any], exif: bytes, icc: bytes) -> None:
    import cv2

    blocks = {cv2.IMAGE_METADATA_EXIF: exif, cv2.IMAGE_METADATA_ICCP: icc}
    used = {kind: np.frombuffer(block, np.uint8) for kind, block in blocks.items() if block}
    if samples.shape[2] > 1:
        samples = cv2.cvtColor(samples, cv2.COLOR_RGB2BGR if samples.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    path.write_bytes(cv2.imencodeWithMetadata(".png", samples, list(used), list(used.values()))[1].tobytes())


def _encode_tiff(path: Path, samples: NDArray[Any], exif: bytes, icc: bytes) -> None:
    """Deflated strips behind Pillow's directory: Pillow has no 16 bit RGB, tifffile no EXIF directory."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    height, width, channels = samples.shape
    head = exif[:8] or b"II*\0\x08\0\0\0"
    differences = samples.copy()
    differences[:, 1:] -= samples[:, :-1]  # wraps round, as the format wants it
    data = differences.astype(samples.dtype.newbyteorder("<" if head[:1] == b"I" else ">"), copy=False)
    strips = [zlib.compress(data[row : row + 64].tobytes(), 4) for row in range(0, height, 64)]
    sizes = [len(strip) for strip in strips]
    directory = ImageFileDirectory_v2(head)
    tags = _parse_exif(exif)
    for tag in tags:
        directory[tag] = tags.get_ifd(tag) if tag in (_EXIF_IFD, _GPS_IFD) else tags[tag]
    directory.update({256: width, 257: height, 258: (samples.itemsize * 8,) * channels, 259: 8, 317: 2})
    directory.update({262: 2 if channels > 1 else 1, 277: channels, 278: 64})
    # Offsets count from the end of the directory, which Pillow adds.
    directory.update({273: tuple(itertools.accumulate([0, *sizes[:-1]])), 279: tuple(sizes)})
    directory.update({34675: icc} if icc else {})
    directory.update({338: 2} if channels == 4 else {})  # alpha not multiplied in
    with path.open("wb") as stream:
        stream.writelines([head, directory.tobytes(8), *strips])
