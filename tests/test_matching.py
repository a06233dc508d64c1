import pytest

from depthbokeh.evaluation.matching import list_pictures, match_pictures, select_ids
from depthbokeh.evaluation.published import VAL294
from depthbokeh.files import PhotoError


@pytest.fixture
def folder(tmp_path):
    def make(*names):
        for name in names:
            (tmp_path / name).write_bytes(b"x")
        return tmp_path

    return make


def names(matched):
    return {name: path.name for name, path in matched.items()}


def test_extensions_may_differ(folder):
    assert names(match_pictures(["1", "2"], folder("1.png", "2.JPG", "3.jpg", "1.txt"))) == {
        "1": "1.png",
        "2": "2.JPG",
    }


def test_pairs_in_one_folder_are_told_apart(folder):
    pairs = folder("7.src.jpg", "7.tgt.jpg", "8.src.jpg", "8.tgt.jpg")
    assert names(list_pictures(pairs, "target")) == {"7": "7.tgt.jpg", "8": "8.tgt.jpg"}
    assert names(match_pictures(["7", "8"], pairs, "input")) == {"7": "7.src.jpg", "8": "8.src.jpg"}


def test_predictions_may_be_named_after_the_input(folder):
    assert names(match_pictures(["7"], folder("7.src.png"))) == {"7": "7.src.png"}


def test_names_that_go_on_after_the_id(folder):
    assert names(match_pictures(["1", "1_2", "12"], folder("1_bokeh.png", "1_2-out.png", "12.png"))) == {
        "1": "1_bokeh.png",
        "1_2": "1_2-out.png",
        "12": "12.png",
    }


def test_the_exact_name_comes_first(folder):
    assert names(match_pictures(["1"], folder("1.png", "1_mask.png"))) == {"1": "1.png"}


def test_two_candidates_are_refused(folder):
    with pytest.raises(PhotoError, match=r"1_a.png and 1_b.png could both be the picture of 1"):
        match_pictures(["1"], folder("1_a.png", "1_b.png"))
    with pytest.raises(PhotoError, match=r"1.jpg and 1.png are both named 1"):
        list_pictures(folder("1.jpg", "1.png"))


def test_missing_pictures_are_named(folder):
    with pytest.raises(PhotoError, match=r"8 of 9 pictures are missing: 2, 3, 4, 5, 6 and 3 more"):
        match_pictures([str(number) for number in range(1, 10)], folder("1.png"))


def test_order_is_natural(folder):
    assert list(list_pictures(folder("10.png", "9.png", "a2.png", "a10.png"))) == ["9", "10", "a2", "a10"]


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(PhotoError, match="holds no picture"):
        list_pictures(tmp_path)
    with pytest.raises(PhotoError, match="expected a folder"):
        list_pictures(tmp_path / "nowhere")


def test_ids():
    available = [str(number) for number in range(4390, 4694)]
    assert set(select_ids("4400-4693", available)) == VAL294
    assert len(VAL294) == 294
    assert select_ids("b-1, a", ["a", "b-1", "b"]) == ["a", "b-1"]
    with pytest.raises(ValueError, match="ids: '1-3' names none of the 2 pictures"):
        select_ids("a,1-3", ["a", "b"])
