"""Photo files: every format there and back, and everything that may be wrong with one."""

import io
import os
import struct
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import ExifTags, Image, ImageCms, ImageOps

from depthbokeh import photo as module
from depthbokeh.photo import PhotoError, atomic_path, read_map, read_photo, write_photo

FORMATS = [
    ("a.jpg", 8),
    ("a.JPEG", 8),
    ("a.png", 8),
    ("a.png", 16),
    ("a.tif", 8),
    ("a.tiff", 16),
    ("a.webp", 8),
]
EXACT = [pair for pair in FORMATS if pair[0].endswith((".png", ".tif", ".tiff"))]


def make_image(bits: int = 8, channels: int = 3, size: tuple[int, int] = (23, 34)) -> torch.Tensor:
    """Noise on the steps of the format, (1, C, H, W)."""
    top = 2**bits - 1
    generator = torch.Generator().manual_seed(channels * bits)
    return torch.randint(0, top + 1, (1, channels, *size), generator=generator).float() / top


def make_smooth(size: tuple[int, int] = (40, 64)) -> torch.Tensor:
    """Gradients that a lossy format keeps, (1, 3, H, W)."""
    y, x = torch.meshgrid(torch.linspace(0, 1, size[0]), torch.linspace(0, 1, size[1]), indexing="ij")
    return torch.stack([x, y, 1 - x])[None]


def make_exif(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif.update({271: "Maker", 272: "Model 7", 274: orientation, 306: "2024:05:06 07:08:09", 282: 300.0})
    about = {33437: 2.8, 37386: 50.0, 36867: "2024:05:06 07:08:09", 37500: b"secret" * 9}
    exif[ExifTags.IFD.Exif] = {**about, 40962: 9999, 40963: 8888}
    exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (51.0, 30.0, 0.5)}
    return exif.tobytes()[6:]


@pytest.fixture(scope="module")
def icc() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def make_png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


# There and back


@pytest.mark.parametrize(("name", "bits"), EXACT)
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_round_trip(tmp_path, name, bits, channels):
    image = make_image(bits, channels)
    write_photo(tmp_path / name, image, bits=bits)
    photo = read_photo(tmp_path / name)
    assert (photo.bits, photo.exif, photo.icc, photo.alpha) == (bits, None, None, None)
    assert photo.image.dtype == torch.float32
    assert photo.image.is_contiguous()
    torch.testing.assert_close(photo.image, image.expand(1, 3, -1, -1), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.webp"])
@pytest.mark.parametrize("bits", [8, 16])
def test_lossy_round_trip(tmp_path, name, bits):
    image = make_smooth()
    write_photo(tmp_path / name, image, bits=bits)
    photo = read_photo(tmp_path / name)
    assert photo.bits == 8
    assert (photo.image - image).abs().mean() < 0.01


@pytest.mark.parametrize(("name", "bits"), [*EXACT, ("a.webp", 8), ("a.jpg", 8)])
def test_alpha(tmp_path, name, bits):
    alpha = make_image(bits, 1)
    write_photo(tmp_path / name, make_image(bits), bits=bits, alpha=alpha)
    photo = read_photo(tmp_path / name)
    if name == "a.jpg":
        assert photo.alpha is None
    else:
        torch.testing.assert_close(photo.alpha, alpha, rtol=0, atol=0)
    if name not in ("a.jpg", "a.webp"):
        torch.testing.assert_close(photo.image, make_image(bits), rtol=0, atol=0)


@pytest.mark.parametrize(("name", "bits"), FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (65, 2), (129, 3)])
def test_thin_pictures(tmp_path, name, bits, size):
    image = torch.full((1, 3, *size), 0.5)
    write_photo(tmp_path / name, image, bits=bits)
    assert (read_photo(tmp_path / name).image - image).abs().max() < 0.01


