import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from depthbokeh import cli
from depthbokeh.photo import PhotoError, read_map, read_photo, write_photo

WIDTH, HEIGHT = 96, 64


@pytest.fixture
def files(tmp_path):
    """A photo with detail, its disparity (a ramp) and a mask (a disk)."""
    rng = np.random.default_rng(0)
    photo = tmp_path / "photo.jpg"
    Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(photo, quality=95)
    ramp = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "disparity.png")
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    disk = ((x - WIDTH / 2) ** 2 + (y - HEIGHT / 2) ** 2 < 20**2) * np.uint8(255)
    Image.fromarray(disk).save(tmp_path / "mask.png")
    return tmp_path


def run(*arguments):
    """Runs the command; what it prints and raises is in the result."""
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def failure(*arguments):
    result = run(*arguments)
    assert isinstance(result.exception, (PhotoError, ValueError)), (result.output, result.exception)
    return str(result.exception)


def sharpness(image):
    return float(image.diff(dim=3).abs().mean())


def test_disparity_blurs_what_is_out_of_focus_and_keeps_what_is_in_focus(files):
    out = files / "out.png"
    result = run(
        "render", files / "photo.jpg", "-o", out, "--disparity", files / "disparity.png",
        "--focus", "1.0", "--strength", "8",
    )  # fmt: skip
    assert result.exit_code == 0, result.exception
    before, after = read_photo(files / "photo.jpg").image, read_photo(out).image
    assert sharpness(after[..., :20, :]) < 0.3 * sharpness(before[..., :20, :])
    assert torch.allclose(after[..., -2:, :], before[..., -2:, :], atol=0.02)


def test_mask_keeps_the_subject(files):
    out = files / "out.png"
    assert run("render", files / "photo.jpg", "-o", out, "--mask", files / "mask.png", "--strength", "6").exit_code == 0
    before, after = read_photo(files / "photo.jpg").image, read_photo(out).image
    assert torch.allclose(after[..., 24:40, 40:56], before[..., 24:40, 40:56], atol=0.02)
    assert sharpness(after[..., :8, :]) < 0.5 * sharpness(before[..., :8, :])


def test_without_maps_the_built_in_models_serve_and_their_maps_can_be_saved(files):
    out, maps = files / "out.jpg", files / "maps"
    result = run("render", files / "photo.jpg", "-o", out, "--subject", "30,10,40,50", "--save-maps", maps)
    assert result.exit_code == 0, result.exception
    assert read_map(maps / "out_mask.png").shape == (1, 1, HEIGHT, WIDTH)
    assert read_map(maps / "out_disparity.png").shape == (1, 1, HEIGHT, WIDTH)
    assert np.load(maps / "out_defocus.npy").shape == (HEIGHT, WIDTH)


def test_a_subject_gets_its_mask_where_disparity_is_given_too(files):
    maps = files / "maps"
    result = run(
        "render", files / "photo.jpg", "-o", files / "out.png", "--disparity", files / "disparity.png",
        "--subject", "30,10,40,50", "--save-maps", maps,
    )  # fmt: skip
    assert result.exit_code == 0, result.exception
    mask = read_map(maps / "out_mask.png")
    assert mask[..., 20:50, 40:60].mean() > 10 * mask[..., :20].mean()


def test_depth_is_taken_for_what_it_is_declared_to_be(files):
    depth = np.linspace(2, 10, WIDTH, dtype=np.float32)[None].repeat(HEIGHT, 0)
    np.save(files / "depth.npy", depth)
    result = run(
        "render", files / "photo.jpg", "-o", files / "out.png", "--disparity", files / "depth.npy",
        "--disparity-kind", "depth", "--save-maps", files / "maps",
    )  # fmt: skip
    assert result.exit_code == 0, result.exception
    disparity = read_map(files / "maps" / "out_disparity.png")[0, 0].numpy()
    assert np.allclose(disparity, 2 / depth, atol=1e-4)


def test_tiles_that_help_no_model_are_told_of(files):
    result = run("render", files / "photo.jpg", "-o", files / "out.png", "--tile", "64")
    assert result.exit_code == 0, result.exception
    assert "tiles are of no use here" in result.output


def test_focus_point_is_in_focus(files):
    out, maps = files / "out.png", files / "maps"
    run(
        "render", files / "photo.jpg", "-o", out, "--disparity", files / "disparity.png",
        "--focus", "40,30", "--save-maps", maps,
    )  # fmt: skip
    defocus = np.load(maps / "out_defocus.npy")
    assert abs(defocus[30, 40]) < 0.02
    assert defocus[0, 0] < 0 < defocus[-1, -1]


