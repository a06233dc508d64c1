import base64
import csv
import io
import math
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from typer.testing import CliRunner

from depthbokeh import BokehRenderer, cli
from depthbokeh.evaluation import psnr as compute_psnr
from depthbokeh.evaluation import quantize
from depthbokeh.evaluation.published import PUBLISHED, PUBLISHED_CHANGE_VS_INPUT
from depthbokeh.evaluation.report import make_tables
from depthbokeh.evaluation.scoring import Judge, Score, evaluate_pictures
from depthbokeh.photo import read_map, read_photo, write_photo
from depthbokeh.pipeline import BokehPipeline

HEIGHT, WIDTH = 40, 56
XHTML = "{http://www.w3.org/1999/xhtml}"
SCORE = Score("m", "1", 20.0, 21.0, 0.01, {"gaussian": 0.5})
NOISES = {"good": 4, "bad": 30}  # standard deviation, steps of 8 bits


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def data(tmp_path):
    """Six targets; "good" and "bad" predictions with noise, the more the higher the number."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(40, 210, HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3)
    for number in range(1, 7):
        target = (ramp + rng.normal(0, 10, ramp.shape)).clip(0, 255)
        save(tmp_path / f"target/{number}.png", target.astype(np.uint8))
        for method, noise in NOISES.items():
            picture = target + noise * (1 + 0.2 * number) * rng.normal(0, 1, ramp.shape)
            save(tmp_path / f"{method}/{number}.png", picture.clip(0, 255).astype(np.uint8))
    return tmp_path


@pytest.fixture
def scene(tmp_path):
    """Two photos with disparity and mask."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    disk = (x - WIDTH / 2) ** 2 + (y - HEIGHT / 2) ** 2 < 12**2
    for number in (1, 2):
        save(tmp_path / f"original/{number}.jpg", rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
        save(tmp_path / f"disparity/{number}.png", np.where(disk, 200, 60 + y).astype(np.uint8))
        save(tmp_path / f"mask/{number}.png", (disk * 255).astype(np.uint8))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(cli.app, ["evaluate", *(str(argument) for argument in arguments)])


def succeed(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def failure(*arguments):
    result = run(*arguments)
    assert isinstance(result.exception, ValueError), (result.output, result.exception)
    return str(result.exception)


def read_csv(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def read_page(path):
    """As XML, which fails unless every tag is closed and every name escaped."""
    doctype, _, page = path.read_text().partition("\n")
    assert doctype == "<!DOCTYPE html>"
    return ElementTree.fromstring(page)


def read_table(page, title):
    """Rows of the table that follows a heading."""
    body = list(page.find(f"{XHTML}body"))
    start = next(i for i, element in enumerate(body) if element.tag == f"{XHTML}h2" and title in element.text)
    table = next(element for element in body[start:] if element.tag == f"{XHTML}div").find(f".//{XHTML}tbody")
    return [[cell.text or "" for cell in row] for row in table]


def test_figures_are_scikit_images(data):
    succeed("--target", data / "target", "--pred", data / "bad", "--out", data / "out")
    rows = read_csv(data / "out/scores.csv")
    assert [row["picture"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    for row in rows:
        target, picture = (np.asarray(Image.open(data / f"{kind}/{row['picture']}.png")) for kind in ("target", "bad"))
        assert float(row["psnr_db"]) == pytest.approx(peak_signal_noise_ratio(target, picture), abs=1e-4)
        uniform = structural_similarity(target, picture, channel_axis=2)
        assert float(row["ssim_uniform7"]) == pytest.approx(uniform, abs=1e-4)
        gaussian = structural_similarity(
            target / 255, picture / 255, channel_axis=2, data_range=1.0,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip
        assert float(row["ssim_gaussian"]) == pytest.approx(gaussian, abs=1e-4)
        assert float(row["mse"]) == pytest.approx(np.mean((target / 255 - picture / 255) ** 2), rel=1e-4)
        assert row["resized"] == "0"


def test_means_stand_in_all_reports(data):
    output = succeed(
        "--target", data / "target", "--pred", data / "good", "--pred", f"other={data / 'bad'}", "--out", data / "out"
    )
    rows = read_csv(data / "out/scores.csv")
    for label, method in (("good", "good"), ("other", "other")):
        own = [row for row in rows if row["method"] == method]
        mean = f"{np.mean([float(row['psnr_db']) for row in own]):.2f}"
        of_mean = f"{-10 * math.log10(np.mean([float(row['mse']) for row in own])):.2f}"
        ssim = f"{np.mean([float(row['ssim_gaussian']) for row in own]):.4f}"
        assert mean != of_mean
        assert [label, "6", mean, of_mean] == read_table(read_page(data / "out/report.html"), "Means")[
            ["good", "other"].index(label)
        ][:4]
        for text in (output, (data / "out/report.md").read_text()):
            line = next(line for line in text.splitlines() if label in line.split() and "6" in line.split())
            assert {mean, of_mean, ssim} <= set(line.split())


def test_published_figures_stand_beside_ours_with_source_and_protocol(data):
    output = succeed("--target", data / "target", "--pred", data / "good", "--out", data / "out")
    rows = {row[0]: row for row in read_table(read_page(data / "out/report.html"), "published")}
    assert set(rows) == {"good", *(figure.method for figure in PUBLISHED)}
    assert rows["BRViT"] == ["BRViT", "24.76", "0.8904", "uniform7", "0.1924", "EBB! Val294", "the authors' README"]
    assert rows["DDDF"][1:4] == ["24.74", "0.89", "not stated"]
    assert rows["good"][3:] == ["uniform7", "", "6 of this run", "this run"]
    markdown = (data / "out/report.md").read_text()
    for figure in PUBLISHED:
        assert f"{figure.psnr_db:.2f}" in output
        assert f"| {figure.method} | {figure.psnr_db:.2f} |" in markdown
    for figure in PUBLISHED_CHANGE_VS_INPUT:  # those are of another kind
        assert f"{figure.psnr_db:.2f}" not in output + markdown


def test_the_documentation_has_the_published_figures():
    page = (Path(__file__).parents[1] / "docs/evaluation.md").read_text()
    for table in make_tables([SCORE], [SCORE])[1:]:
        for row in (table.head, *table.rows[1:]):
            assert f"| {' | '.join(row)} |" in page


def test_change_vs_input_keeps_to_its_own_table_and_warns(scene):
    save_blurred(scene)
    output = succeed(
        "--target", scene / "target", "--input", scene / "original", "--pred", scene / "blurred",
        "--change-vs-input", "--out", scene / "out",
    )  # fmt: skip
    page = read_page(scene / "out/report.html")
    changes = {row[0]: row for row in read_table(page, "Change against the input")}
    assert set(changes) == {"blurred", "DeepLab", "Mask R-CNN", "Xception"}
    assert changes["DeepLab"][1:4] == ["33.86", "0.75", "not stated"]
    published = {row[0] for row in read_table(page, "published")}
    assert published.isdisjoint({"DeepLab", "Mask R-CNN", "Xception"})
    for text in (output, (scene / "out/report.md").read_text(), "".join(page.itertext())):
        assert "not how well" in " ".join(text.split())
    rows = read_csv(scene / "out/change_vs_input.csv")
    assert all(not name.startswith("change") for name in read_csv(scene / "out/scores.csv")[0])
    photo, blurred = (np.asarray(Image.open(scene / f"{kind}")) for kind in ("original/1.jpg", "blurred/1.png"))
    assert float(rows[0]["change_vs_input_psnr_db"]) == pytest.approx(peak_signal_noise_ratio(photo, blurred), abs=1e-4)


def save_blurred(scene):
    for number in (1, 2):
        photo = Image.open(scene / f"original/{number}.jpg")
        for kind, factor in (("target", 4), ("blurred", 2)):
            small = photo.resize((WIDTH // factor, HEIGHT // factor), Image.Resampling.BOX)
            save(scene / f"{kind}/{number}.png", np.asarray(small.resize((WIDTH, HEIGHT))))


class TestExamples:
    def titles(self, page):
        return [element.text for element in page.iter(f"{XHTML}h4")]

    def test_worst_and_best_are_shown_in_order(self, data):
        succeed("--target", data / "target", "--pred", data / "bad", "--out", data / "out", "--examples", "2")
        rows = sorted(read_csv(data / "out/scores.csv"), key=lambda row: float(row["psnr_db"]))
        ranked = [f"{row['picture']}: {float(row['psnr_db']):.2f} dB" for row in rows]
        assert ranked[0].startswith("6:")
        assert self.titles(read_page(data / "out/report.html")) == [ranked[0], ranked[1], ranked[-1], ranked[-2]]
        markdown = (data / "out/report.md").read_text()
        assert markdown.index("bad, worst: 6 ") < markdown.index("bad, best: 1 ")

    def test_each_picture_is_shown_once_if_there_are_few(self, data):
        succeed("--target", data / "target", "--pred", data / "bad", "--out", data / "out", "--ids", "1-3")
        titles = self.titles(read_page(data / "out/report.html"))
        assert sorted(title[0] for title in titles) == ["1", "2", "3"]

    def test_methods_are_shown_side_by_side_where_they_differ_most(self, data):
        succeed(
            "--target", data / "target", "--pred", data / "good", "--pred", data / "bad",
            "--out", data / "out", "--examples", "1",
        )  # fmt: skip
        psnr = {(row["method"], row["picture"]): float(row["psnr_db"]) for row in read_csv(data / "out/scores.csv")}
        gaps = {number: abs(psnr["good", number] - psnr["bad", number]) for number in "123456"}
        widest = max(gaps, key=gaps.get)
        page = read_page(data / "out/report.html")
        assert self.titles(page)[-1] == f"{widest}: {gaps[widest]:.2f} dB apart"
        captions = [element.text for element in page.iter(f"{XHTML}figcaption")][-3:]
        assert captions == ["target", *(f"{method}: {psnr[method, widest]:.2f} dB" for method in ("good", "bad"))]

    def test_pictures_are_embedded_and_show_what_they_should(self, data):
        succeed("--target", data / "target", "--pred", data / "bad", "--out", data / "out", "--examples", "1")
        page = read_page(data / "out/report.html")
        shown = {}
        for figure in page.iter(f"{XHTML}figure"):
            kind, _, content = figure.find(f"{XHTML}img").get("src").partition(",")
            assert kind == "data:image/jpeg;base64"
            shown.setdefault(figure.find(f"{XHTML}figcaption").text, content)
        picture, target = (read_photo(data / f"{kind}/6.png").image[0].numpy() for kind in ("bad", "target"))
        expected = {"bad": picture, "target": target, "error": (5 * np.abs(picture - target)).clip(0, 1)}
        assert {
            name: min(expected, key=lambda other: np.abs(decode(shown[name]) - expected[other]).mean())
            for name in shown
        } == {name: name for name in expected}
        for name, values in expected.items():
            assert np.abs(decode(shown[name]) - values).mean() < 0.06

    def test_none_on_request(self, data):
        succeed("--target", data / "target", "--pred", data / "bad", "--out", data / "out", "--examples", "0")
        assert self.titles(read_page(data / "out/report.html")) == []


def decode(content):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))).transpose(2, 0, 1) / 255


class TestRendering:
    def options(self, scene):
        return [
            "--target", scene / "target", "--input", scene / "original", "--disparity", scene / "disparity",
            "--strength", "5", "--highlights", "1", "--out", scene / "out",
        ]  # fmt: skip

    @pytest.fixture(autouse=True)
    def targets(self, scene):
        """What the renderer makes of photo, disparity and mask, as 8-bit files."""
        for number in (1, 2):
            photo = read_photo(scene / f"original/{number}.jpg").image
            maps = (read_map(scene / f"{kind}/{number}.png") for kind in ("disparity", "mask"))
            bokeh = BokehRenderer(highlights=1.0)(photo, *maps, strength=5.0)
            (scene / "target").mkdir(exist_ok=True)
            write_photo(scene / f"target/{number}.png", bokeh)

    def test_renderers_are_compared_with_what_they_would_write(self, scene):
        succeed(*self.options(scene), "--mask", scene / "mask", "--renderer", "fast,default")
        psnr = {(row["method"], row["picture"]): float(row["psnr_db"]) for row in read_csv(scene / "out/scores.csv")}
        assert {method for method, _ in psnr} == {"input", "fast", "default"}
        for number in "12":
            assert psnr["default", number] == math.inf
            assert psnr["input", number] < psnr["fast", number] < 60
        assert "inf" in (scene / "out/report.md").read_text()

    def test_mask_models_are_compared(self, scene):
        succeed(*self.options(scene), "--renderer", "fast,default", "--mask-model", "grabcut")
        methods = dict.fromkeys(row["method"] for row in read_csv(scene / "out/scores.csv"))
        assert list(methods) == ["input", "grabcut/fast", "grabcut/default"]

    def test_checkpoints_are_given_with_the_names_of_their_models(self, scene, monkeypatch):
        chosen = []

        class Right(torch.nn.Module):
            def forward(self, photo):
                mask = torch.zeros_like(photo[:, :1])
                mask[..., WIDTH // 2 :] = 1
                return mask

        def choose(name, weights):
            chosen.append((name, weights))
            return Right(), f"{name} is made up"

        monkeypatch.setattr("depthbokeh.evaluate_rendered.choose_mask_model", choose)
        output = succeed(*self.options(scene), "--renderer", "fast", "--mask-model", "one=a/b.pth,two")
        assert chosen == [("one", Path("a/b.pth")), ("two", None)]
        assert "one is made up" in output
        assert "Note: one is made up." in (scene / "out/report.md").read_text()
        psnr = {(row["method"], row["picture"]): row["psnr_db"] for row in read_csv(scene / "out/scores.csv")}
        assert psnr["one/fast", "1"] == psnr["two/fast", "1"] != psnr["input", "1"]
        photo, disparity = read_photo(scene / "original/1.jpg").image, read_map(scene / "disparity/1.png")
        bokeh = BokehRenderer(highlights=1.0, quality="fast")(photo, disparity, Right()(photo), strength=5.0)
        write_photo(scene / "bokeh.png", bokeh)
        target, picture = (read_photo(path).image for path in (scene / "target/1.png", scene / "bokeh.png"))
        assert float(psnr["one/fast", "1"]) == pytest.approx(compute_psnr(picture, target).item(), abs=1e-4)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--renderer", "slow"], "renderer must be one of fast, default, exact, got 'slow'"),
            (["--renderer", "fast", "--mask-model", "grabcut", "--mask", "x"], "give one of them"),
            (["--renderer", "fast", "--aperture", "star"], "aperture must be one of"),
            (["--renderer", "fast,fast"], "name 'fast' twice"),
            (["--renderer", ","], "renderer must be of fast, default, exact, got none"),
        ],
    )
    def test_bad_options(self, scene, options, message):
        assert message in failure(*self.options(scene), *options)

    def test_renderers_need_photos(self, scene):
        assert "need --input" in failure("--target", scene / "target", "--renderer", "fast")
        for option in (["--mask-model", "grabcut"], ["--disparity", "x"], ["--strength", "3"]):
            assert f"{option[0]} needs --renderer" in failure("--target", scene / "target", *option)

    @pytest.mark.parametrize("folder", ["run/best", "run"])
    def test_a_fine_tuned_run_renders_as_it_was_saved(self, scene, folder):
        renderer = BokehRenderer("polygon:5", quality="fast", highlights=1.0)
        pipeline = BokehPipeline(renderer, "grabcut", None, strength=0.1)
        pipeline.save_pretrained(scene / folder)
        succeed(
            "--target", scene / "target", "--input", scene / "original", "--disparity", scene / "disparity",
            "--mask", scene / "mask", "--model", f"tuned={scene / 'run'}", "--renderer", "fast", "--out", scene / "out",
        )  # fmt: skip
        psnr = {(row["method"], row["picture"]): row["psnr_db"] for row in read_csv(scene / "out/scores.csv")}
        assert {method for method, _ in psnr} == {"input", "fast", "tuned"}
        photo, target = (read_photo(scene / path).image for path in ("original/1.jpg", "target/1.png"))
        bokeh = pipeline(photo, read_map(scene / "disparity/1.png"), strength=0.1 * WIDTH).bokeh
        expected = compute_psnr(quantize(bokeh), target).item()
        assert float(psnr["tuned", "1"]) == pytest.approx(expected, abs=1e-4)
        assert f"tuned={scene / 'run'}".replace("_", r"\_") in (scene / "out/report.md").read_text()

    def test_a_run_that_is_none(self, scene):
        options = ["--target", scene / "target", "--input", scene / "original", "--model"]
        assert "nowhere: expected the folder of a fine-tuning run" in failure(*options, scene / "nowhere")
        assert "config.json" in failure(*options, scene / "mask")


class TestOutputs:
    def test_existing_reports_are_kept_unless_overwrite(self, data):
        options = ["--target", data / "target", "--pred", data / "good", "--out", data / "out"]
        (data / "out").mkdir()
        (data / "out/report.md").write_text("precious")
        assert "report.md exist already; --overwrite replaces them" in failure(*options)
        assert [path.name for path in (data / "out").iterdir()] == ["report.md"]
        assert (data / "out/report.md").read_text() == "precious"
        succeed(*options, "--overwrite")
        assert {path.name for path in (data / "out").iterdir()} == {"scores.csv", "report.md", "report.html"}
        assert (data / "out/report.md").read_text() != "precious"

    def test_nothing_is_written_without_out(self, data):
        before = sorted(data.rglob("*"))
        assert "good" in succeed("--target", data / "target", "--pred", data / "good")
        assert sorted(data.rglob("*")) == before

    def test_a_failed_run_leaves_no_report(self, data):
        (data / "good/6.png").write_bytes((data / "good/6.png").read_bytes()[:300])
        assert "good/6.png" in failure("--target", data / "target", "--pred", data / "good", "--out", data / "out")
        assert list((data / "out").iterdir()) == []


HOSTILE = '<script>alert("1")</script>'.replace("/", "\N{DIVISION SLASH}")
AWKWARD = [HOSTILE, "a|b,c\"d'e&f", "x\x1b[31m\ny", "\N{SNOWMAN}`*_[l](u)"]


def test_names_of_files_and_methods_are_only_text_in_the_report(data):
    for folder in ("target", "good", "bad"):
        for number, name in enumerate(AWKWARD, 1):
            (data / folder / f"{number}.png").rename(data / folder / f"{name}.png")
    succeed(
        "--target", data / "target", "--pred", f"<b>|{HOSTILE}={data / 'good'}", "--pred", data / "bad",
        "--out", data / "out",
    )  # fmt: skip
    page = read_page(data / "out/report.html")
    allowed = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "h4", "p", "strong", "div", "table"}
    allowed |= {"thead", "tbody", "tr", "th", "td", "figure", "figcaption", "img", "details", "summary"}
    assert {element.tag.removeprefix(XHTML) for element in page.iter()} <= allowed
    attributes = {name for element in page.iter() for name in element.attrib}
    assert attributes <= {"lang", "charset", "http-equiv", "content", "name", "class", "alt", "loading", "src"}
    text = "".join(page.itertext())
    assert HOSTILE in text
    assert "\x1b" not in text
    assert {row["picture"] for row in read_csv(data / "out/scores.csv")} == {*AWKWARD, "5", "6"}
    markdown = (data / "out/report.md").read_text()
    assert "<script>" not in markdown
    assert "\x1b" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("| &lt;b&gt;")]
    assert [row.replace("\\|", "").count("|") for row in rows] == [9, 8]  # columns of the two tables, and one


def test_page_loads_nothing(data):
    succeed("--target", data / "target", "--pred", data / "good", "--out", data / "out")
    sources = []

    class Collector(HTMLParser):
        def handle_starttag(self, tag, attributes):
            sources.extend(value for name, value in attributes if name in ("src", "href", "srcset"))

    Collector().feed((data / "out/report.html").read_text())
    assert sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "default-src 'none'" in (data / "out/report.html").read_text()


class TestSizes:
    def test_another_size_is_refused_or_resized(self, data):
        picture = Image.open(data / "good/2.png").resize((2 * WIDTH, 2 * HEIGHT))
        picture.save(data / "good/2.png")
        options = ["--target", data / "target", "--pred", data / "good", "--out", data / "out"]
        message = failure(*options)
        assert f"2 of good: {2 * WIDTH} x {2 * HEIGHT} pixels, but the target has {WIDTH} x {HEIGHT}" in message
        assert "--resize" in message
        succeed(*options, "--resize")
        assert [row["resized"] for row in read_csv(data / "out/scores.csv")] == ["0", "1", "0", "0", "0", "0"]
        assert "Resized to their targets' size: 1 of good" in (data / "out/report.md").read_text()

    def test_another_aspect_ratio_is_refused_always(self, data):
        Image.open(data / "good/2.png").crop((0, 0, WIDTH - 4, HEIGHT)).save(data / "good/2.png")
        assert "another aspect ratio" in failure("--target", data / "target", "--pred", data / "good", "--resize")

    def test_smaller_than_the_window(self, data):
        message = failure("--target", data / "target", "--pred", data / "good", "--ssim", "pynet")
        assert f"1 of good: prediction is {WIDTH} x {HEIGHT} pixels: expected at least 75 x 75" in message


class TestBadInput:
    def test_missing_predictions_are_named(self, data):
        (data / "good/3.png").unlink()
        assert "1 of 6 pictures are missing: 3" in failure("--target", data / "target", "--pred", data / "good")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ([], "nothing to judge"),
            (["--pred", "good", "--ssim", "fancy"], "ssim must be of gaussian, uniform7, pynet, got 'fancy'"),
            (["--pred", "good", "--ids", "77"], "'77' names none of the 6 pictures"),
            (["--pred", "good", "--pred", "good"], "two methods are named 'good'"),
            (["--pred", "good", "--change-vs-input"], "--change-vs-input needs --input"),
            (["--pred", "nowhere"], "expected a folder of pictures"),
        ],
    )
    def test_options(self, data, monkeypatch, options, message):
        monkeypatch.chdir(data)
        assert message in failure("--target", "target", *options)


def test_callables_are_judged_in_python(scene):
    targets = {str(number): scene / f"original/{number}.jpg" for number in (1, 2)}
    asked, done = [], []

    def brighten(photo, name):
        asked.append(name)
        return photo + 0.4  # beyond 1: clamped as in a file

    result = evaluate_pictures(
        targets, {"brighter": brighten}, inputs=targets, judge=Judge(("gaussian",)), progress=done.append
    )
    assert asked == done == ["1", "2"]
    photo = read_photo(targets["1"]).image
    expected = -10 * torch.log10(((photo + 0.4).clamp(0, 1) - photo).square().mean())
    assert result.scores[0].psnr_db == pytest.approx(expected.item(), abs=1e-4)
    assert result.changes == []
    with pytest.raises(ValueError, match="inputs must be given"):
        evaluate_pictures(targets, {"brighter": brighten})


def test_order_does_not_depend_on_the_workers(data):
    for workers in ("1", "3"):
        succeed("--target", data / "target", "--pred", data / "good", "--out", data / workers, "--workers", workers)
    assert (data / "1/scores.csv").read_text() == (data / "3/scores.csv").read_text()