def test_rounds_half_up_and_clips(tmp_path):
    values = torch.tensor([-1.0, 0.0, 0.49 / 255, 0.5 / 255, 1.5 / 255, 254.5 / 255, 2.0, float("inf")])
    write_photo(tmp_path / "a.png", values.view(1, 1, 1, 8).double())
    assert cv2.imread(str(tmp_path / "a.png"), -1).tolist() == [[0, 0, 0, 1, 2, 255, 255, 255]]


@pytest.mark.parametrize("bits", [8, 16])
def test_other_readers_agree(tmp_path, bits):
    image = make_image(bits, 3, (130, 20))
    expected = (image[0].permute(1, 2, 0).double().numpy() * (2**bits - 1)).round()
    for name in ("a.png", "a.tif"):
        write_photo(tmp_path / name, image, bits=bits, exif=make_exif())
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / name), -1)[..., ::-1], expected)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), expected)


def test_jpeg_keeps_full_colour_resolution(tmp_path):
    write_photo(tmp_path / "a.jpg", make_smooth())
    with Image.open(tmp_path / "a.jpg") as picture:
        assert [layer[1:3] for layer in picture.layer] == [(1, 1)] * 3


# Metadata


@pytest.mark.parametrize(("name", "bits"), FORMATS)
def test_exif_and_profile_survive(tmp_path, name, bits, icc):
    write_photo(tmp_path / name, make_smooth(), bits=bits, exif=make_exif(6), icc=icc)
    photo = read_photo(tmp_path / name)
    assert photo.icc == icc
    assert photo.image.shape == (1, 3, 40, 64)
    tags = photo.exif_ifd()
    expected = {
        271: "Maker",
        272: "Model 7",
        274: 1,
        306: "2024:05:06 07:08:09",
        282: 300,
        33437: 2.8,
        37386: 50,
    }
    assert {tag: tags[tag] for tag in expected} == expected
    assert (tags[37500], tags[40962], tags[40963]) == (b"secret" * 9, 64, 40)
    # What Pillow alone finds in the file.
    with Image.open(tmp_path / name) as picture:
        assert picture.info["icc_profile"] == icc
        exif = picture.getexif()
        assert exif[274] == 1
        assert exif.get_ifd(ExifTags.IFD.Exif)[33437] == 2.8
        assert exif.get_ifd(ExifTags.IFD.GPSInfo)[2] == (51.0, 30.0, 0.5)


