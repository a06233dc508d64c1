import json

import pytest

from depthbokeh.data.layouts import find_pairs, list_layouts
from depthbokeh.photo import PhotoError


@pytest.fixture
def make(tmp_path):
    """Makes empty files; finding pairs looks at names alone."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


def told(root, **options):
    """Layout and, of each pair, key, files and what is known."""
    listing = find_pairs(root, **options)

    def name(path):
        return None if path is None else path.relative_to(root).as_posix()

    return listing.layout, {
        pair.key: (*map(name, (pair.original, pair.bokeh, pair.disparity, pair.mask)), dict(pair.values))
        for pair in listing.pairs
    }


LAYOUTS = {
    "ebb": (
        "Training/original/0.jpg Training/bokeh/0.jpg Training/mask/0.png Training/coarse_disparity/0.png",
        {"0": "Training/original/0.jpg Training/bokeh/0.jpg Training/coarse_disparity/0.png Training/mask/0.png"},
    ),
    "pynet": (
        "train/original/1.jpg train/bokeh/1.png train/original_depth/1.png test/original/2.jpg test/bokeh/2.jpg",
        {
            "test/2": "test/original/2.jpg test/bokeh/2.jpg - -",
            "train/1": "train/original/1.jpg train/bokeh/1.png train/original_depth/1.png -",
        },
    ),
    "vabm": (
        "train/input/3.JPG train/target/3.JPG train/depth/3.png train/focal/3.jpg",
        {"train/3": "train/input/3.JPG train/target/3.JPG train/depth/3.png train/focal/3.jpg"},
    ),
    "vabd": (
        "train/input/1.JPG train/1_8/1.JPG train/8/1.JPG train/depth/1.png train/focal/1.png",
        {
            "train/1_f8": "train/input/1.JPG train/8/1.JPG train/depth/1.png train/focal/1.png",
            "train/1_f1.8": "train/input/1.JPG train/1_8/1.JPG train/depth/1.png train/focal/1.png",
        },
    ),
    "bokehlicious": (
        "validation/in/4400.jpg validation/gt/4400.jpg",
        {"validation/4400": "validation/in/4400.jpg validation/gt/4400.jpg - -"},
    ),
    "aisp": ("train/7.src.jpg train/7.tgt.jpg", {"train/7": "train/7.src.jpg train/7.tgt.jpg - -"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_is_found_out(make, layout):
    files, expected = LAYOUTS[layout]
    root = make(*files.split())
    for options in ({}, {"layout": layout}):
        found, pairs = told(root, **options)
        assert found == layout
        assert {key: " ".join(name or "-" for name in pair[:4]) for key, pair in pairs.items()} == expected


def test_vabd_knows_its_f_numbers(make):
    _, pairs = told(make(*LAYOUTS["vabd"][0].split()))
    assert {key: pair[4]["f_number"] for key, pair in pairs.items()} == {"train/1_f8": 8.0, "train/1_f1.8": 1.8}
    assert {pair[4]["original_f_number"] for pair in pairs.values()} == {16.0}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_layouts_do_not_take_it_for_theirs(make, layout):
    root = make(*LAYOUTS[layout][0].split())
    # PyNET's folders are called as those of EBB!, and more of them may be there.
    for other in sorted(set(list_layouts()) - {layout, "pynet"}):
        with pytest.raises(PhotoError, match="holds no pairs"):
            find_pairs(root, other)


def test_every_layout_is_tested():
    assert set(LAYOUTS) | {"csv", "realbokeh"} == set(list_layouts())


@pytest.mark.parametrize("prefix", ["", "./", "/"])
def test_csv(make, prefix):
    root = make("Pictures/b/0.jpg", "Pictures/o/0.jpg", "Pictures/b/1.jpg", "notes.csv")
    rows = [(f"{prefix}Pictures/b/{i}.jpg", f"{prefix}Pictures/o/{i}.jpg") for i in range(2)]
    (root / "train.csv").write_text("\n".join(["bokeh,original", *map(",".join, rows)]) + "\n")
    assert told(root) == ("csv", {"0": ("Pictures/o/0.jpg", "Pictures/b/0.jpg", None, None, {})})
    assert find_pairs(root).unpaired == (root / "Pictures/b/1.jpg",)


def test_csv_without_its_pictures_is_an_error(make):
    root = make("a.txt")
    (root / "train.csv").write_text("bokeh,original\nb/0.jpg,o/0.jpg\n")
    with pytest.raises(PhotoError, match=r"train\.csv: none of its 1 pairs is there, such as o/0\.jpg"):
        find_pairs(root)


def test_realbokeh(make):
    root = make("train/in/12_f22.JPG", "train/gt/12_f2.0.JPG", "train/gt/12_f4.0.JPG")
    scene = {
        "id": 12, "source_image": "in/12_f22.JPG", "source_av": 22.0, "focal_length": 35, "focus_plane_distance": 1.4,
        "target_images": ["gt/12_f2.0.JPG", "gt/12_f4.0.JPG", "gt/12_f8.0.JPG"], "target_avs": [2.0, 4.0, 8.0],
    }  # fmt: skip
    (root / "train/metadata").mkdir()
    (root / "train/metadata/12.json").write_text(json.dumps(scene))
    known = {"original_f_number": 22.0, "focal_length_mm": 35.0, "focus_distance_m": 1.4}
    layout, pairs = told(root)
    assert layout == "realbokeh"
    assert pairs == {
        f"train/12_f{stop}": ("train/in/12_f22.JPG", f"train/gt/12_f{stop}.JPG", None, None, known | {"f_number": stop})
        for stop in (2.0, 4.0)
    }
    assert find_pairs(root).unpaired == (root / "train/in/12_f22.JPG",)  # that of f/8 is missing
    (root / "train/metadata/12.json").write_text('{"id": 12}')
    with pytest.raises(PhotoError, match=r"12\.json.*source|12\.json.*target"):
        find_pairs(root)


def test_vabd_without_input_takes_the_largest_f_number(make):
    layout, pairs = told(make("f16/1.jpg", "f8/1.jpg", "f1.8/1.jpg"))
    assert layout == "vabd"
    assert {key: (pair[0], pair[4]) for key, pair in pairs.items()} == {
        f"1_f{stop:g}": ("f16/1.jpg", {"f_number": stop, "original_f_number": 16.0}) for stop in (1.8, 8.0)
    }


def test_folders_without_a_part_serve_too(make):
    assert told(make("original/5.jpg", "bokeh/5.jpeg"))[1] == {"5": ("original/5.jpg", "bokeh/5.jpeg", None, None, {})}


def test_endings_in_capitals_and_order_by_number(make):
    names = ("2", "10", "1", "b", "a")
    root = make(*(f"Training/{kind}/{name}.JpG" for kind in ("original", "bokeh") for name in names))
    assert list(told(root)[1]) == ["1", "2", "10", "a", "b"]


def test_partners_that_are_missing_are_told(make):
    root = make("Training/original/1.jpg", "Training/original/2.jpg", "Training/bokeh/2.jpg", "Training/bokeh/3.jpg")
    assert [path.name for path in find_pairs(root).unpaired] == ["3.jpg", "1.jpg"]


def test_what_is_known_of_made_up_pairs(make):
    root = make(
        "Training/original/0.jpg", "Training/bokeh/0.jpg", "Training/disparity/0.png", "Training/coarse_disparity/0.png"
    )
    record = {"id": 0, "strength": 8.0, "focus": 0.5, "disparity_scale": 2.0}
    (root / "manifest.jsonl").write_text(json.dumps(record) + "\n")
    # The map reads 0..1 for a disparity of 0..2.
    assert find_pairs(root).pairs[0].values == {"strength": 16.0, "focus": 0.25}
    coarse = find_pairs(root, disparity="coarse_disparity").pairs[0]
    assert (coarse.disparity.parent.name, coarse.values) == ("coarse_disparity", {})
    with pytest.raises(PhotoError, match="fine: no such folder"):
        find_pairs(root, disparity="fine")
    (root / "manifest.jsonl").write_text('{"strength": 1}\n')
    with pytest.raises(PhotoError, match="line 1 cannot be read"):
        find_pairs(root)


def test_nothing_found_lists_what_was_looked_for(make):
    root = make("a/b.jpg")
    with pytest.raises(PhotoError) as error:
        find_pairs(root)
    assert all(f"\n  {layout}: " in str(error.value) for layout in list_layouts())
    with pytest.raises(PhotoError, match="no such folder"):
        find_pairs(root / "missing")
    with pytest.raises(ValueError, match="layout is 'x': expected one of ebb"):
        find_pairs(root, "x")