def test_f_number_sets_the_strength(files):
    maps = files / "maps"
    for number in ("2", "4"):
        result = run(
            "render", files / "photo.jpg", "-o", files / f"{number}.png", "--disparity", files / "disparity.png",
            "--focus", "0.5", "--f-number", number, "--focal-length", "50", "--sensor-width", "36",
            "--focus-distance", "2", "--save-maps", maps,
        )  # fmt: skip
        assert result.exit_code == 0, result.exception
    wide, narrow = (np.load(maps / f"{number}_defocus.npy") for number in ("2", "4"))
    assert np.allclose(wide, 2 * narrow, atol=1e-5)
    # p f^2 / (2 N) / ((z - f) d): what is at infinity has the defocus -p f^2 / (2 N (z - f)).
    infinity = -(WIDTH / 0.036) * 0.05**2 / (2 * 2) / (2 - 0.05)
    assert wide[0, 0] == pytest.approx(infinity, rel=1e-3)


def test_max_size_reduces_photo_maps_and_coordinates(files):
    maps = files / "maps"
    result = run(
        "render", files / "photo.jpg", "-o", files / "out.png", "--disparity", files / "disparity.png",
        "--max-size", "48", "--focus", "40,30", "--save-maps", maps,
    )  # fmt: skip
    assert result.exit_code == 0, result.exception
    assert read_photo(files / "out.png").image.shape == (1, 3, 32, 48)
    assert abs(np.load(maps / "out_defocus.npy")[15, 20]) < 0.05


def test_existing_file_is_kept_unless_overwrite(files):
    out = files / "out.png"
    out.write_bytes(b"precious")
    assert "exists already" in failure("render", files / "photo.jpg", "-o", out)
    assert out.read_bytes() == b"precious"
    assert run("render", files / "photo.jpg", "-o", out, "--overwrite").exit_code == 0
    assert read_photo(out).image.shape == (1, 3, HEIGHT, WIDTH)


def test_sixteen_bits_stay_sixteen_bits(files):
    photo, out = files / "deep.tif", files / "out.tif"
    write_photo(photo, torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0)), bits=16)
    assert run("render", photo, "-o", out).exit_code == 0
    assert read_photo(out).bits == 16


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (17, 1)])
def test_tiny_photos_are_rendered(files, size):
    photo = files / "tiny.png"
    Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(photo)
    result = run("render", photo, "-o", files / "out.png")
    assert result.exit_code == 0, result.exception
    assert read_photo(files / "out.png").image.shape[2:] == size