@pytest.mark.parametrize("name", ["b.jpg", "b.png", "b.tif", "b.webp"])
def test_metadata_from_file_to_file(tmp_path, name, icc):
    write_photo(tmp_path / "a.tif", make_smooth(), bits=16, exif=make_exif(), icc=icc)
    first = read_photo(tmp_path / "a.tif")
    write_photo(tmp_path / name, first.image[..., :20, :30], bits=16, exif=first.exif, icc=first.icc)
    second = read_photo(tmp_path / name)
    assert second.icc == icc
    assert second.exif_ifd()[33437] == 2.8
    assert second.exif_ifd()[40962] == 30


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png8", "png16", "tif8", "tif16", "webp"])
def test_orientation_is_applied(tmp_path, kind, orientation):
    stored = (make_smooth((16, 24))[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    exif = b"Exif\0\0" + make_exif(orientation)
    deep = stored.astype(np.uint16) * 257
    path = tmp_path / f"a.{kind.rstrip('0123456789')}"
    if kind == "png16":
        kinds, blocks = [cv2.IMAGE_METADATA_EXIF], [np.frombuffer(exif[6:], np.uint8)]
        path.write_bytes(cv2.imencodeWithMetadata(".png", deep[..., ::-1].copy(), kinds, blocks)[1].tobytes())
    elif kind == "tif16":
        tifffile.imwrite(path, deep, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    else:
        Image.fromarray(stored).save(path, exif=exif, **({"lossless": True} if kind == "webp" else {}))
    picture = Image.fromarray(stored)
    picture.getexif()[274] = orientation
    upright = torch.from_numpy(np.array(ImageOps.exif_transpose(picture))).permute(2, 0, 1)[None] / 255
    photo = read_photo(path)
    assert photo.image.shape == upright.shape
    assert (photo.image - upright).abs().max() < (0.1 if kind == "jpg" else 1e-6)
    assert photo.exif_ifd()[274] == 1


def test_broken_exif_does_not_lose_the_photo(tmp_path):
    good = make_exif()
    generator = np.random.default_rng(3)
    for _ in range(60):
        block = np.frombuffer(good, np.uint8).copy()
        block[generator.integers(0, len(block), 12)] = generator.integers(0, 256, 12)
        Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + block.tobytes())
        photo = read_photo(tmp_path / "a.jpg")
        assert sorted(photo.image.shape[-2:]) == [6, 8]
        photo.exif_ifd()
        write_photo(tmp_path / "b.tif", photo.image, exif=photo.exif, overwrite=True)
    assert module.Photo(photo.image, 8, b"garbage", None, None).exif_ifd() == {}
    with pytest.raises(PhotoError, match=r"b\.png.*cannot be written"):
        write_photo(tmp_path / "b.png", photo.image, exif=b"garbage")
    assert not (tmp_path / "b.png").exists()


# Kinds of picture


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        *[(mode, "png") for mode in ("1", "L", "LA", "P")],
        *[(mode, "jpg") for mode in ("L", "CMYK", "YCbCr")],
        *[(mode, "tif") for mode in ("1", "L", "CMYK", "PA")],
        ("RGBA", "webp"),
    ],
)
def test_other_modes_become_rgb(tmp_path, mode, suffix):
    if mode == "PA" or (mode == "RGBA" and suffix == "webp"):
        picture = Image.new("RGBA", (8, 6), (200, 100, 50, 128))
        picture.save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
        expected = picture
    else:
        picture = Image.new("RGB", (8, 6), (200, 100, 50)).convert(mode)
        picture.save(tmp_path / f"a.{suffix}")
        with Image.open(tmp_path / f"a.{suffix}") as stored:
            expected = stored.convert("RGBA" if "A" in mode else "RGB")
    photo = read_photo(tmp_path / f"a.{suffix}")
    pixels = torch.from_numpy(np.array(expected)).permute(2, 0, 1)[None] / 255
    assert photo.image.shape == (1, 3, 6, 8)
    torch.testing.assert_close(photo.image, pixels[:, :3], rtol=0, atol=1e-6)
    assert (photo.alpha is None) == ("A" not in mode)


