import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from depthbokeh.data.augment import Augmentation
from depthbokeh.data.ebb import EBBDataset, TrainingItems
from depthbokeh.data.sample import collate_samples
from depthbokeh.data.synthesize import Recipe, write_pairs
from depthbokeh.photo import PhotoError

HEIGHT, WIDTH = 24, 32
CHANGES = Augmentation(crop=(16, 16), exposure=0.5, disparity_noise=0.1)


def write_picture(path, seed, shape=(HEIGHT, WIDTH, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return torch.from_numpy(pixels).float() / 255


@pytest.fixture
def root(tmp_path):
    """Six pairs with maps, two of them of Val294."""
    root = tmp_path / "EBB"
    for number in (0, 1, 2, 4399, 4400, 4693):
        for offset, kind in enumerate(("original", "bokeh")):
            write_picture(root / f"Training/{kind}/{number}.png", 2 * number + offset)
        for kind in ("disparity", "mask"):
            write_picture(root / f"Training/{kind}/{number}.png", number, (HEIGHT, WIDTH))
    return root


def ids(dataset):
    return [pair.key for pair in dataset.pairs]


def test_gives_what_the_files_hold(root):
    sample = EBBDataset(root)[1]
    assert sample["id"] == "1"
    expected = write_picture(root.parent / "again.png", 3).permute(2, 0, 1)
    assert torch.allclose(sample["bokeh"], expected)
    assert sample["photo"].shape == (3, HEIGHT, WIDTH)
    for kind in ("disparity", "mask"):
        assert torch.allclose(sample[kind], write_picture(root.parent / "again.png", 1, (HEIGHT, WIDTH))[None])
    assert all(sample[name].isnan() for name in ("strength", "focus", "f_number"))


def test_splits(root, tmp_path):
    assert ids(EBBDataset(root)) == ["0", "1", "2", "4399", "4400", "4693"]
    assert ids(EBBDataset(root, "train4400")) == ["0", "1", "2", "4399"]
    assert ids(EBBDataset(root, "val294")) == ["4400", "4693"]
    assert ids(EBBDataset(root, [2, "0"])) == ["2", "0"]
    (tmp_path / "mine.txt").write_text("4400\n1\n")
    assert ids(EBBDataset(root, tmp_path / "mine.txt")) == ["4400", "1"]


def test_splits_by_folder(tmp_path):
    for part, number in (("train", 3), ("test", 3), ("test", 4400)):
        for kind in ("original", "bokeh"):
            write_picture(tmp_path / part / kind / f"{number}.png", number)
    assert ids(EBBDataset(tmp_path, "train")) == ["train/3"]
    assert ids(EBBDataset(tmp_path, "test")) == ["test/3", "test/4400"]
    assert ids(EBBDataset(tmp_path, "val294")) == ["test/4400"]
    assert ids(EBBDataset(tmp_path, ["test/3"])) == ["test/3"]
    with pytest.raises(PhotoError, match="ambiguous"):
        EBBDataset(tmp_path, "train4400")


@pytest.mark.parametrize(
    ("split", "error", "message"),
    [
        ("val", PhotoError, "none of its 6 pairs .0, 1, 2"),
        ([1, 77], PhotoError, "no pair '77', 1 of 2"),
        ([], PhotoError, "no pairs named"),
        ("nonsense", ValueError, "split is 'nonsense': expected all, train4400"),
    ],
)
def test_splits_that_do_not_fit_are_refused(root, split, error, message):
    with pytest.raises(error, match=message):
        EBBDataset(root, split)


def test_pictures_without_partner_are_told(root):
    (root / "Training/bokeh/2.png").unlink()
    with pytest.warns(UserWarning, match=r"1 pictures have no partner, such as .*2\.png"):
        dataset = EBBDataset(root)
    assert len(dataset) == 5


def test_maps_of_another_folder_go_first(root, tmp_path):
    for number in (0, 1):
        write_picture(tmp_path / f"maps/disparity/{number}.png", 99, (HEIGHT, WIDTH))
    before, after = EBBDataset(root, [0, 2]), EBBDataset(root, [0, 2], maps=tmp_path / "maps")
    assert not torch.equal(before[0]["disparity"], after[0]["disparity"])
    assert torch.equal(before[0]["mask"], after[0]["mask"])
    assert torch.equal(before[1]["disparity"], after[1]["disparity"])
    with pytest.raises(PhotoError, match="no such folder"):
        EBBDataset(root, maps=tmp_path / "none")


def test_resizes_everything(root):
    sample = EBBDataset(root, size=(12, 16))[0]
    assert {tuple(sample[kind].shape[1:]) for kind in ("photo", "bokeh", "disparity", "mask")} == {(12, 16)}


def test_pictures_of_two_sizes_are_refused(root):
    write_picture(root / "Training/bokeh/0.png", 0, (HEIGHT, WIDTH + 2, 3))
    with pytest.raises(PhotoError, match="32 x 24 and 34 x 24 pixels; 'depthbokeh prepare'"):
        EBBDataset(root)[0]


def load(dataset, workers, epochs=(0, 1)):
    """Photos and disparities of some epochs, read by workers that live on."""
    loader = DataLoader(
        dataset, 2, num_workers=workers, collate_fn=collate_samples, persistent_workers=workers > 0,
        multiprocessing_context="fork" if workers else None,
    )  # fmt: skip
    seen = []
    for epoch in epochs:
        dataset.set_epoch(epoch)
        seen.append(torch.cat([torch.cat([batch["photo"], batch["disparity"]], 1) for batch in loader]))
    return torch.stack(seen)  # (epochs, pairs, 4, H, W)


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked, which is quick")
def test_workers_do_not_matter_and_epochs_do(root):
    alone, helped = (load(EBBDataset(root, augmentation=CHANGES, seed=3), workers) for workers in (0, 2))
    assert torch.equal(alone, helped)
    assert not torch.equal(alone[0], alone[1])
    assert not torch.equal(alone, load(EBBDataset(root, augmentation=CHANGES, seed=4), 0))


def test_index_from_the_end_is_the_same_pair(root):
    dataset = EBBDataset(root, augmentation=CHANGES)
    assert torch.equal(dataset[-1]["photo"], dataset[5]["photo"])
    with pytest.raises(IndexError):
        dataset[6]


def test_a_key_with_the_epoch_needs_no_other_call(root):
    one, other = (EBBDataset(root, augmentation=CHANGES) for _ in range(2))
    one.set_epoch(7)
    assert torch.equal(one[2]["photo"], other[7, 2]["photo"])
    assert not torch.equal(one[2]["photo"], other[2]["photo"])


def test_items_for_the_trainer_are_tensors_alone(root):
    (root / "Training/mask").rename(root / "Training/other")
    dataset = EBBDataset(root, augmentation=CHANGES)
    item = TrainingItems(dataset)[3, 1]
    assert item.keys() == {"photo", "bokeh", "disparity", "number", "longer_side"}
    assert (item["number"], item["longer_side"]) == (1, WIDTH)
    assert torch.equal(item["photo"], dataset[3, 1]["photo"])
    batches = DataLoader(TrainingItems(dataset), 3)
    assert [batch["bokeh"].shape for batch in batches] == [(3, 3, 16, 16)] * 2


def test_made_up_pairs_with_their_lens(tmp_path):
    write_pairs(tmp_path, 1, Recipe(size=(32, 48), samples=4), workers=1)
    whole, half = EBBDataset(tmp_path)[0], EBBDataset(tmp_path, size=(16, 24))[0]
    assert whole["strength"] == 2 * half["strength"]
    assert whole["focus"] == half["focus"]
    assert 0 <= whole["focus"] <= 1
    coarse = EBBDataset(tmp_path, disparity="coarse_disparity")[0]
    assert coarse["strength"].isnan()
    assert not torch.equal(coarse["disparity"], whole["disparity"])


def test_batches_of_several_sizes_or_with_holes_are_refused(root):
    sample = EBBDataset(root)[0]
    with pytest.raises(ValueError, match="different sizes"):
        collate_samples([sample, EBBDataset(root, size=(12, 16))[1]])
    with pytest.raises(ValueError, match="pair 1 has no mask"):
        collate_samples([sample, {**EBBDataset(root)[1], "mask": None}])


def test_importing_loads_no_heavy_library():
    code = (
        "import sys, depthbokeh.data.ebb, depthbokeh.data.prepare;"
        "print({'cv2', 'timm', 'torchvision', 'webdataset', 'kornia'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
