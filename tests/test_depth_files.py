"""Depth files: every format and colour map there and back, and everything that may be wrong with one."""

import struct
import sys
import tracemalloc

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from depthbokeh.colormaps import get_colormap, invert_colormap, list_colormaps
from depthbokeh.depth_files import read_depth_values
from depthbokeh.maps import read_disparity
from depthbokeh.photo import PhotoError

RAMP = np.linspace(0.5, 9.5, 24 * 36, dtype=np.float32).reshape(24, 36)


def write_pfm(path, values, order="<", magic=b"Pf"):
    height, width = values.shape[:2]
    header = magic + f"\n{width} {height}\n{'-1.0' if order == '<' else '1.0'}\n".encode()
    path.write_bytes(header + values[::-1].astype(f"{order}f4").tobytes())


def write_exr(path, channels):
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, channels).write(str(path))


def make_steps(height=32, width=64):
    """All 256 values in patches, (H, W) uint8, as a smooth map would hold them."""
    return np.linspace(0, 255, height * width).round().astype(np.uint8).reshape(height, width)


class TestPicture:
    @pytest.mark.parametrize("name", ["a.png", "a.tif"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_grey(self, tmp_path, name, dtype):
        samples = (RAMP / 10 * np.iinfo(dtype).max).astype(dtype)
        assert cv2.imwrite(str(tmp_path / name), samples)
        expected = torch.from_numpy(samples.astype(np.float32) / np.iinfo(dtype).max)
        torch.testing.assert_close(read_depth_values(tmp_path / name), expected[None, None])

    def test_content_decides_not_the_name(self, tmp_path):
        Image.fromarray(make_steps()).save(tmp_path / "a.png")
        (tmp_path / "a.png").rename(tmp_path / "a.pfm")
        assert read_depth_values(tmp_path / "a.pfm").shape == (1, 1, 32, 64)

    def test_photo_is_refused(self, tmp_path):
        data = pytest.importorskip("skimage.data")
        Image.fromarray(data.astronaut()[::4, ::4]).save(tmp_path / "a.png")
        with pytest.raises(PhotoError, match=r"a\.png: a colour picture.*expected a grey map.*Spectral_r"):
            read_depth_values(tmp_path / "a.png")


class TestColormaps:
    @pytest.mark.parametrize("name", list_colormaps())
    def test_colours_are_matplotlibs(self, name):
        matplotlib = pytest.importorskip("matplotlib")
        colours = matplotlib.colormaps[name](np.arange(256))[:, :3] * 255
        assert np.abs(get_colormap(name) - colours).max() <= 0.5 + 1e-4

    @pytest.mark.parametrize("rounding", [np.floor, np.round])
    def test_spectral_inverts_exactly(self, tmp_path, rounding):
        matplotlib = pytest.importorskip("matplotlib")
        steps = make_steps()
        colours = rounding(matplotlib.colormaps["Spectral_r"](steps)[..., :3] * 255)
        Image.fromarray(colours.astype(np.uint8)).save(tmp_path / "a.png")
        values = read_depth_values(tmp_path / "a.png")
        assert np.array_equal((values[0, 0].numpy() * 255).round(), steps)

    @pytest.mark.parametrize("name", list_colormaps())
    def test_is_recognised_and_inverted(self, name):
        steps = make_steps()
        found, values = invert_colormap(np.round(get_colormap(name)[steps]).astype(np.uint8))
        assert found == name
        assert np.abs(values - steps / 255).max() <= 1.001 / 255

    @pytest.mark.parametrize("name", list_colormaps())
    def test_part_of_the_range_is_recognised(self, name):
        steps = 90 + make_steps() // 4
        found, values = invert_colormap(np.floor(get_colormap(name)[steps]).astype(np.uint8))
        assert found == name
        assert np.abs(values - steps / 255).max() <= 1.001 / 255

    @pytest.mark.parametrize("name", ["Spectral_r", "inferno"])
    def test_jpeg(self, tmp_path, name):
        y, x = np.mgrid[:64, :96] / 96
        steps = np.where((x - 0.5) ** 2 + (y - 0.3) ** 2 < 0.04, 230, 40 + 100 * y).astype(np.uint8)
        Image.fromarray(get_colormap(name)[steps].astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
        values = read_depth_values(tmp_path / "a.jpg")[0, 0].numpy()
        assert np.quantile(np.abs(values - steps / 255), 0.95) < 0.03

    def test_sixteen_bits(self):
        colours = (get_colormap("turbo")[make_steps()] * 257).astype(np.uint16)
        found, values = invert_colormap(colours)
        assert found == "turbo"
        assert np.abs(values - make_steps() / 255).max() <= 1.001 / 255

    def test_map_beside_its_photo_is_refused(self, tmp_path):
        """The side-by-side sheet that depth tools write by default."""
        photo = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
        sheet = np.concatenate([photo, get_colormap("Spectral_r")[make_steps()].astype(np.uint8)], 1)
        Image.fromarray(sheet).save(tmp_path / "a.png")
        with pytest.raises(PhotoError, match="colour picture"):
            read_depth_values(tmp_path / "a.png")


class TestPfm:
    @pytest.mark.parametrize("order", ["<", ">"])
    def test_round_trip_from_the_bottom_up(self, tmp_path, order):
        write_pfm(tmp_path / "a.pfm", RAMP, order)
        assert np.array_equal(read_depth_values(tmp_path / "a.pfm")[0, 0].numpy(), RAMP)

    def test_is_read_as_opencv_reads_it(self, tmp_path):
        write_pfm(tmp_path / "a.pfm", RAMP)
        assert np.array_equal(cv2.imread(str(tmp_path / "a.pfm"), cv2.IMREAD_UNCHANGED), RAMP)

    def test_colours(self, tmp_path):
        write_pfm(tmp_path / "grey.pfm", RAMP[..., None].repeat(3, 2), magic=b"PF")
        assert np.array_equal(read_depth_values(tmp_path / "grey.pfm")[0, 0].numpy(), RAMP)
        write_pfm(tmp_path / "red.pfm", RAMP[..., None] * np.array([1, 0.5, 0.5]), magic=b"PF")
        with pytest.raises(PhotoError, match="colour picture"):
            read_depth_values(tmp_path / "red.pfm")

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            (b"Pf\n99999 99999\n-1\n", "99999 x 99999 pixels, at most"),
            (b"Pf\n999999999 999999999\n-1\n", "at most"),
            (b"Pf\n9999999999999 1\n-1\n", "PFM header is"),
            (b"Pf\n-4 4\n-1\n", "PFM header is"),
            (b"Pf\n0 4\n-1\n", "0 x 4 pixels"),
            (b"Pf\nfour 4\n-1\n", "PFM header is"),
            (b"Pf\n4\n4\n-1\n", "PFM header is"),
            (b"Pf\n4 4\nzero\n", "PFM header is"),
            (b"Pf\n4 4\n0\n", "PFM header is"),
            (b"Pf\n4 4\nnan\n", "PFM header is"),
            (b"Pf\n4 4\ninf\n", "PFM header is"),
            (b"Pf 4 4 -1\n", "PFM header is"),
            (b"Pf\n4 5\n-1\n", "64 bytes of pixels, expected 80 for 4 x 5"),
            (b"Pf\n4 3\n-1\n", "64 bytes of pixels, expected 48 for 4 x 3"),
            (b"PF\n4 4\n-1\n", "64 bytes of pixels, expected 192"),
            (b"Pf", "PFM header is"),
        ],
    )
    def test_hostile_header_is_refused_before_anything_is_allocated(self, tmp_path, header, message):
        (tmp_path / "a.pfm").write_bytes(header + bytes(64))
        tracemalloc.start()
        with pytest.raises(PhotoError, match=rf"a\.pfm.*{message}"):
            read_depth_values(tmp_path / "a.pfm")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1e6


class TestExr:
    @pytest.fixture(autouse=True)
    def _library(self):
        pytest.importorskip("OpenEXR")

    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    @pytest.mark.parametrize("name", ["Z", "Y", "ViewLayer.Depth.Z"])
    def test_one_channel(self, tmp_path, dtype, name):
        write_exr(tmp_path / "a.exr", {name: RAMP.astype(dtype)})
        assert np.array_equal(read_depth_values(tmp_path / "a.exr")[0, 0].numpy(), RAMP.astype(dtype))

    def test_depth_beside_a_picture(self, tmp_path):
        noise = np.random.default_rng(0).random((3, *RAMP.shape)).astype(np.float32)
        write_exr(tmp_path / "a.exr", {"R": noise[0], "G": noise[1], "B": noise[2], "Z": RAMP})
        assert np.array_equal(read_depth_values(tmp_path / "a.exr")[0, 0].numpy(), RAMP)

    def test_grey_colours(self, tmp_path):
        write_exr(tmp_path / "a.exr", {"R": RAMP, "G": RAMP.copy(), "B": RAMP.copy()})
        assert np.array_equal(read_depth_values(tmp_path / "a.exr")[0, 0].numpy(), RAMP)

    def test_a_picture_is_refused(self, tmp_path):
        write_exr(tmp_path / "a.exr", {"R": RAMP, "G": RAMP, "B": RAMP * 2})
        with pytest.raises(PhotoError, match=r"channels .*expected one, or one called Z, depth, disparity"):
            read_depth_values(tmp_path / "a.exr")

    @pytest.mark.parametrize(
        ("corner", "message"), [((199_999_999, 1_999_999), "at most 200000000 are read"), ((17, 3), "do not cover")]
    )
    def test_hostile_window_is_refused_before_anything_is_allocated(self, tmp_path, corner, message):
        write_exr(tmp_path / "a.exr", {"Z": RAMP})
        content = bytearray((tmp_path / "a.exr").read_bytes())
        at = content.find(b"dataWindow") + len(b"dataWindow\0box2i\0") + 4
        content[at : at + 16] = struct.pack("<4i", 0, 0, *corner)
        (tmp_path / "a.exr").write_bytes(content)
        with pytest.raises(PhotoError, match=rf"a\.exr: cannot be read as OpenEXR.*{message}"):
            read_depth_values(tmp_path / "a.exr")

    @pytest.mark.parametrize("kept", [5, 100, 0.5, 0.9])
    def test_truncated(self, tmp_path, kept):
        noise = np.random.default_rng(0).random((64, 64)).astype(np.float32)
        write_exr(tmp_path / "a.exr", {"Z": noise})
        content = (tmp_path / "a.exr").read_bytes()
        (tmp_path / "a.exr").write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
        with pytest.raises(PhotoError, match=r"a\.exr: cannot be read as OpenEXR"):
            read_depth_values(tmp_path / "a.exr")


def test_exr_without_the_library_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    (tmp_path / "a.exr").write_bytes(b"\x76\x2f\x31\x01" + bytes(64))
    with pytest.raises(PhotoError, match=r"a\.exr: OpenEXR files need.*depthbokeh\[exr\]"):
        read_depth_values(tmp_path / "a.exr")


class TestNumbers:
    def test_infinity_is_kept_and_nan_refused(self, tmp_path):
        values = RAMP.copy()
        values[0, :3] = np.inf
        np.save(tmp_path / "a.npy", values)
        assert read_depth_values(tmp_path / "a.npy").isinf().sum() == 3
        values[1, :2] = np.nan
        np.save(tmp_path / "a.npy", values)
        with pytest.raises(PhotoError, match=r"a\.npy: 2 of 864 values are NaN"):
            read_depth_values(tmp_path / "a.npy")

    @pytest.mark.parametrize("content", [b"", b"P", b"\x93NUM", b"GIF89a" + bytes(99)])
    def test_other_files(self, tmp_path, content):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(PhotoError, match=r"a\.png"):
            read_depth_values(tmp_path / "a.png")

    def test_missing(self, tmp_path):
        with pytest.raises(PhotoError, match="nowhere"):
            read_depth_values(tmp_path / "nowhere.pfm")


class TestCommandLine:
    """What ``--disparity`` takes."""

    def test_pfm_of_any_unit_is_stretched(self, tmp_path):
        write_pfm(tmp_path / "a.pfm", RAMP)
        disparity = read_disparity(tmp_path / "a.pfm", (24, 36))
        torch.testing.assert_close(disparity[0, 0], torch.from_numpy((RAMP - 0.5) / 9))

    def test_exr_of_depths(self, tmp_path):
        pytest.importorskip("OpenEXR")
        depth = RAMP.copy()
        depth[0] = np.inf
        write_exr(tmp_path / "a.exr", {"Z": depth})
        disparity = read_disparity(tmp_path / "a.exr", (24, 36), "depth")
        torch.testing.assert_close(disparity[0, 0], torch.from_numpy(depth.min() / depth))
        assert not disparity[0, 0, 0].any()
        with pytest.raises(PhotoError, match=r"a\.exr.*only depth may be infinite"):
            read_disparity(tmp_path / "a.exr", (24, 36))

    def test_half_the_range_stays_half_the_range(self, tmp_path):
        np.save(tmp_path / "a.npy", RAMP / 19)
        disparity = read_disparity(tmp_path / "a.npy", (24, 36))
        torch.testing.assert_close(disparity[0, 0], torch.from_numpy(RAMP / 19))

    def test_false_colours(self, tmp_path):
        Image.fromarray(get_colormap("Spectral_r")[make_steps()].astype(np.uint8)).save(tmp_path / "a.png")
        disparity = read_disparity(tmp_path / "a.png", (16, 32))
        assert (disparity[0, 0, 1:].mean(1) > disparity[0, 0, :-1].mean(1)).all()