def test_palette_with_transparency(tmp_path):
    picture = Image.new("P", (4, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "a.png", transparency=1)
    photo = read_photo(tmp_path / "a.png")
    assert photo.image[0, :, 0, 0].tolist() == [1, 0, 0]
    assert photo.alpha.flatten().tolist() == [1, 0, 1, 1]


def test_progressive_jpeg(tmp_path):
    Image.new("L", (2000, 1000), 255).save(tmp_path / "a.jpg", progressive=True)  # as short as can be
    assert read_photo(tmp_path / "a.jpg").image.min() == 1


def test_16_bit_grey_with_alpha(tmp_path):
    samples = np.array([[[1, 65535], [1000, 0]]], ">u2")
    (tmp_path / "a.png").write_bytes(make_png(2, 1, 16, 4, b"\0" + samples.tobytes()))
    photo = read_photo(tmp_path / "a.png")
    assert photo.bits == 16
    torch.testing.assert_close(photo.image[0, 2] * 65535, torch.tensor([[1.0, 1000.0]]))
    assert photo.alpha.flatten().tolist() == [1, 0]


@pytest.mark.parametrize("compression", [1, 5, 8, 32946])
def test_16_bit_tiff_compressions(tmp_path, compression):
    samples = (make_image(16)[0].permute(1, 2, 0).double().numpy() * 65535).round().astype(np.uint16)
    cv2.imwrite(str(tmp_path / "a.tif"), samples[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    torch.testing.assert_close(read_photo(tmp_path / "a.tif").image, make_image(16), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("dtype", "settings"),
    [
        (np.float32, {}),
        (np.float16, {}),
        (np.uint32, {}),
        (np.uint16, {"planarconfig": "separate"}),
        (np.uint16, {"extrasamples": ["assocalpha"]}),
    ],
)
def test_unsupported_tiff(tmp_path, dtype, settings):
    samples = np.zeros((4, 6, 4 if "extrasamples" in settings else 3), dtype)
    if "planarconfig" in settings:
        samples = samples.transpose(2, 0, 1).copy()
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", metadata=None, **settings)
    with pytest.raises(PhotoError, match=r"a\.tif: cannot be read as TIFF"):
        read_photo(tmp_path / "a.tif")


def test_grey_float_tiff_says_what_was_expected(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 6), np.float32))
    with pytest.raises(PhotoError, match="32 bit float samples, expected 8 or 16 bit unsigned"):
        read_photo(tmp_path / "a.tif")


def test_only_rgb_profiles_are_kept(tmp_path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.new("L", (4, 4)).save(tmp_path / "a.png", icc_profile=lab)
    assert read_photo(tmp_path / "a.png").icc is None


# Broken and missing files


@pytest.mark.parametrize("kind", ["jpg", "progressive", "png8", "png16", "tif8", "tif16", "lzw16", "raw8", "webp"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9, 0.97])
def test_truncated_files_raise(tmp_path, kind, kept):
    image = make_image(16 if "16" in kind else 8, 3, (90, 110))
    suffix = {"progressive": "jpg", "lzw16": "tif", "raw8": "tif"}.get(kind, kind.rstrip("0123456789"))
    path = tmp_path / f"a.{suffix}"
    picture = Image.fromarray((image[0] * 255).round().byte().permute(1, 2, 0).numpy())
    if kind == "progressive":
        picture.save(path, progressive=True)
    elif kind == "raw8":
        picture.save(path)
    elif kind == "lzw16":
        cv2.imwrite(str(path), (image[0] * 65535).permute(1, 2, 0).numpy().astype(np.uint16))
    else:
        write_photo(path, image, bits=16 if "16" in kind else 8)
    data = path.read_bytes()
    read_photo(path)
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(PhotoError, match=rf"a\.{suffix}: cannot be read as"):
        read_photo(path)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("closed", [True, False])
def test_header_of_100_megapixels_over_little_data(tmp_path, depth, closed):
    data = make_png(10_000, 10_000, depth, 2, bytes(100))
    (tmp_path / "a.png").write_bytes(data if closed else data[:-30])
    started = time.perf_counter()
    with pytest.raises(PhotoError, match=r"a\.png: cannot be read as PNG"):
        read_photo(tmp_path / "a.png")
    assert time.perf_counter() - started < 1


def test_jpeg_header_of_100_megapixels_over_little_data(tmp_path):
    write_photo(tmp_path / "a.jpg", make_image())
    data = (tmp_path / "a.jpg").read_bytes()
    start = data.index(b"\xff\xc0") + 5
    (tmp_path / "a.jpg").write_bytes(data[:start] + struct.pack(">HH", 10_000, 10_000) + data[start + 4 :])
    with pytest.raises(PhotoError, match="truncated, too short for 10000 x 10000 pixels"):
        read_photo(tmp_path / "a.jpg")


def test_too_many_pixels_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(make_png(20_000, 10_001, 8, 2, bytes(100)))
    with pytest.raises(PhotoError, match="claims 20000 x 10001 pixels, at most 200000000 are read"):
        read_photo(tmp_path / "a.png")
    write_photo(tmp_path / "b.png", make_image())
    with pytest.raises(PhotoError, match="claims 34 x 23"):
        read_photo(tmp_path / "b.png", max_pixels=700)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.jpg", None, "No such file"),
        ("folder.jpg", "folder", "Is a directory"),
        ("nul\0.jpg", None, "null byte"),
        ("empty.jpg", b"", "an empty file, expected a JPEG"),
        ("garbage.jpg", b"garbage" * 99, "a file of another kind, expected a JPEG"),
        ("magic.jpg", b"\xff\xd8\xff", "cannot be read as JPEG"),
        ("magic.png", b"\x89PNG\r\n\x1a\n", "cannot be read as PNG"),
        ("magic.tif", b"II*\0" + bytes(40), "cannot be read as TIFF"),
        ("magic.webp", b"RIFF\0\0\0\0WEBPVP8 " + bytes(40), "cannot be read as WEBP"),
        ("sound.webp", b"RIFF\0\0\0\0WAVE" + bytes(40), "cannot be read as WEBP"),
    ],
)
def test_unreadable_files_raise(tmp_path, name, content, message):
    if content == "folder":
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PhotoError, match=message) as caught:
        read_photo(tmp_path / name)
    assert name in str(caught.value)