class TestBatch:
    def make(self, files):
        folder = files / "in"
        folder.mkdir()
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            (folder / name).write_bytes((files / "photo.jpg").read_bytes())
        return folder, files / "out"

    def test_goes_on_after_a_bad_photo_and_resumes(self, files):
        folder, out = self.make(files)
        (folder / "b.jpg").write_bytes((folder / "b.jpg").read_bytes()[:500])
        result = run("render", folder, "-o", out, "--batch")
        assert result.exit_code == 1
        assert {path.name for path in out.iterdir() if path.suffix == ".jpg"} == {"a.jpg", "c.jpg"}
        before = (out / "a.jpg").stat().st_mtime_ns
        (folder / "b.jpg").write_bytes((files / "photo.jpg").read_bytes())
        assert run("render", folder, "-o", out, "--batch").exit_code == 0
        assert {path.name for path in out.iterdir() if path.suffix == ".jpg"} == {"a.jpg", "b.jpg", "c.jpg"}
        assert (out / "a.jpg").stat().st_mtime_ns == before

    def test_maps_are_found_by_name(self, files):
        folder, out = self.make(files)
        maps = files / "maps"
        maps.mkdir()
        for name in ("a.png", "b.png"):
            (maps / name).write_bytes((files / "disparity.png").read_bytes())
        result = run("render", folder, "-o", out, "--batch", "--disparity", maps)
        assert result.exit_code == 1
        assert "holds no map for c.jpg" in " ".join(
            result.output.split()
        )  # lines end where the folder's name has them end
        assert {path.name for path in out.iterdir() if path.suffix == ".jpg"} == {"a.jpg", "b.jpg"}


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--focus", "left"], "focus must be X,Y or X,Y,W,H, auto or a number, got 'left'"),
            (["--focus", "200,3"], r"focus must lie within the picture"),
            (["--subject", "1,2,3"], "subject must be X,Y or X,Y,W,H, got '1,2,3'"),
            (["--strength", "-1"], "strength must be finite and not negative, got -1"),
            (["--strength", "3", "--f-number", "2"], "give one of them"),
            (["--focal-length", "50"], "--focal-length needs --f-number"),
            (["--f-number", "0"], "--f-number must be positive, got 0"),
            (["--aperture", "star"], "aperture must be one of disk"),
            (["--aperture", "polygon:2"], "blades must be"),
            (["--tile", "8"], "tile must be at least 64 pixels, got 8"),
            (["--disparity-kind", "metres"], "kind is 'metres': expected one of disparity"),
            (["--device", "abacus"], "got 'abacus'"),
            (["--device", "cuda:99"], "got 'cuda:99'"),
            (["--subject", "9,9"], "the mask model is grabcut: expected a box"),
            (["--mask-model", "from_file"], "mask model is 'from_file': expected auto"),
            (["--weights", "a", "--mask-model", "grabcut"], "a: a saved pipeline has its own mask model"),
            (["--mask", "mask.png", "--mask-model", "grabcut"], "the mask is given, and a mask model"),
            (["--mask", "mask.png", "--subject", "9,9,20,20"], "subject tells where a mask is to be found"),
            (["--disparity", "disparity.png", "--depth-weights", "a.pth"], "the disparity is given, and a depth model"),
        ],
    )
    def test_option(self, files, options, message, monkeypatch):
        monkeypatch.chdir(files)
        out = files / "out.png"
        assert message in failure("render", files / "photo.jpg", "-o", out, *options)
        assert not out.exists()

    def test_missing_photo(self, files):
        assert "nowhere.jpg" in failure("render", files / "nowhere.jpg", "-o", files / "out.png")

    def test_truncated_photo(self, files):
        photo = files / "photo.jpg"
        photo.write_bytes(photo.read_bytes()[:1500])
        assert "photo.jpg" in failure("render", photo, "-o", files / "out.png")
        assert not (files / "out.png").exists()

    def test_disparity_of_another_shape(self, files):
        Image.fromarray(np.zeros((50, 50), np.uint8)).save(files / "square.png")
        message = failure("render", files / "photo.jpg", "-o", files / "o.png", "--disparity", files / "square.png")
        assert "50" in message
        assert str(WIDTH) in message

    @pytest.mark.parametrize(
        ("values", "message"),
        [(np.full((HEIGHT, WIDTH), 0.5, np.float32), "everywhere"), (np.full((HEIGHT, WIDTH), np.nan), "NaN")],
    )
    def test_useless_disparity(self, files, values, message):
        np.save(files / "bad.npy", values)
        assert message in failure(
            "render", files / "photo.jpg", "-o", files / "o.png", "--disparity", files / "bad.npy"
        )

    @pytest.mark.parametrize(("value", "message"), [(0, "mask is empty"), (255, "mask is full")])
    def test_useless_mask(self, files, value, message):
        Image.fromarray(np.full((HEIGHT, WIDTH), value, np.uint8)).save(files / "flat.png")
        assert message in failure("render", files / "photo.jpg", "-o", files / "o.png", "--mask", files / "flat.png")

    def test_unwritable_output(self, files):
        assert "absent" in failure("render", files / "photo.jpg", "-o", files / "absent" / "out.png")
        (files / "file").write_text("")
        assert "cannot be made" in failure("render", files, "-o", files / "file" / "out", "--batch")

    def test_batch_needs_a_folder(self, files):
        assert "expected a folder" in failure("render", files / "photo.jpg", "-o", files / "out", "--batch")


def test_mistakes_are_told_in_one_line_without_a_traceback(files, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["depthbokeh", "render", str(files / "nowhere.jpg"), "-o", str(files / "o.png")])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("depthbokeh: ")
    assert error.count("\n") == 1


def test_demo_writes_its_sheet(tmp_path):
    out = tmp_path / "sheet.png"
    result = run("demo", "-o", out)
    assert result.exit_code == 0, result.exception
    with Image.open(out) as sheet:
        assert sheet.size == (4 * 512, 2 * (512 + 36))


def test_info_names_the_library():
    result = run("info")
    assert result.exit_code == 0
    assert "torch" in result.output
    assert "CPU kernels" in result.output