# Writing


def test_content_counts_not_the_extension(tmp_path):
    write_photo(tmp_path / "a.png", make_image())
    os.rename(tmp_path / "a.png", tmp_path / "a.jpg")
    torch.testing.assert_close(read_photo(tmp_path / "a.jpg").image, make_image(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("a.gif", {}, r"'\.gif', expected one of \.jpg, \.jpeg, \.png, \.tif, \.tiff, \.webp"),
        ("a", {}, "unknown extension ''"),
        ("a.png", {"bits": 12}, "12 bits"),
        ("a.jpg", {"quality": 101}, "quality 101"),
        ("a.png", {"image": torch.full((1, 3, 4, 4), float("nan"))}, "16 values of channel 0 are NaN"),
        ("a.png", {"image": torch.zeros(2, 3, 4, 4)}, "expected floats"),
        ("a.png", {"image": torch.zeros(4, 4)}, "expected floats"),
        ("a.png", {"image": torch.zeros(1, 3, 0, 4)}, "expected floats"),
        ("a.png", {"image": torch.zeros(1, 3, 4, 4, dtype=torch.uint8)}, "expected floats"),
        ("a.png", {"alpha": torch.zeros(1, 1, 5, 5)}, "expected RGB and alpha"),
        (
            "a.png",
            {"image": torch.zeros(1, 1, 4, 4), "alpha": torch.zeros(1, 1, 4, 4)},
            "expected RGB and alpha",
        ),
        ("a.webp", {"image": torch.zeros(1, 3, 1, 16_384)}, "16384 x 1 pixels cannot be written"),
        ("a.jpg", {"image": torch.zeros(1, 3, 1, 65_501)}, "65501 x 1 pixels cannot be written"),
        ("missing/a.png", {}, "the folder .*missing does not exist"),
        ("folder.png", {}, "is a folder"),
    ],
)
def test_unwritable_photos_raise(tmp_path, name, settings, message):
    (tmp_path / "folder.png").mkdir()
    arguments = {"image": torch.zeros(1, 3, 4, 4), **settings}
    with pytest.raises(PhotoError, match=message):
        write_photo(tmp_path / name, **arguments, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.png"]


def test_overwrites_only_when_asked(tmp_path):
    path = tmp_path / "a.png"
    write_photo(path, torch.zeros(1, 3, 4, 4))
    with pytest.raises(PhotoError, match="exists already"):
        write_photo(path, torch.ones(1, 3, 4, 4))
    assert read_photo(path).image.max() == 0
    write_photo(path, torch.ones(1, 3, 4, 4), overwrite=True)
    assert read_photo(path).image.min() == 1
    assert list(tmp_path.iterdir()) == [path]


def test_failing_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fill_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_disk)
    with pytest.raises(PhotoError, match=r"a\.png.*No space left"):
        write_photo(path, torch.zeros(1, 3, 4, 4), overwrite=True)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_path(tmp_path):
    path = tmp_path / "a.npz"
    with atomic_path(path, overwrite=False) as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".npz")
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()
    with pytest.raises(KeyboardInterrupt), atomic_path(path, overwrite=True):
        raise KeyboardInterrupt
    with pytest.raises(PhotoError, match="exists"), atomic_path(tmp_path / "b.txt", overwrite=False):
        (tmp_path / "b.txt").write_text("quicker")
    assert (tmp_path / "b.txt").read_text() == "quicker"
    with pytest.raises(PhotoError, match="does not exist"), atomic_path(path / "c.txt", overwrite=True):
        pass
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.npz", "b.txt"]


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Maps


@pytest.mark.parametrize(("name", "bits"), EXACT)
def test_map_round_trip(tmp_path, name, bits):
    plane = make_image(bits, 1)
    write_photo(tmp_path / name, plane, bits=bits)
    torch.testing.assert_close(read_map(tmp_path / name), plane, rtol=0, atol=0)
    with Image.open(tmp_path / name) as picture:
        assert picture.mode in ("L", "I", "I;16", "I;16B")


def test_map_from_equal_channels_and_jpeg(tmp_path):
    write_photo(tmp_path / "a.png", make_image(8, 1).expand(1, 3, -1, -1))
    torch.testing.assert_close(read_map(tmp_path / "a.png"), make_image(8, 1), rtol=0, atol=0)
    write_photo(tmp_path / "a.jpg", make_smooth()[:, :1])
    assert (read_map(tmp_path / "a.jpg") - make_smooth()[:, :1]).abs().max() < 0.02


def test_map_is_turned_upright(tmp_path):
    Image.new("L", (8, 6)).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + make_exif(6))
    assert read_map(tmp_path / "a.jpg").shape == (1, 1, 8, 6)


def test_colour_map_raises(tmp_path):
    write_photo(tmp_path / "a.png", make_image())
    with pytest.raises(PhotoError, match=r"a\.png: a colour picture .* expected a grey map"):
        read_map(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0.5, -3]]), [[0.5, -3]]),
        (np.array([[[0.5, 7]]], ">f4"), [[0.5, 7]]),
        (np.array([[[0.5], [7]], [[1], [2]]], np.float16), [[0.5, 7], [1, 2]]),
        (np.array([[[[2], [3]]]], np.int32)[..., 0], [[2, 3]]),
        (np.array([[51, 255]], np.uint8), [[0.2, 1]]),
        (np.array([[13107, 65535]], np.uint16), [[0.2, 1]]),
        (np.array([[True, False]]), [[1, 0]]),
    ],
)
def test_array_maps(tmp_path, array, expected):
    np.save(tmp_path / "a.npy", array)
    plane = read_map(tmp_path / "a.npy")
    assert plane.dtype == torch.float32
    torch.testing.assert_close(plane, torch.tensor(expected, dtype=torch.float32)[None, None])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[np.nan, np.inf, 1e300, 1]]), "3 of 4 values are NaN or infinite"),
        (np.zeros((3, 4, 5)), r"float64 array of shape \(3, 4, 5\)"),
        (np.zeros(4), "expected real numbers"),
        (np.zeros((0, 4)), "expected real numbers"),
        (np.zeros((2, 2), complex), "complex128"),
        (np.array([["a", "b"]]), "expected real numbers"),
        (np.array([[{}]], object), "allow_pickle"),
    ],
)
def test_unfit_arrays_raise(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(PhotoError, match=message):
        read_map(tmp_path / "a.npy")


def test_truncated_array_raises(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((40, 40)))
    for data in (buffer.getvalue()[:900], buffer.getvalue()[:30], b"", b"garbage" * 20):
        (tmp_path / "a.npy").write_bytes(data)
        with pytest.raises(PhotoError, match=r"a\.npy: cannot be read as a \.npy array"):
            read_map(tmp_path / "a.npy")


def test_map_size(tmp_path: Path):
    ramp = torch.linspace(0, 1, 60).expand(1, 1, 40, 60)
    np.save(tmp_path / "a.npy", ramp[0, 0].numpy())
    assert torch.equal(read_map(tmp_path / "a.npy", (40, 60)), ramp)
    for size in ((20, 30), (80, 120), (101, 151)):
        plane = read_map(tmp_path / "a.npy", size)
        assert plane.shape == (1, 1, *size)
        assert (plane[..., size[1] // 2] - 0.5).abs().max() < 0.02
    with pytest.raises(PhotoError, match="60 x 40 pixels, expected 60 x 43"):
        read_map(tmp_path / "a.npy", (43, 60))
