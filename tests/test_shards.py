import json
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from depthbokeh.data.augment import Augmentation
from depthbokeh.data.ebb import EBBDataset
from depthbokeh.data.sample import collate_samples
from depthbokeh.photo import PhotoError

pytest.importorskip("webdataset")

from depthbokeh.data.shards import ShardDataset, write_shards

CHANGES = Augmentation(crop=(8, 8), exposure=0.5)
forked = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked, which is quick")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "Training"
    rng = np.random.default_rng(0)
    for kind in ("original", "bokeh", "disparity", "mask"):
        (root / kind).mkdir(parents=True)
        for number in range(13):
            shape = (12, 16, 3) if kind in ("original", "bokeh") else (12, 16)
            if (kind, number) != ("mask", 12):
                Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(root / kind / f"{number}.png")
    lines = ({"id": str(number), "values": {"strength": 4.0 + number}} for number in range(13))
    (root.parent / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root.parent


@pytest.fixture(scope="module")
def packed(root, tmp_path_factory):
    """13 pairs in 5 shards, the last of which has 1."""
    out = tmp_path_factory.mktemp("shards")
    assert len(write_shards(EBBDataset(root).pairs, out, pairs_per_shard=3)) == 5
    return out


def load(dataset, workers=0):
    loader = DataLoader(dataset, None, num_workers=workers, multiprocessing_context="fork" if workers else None)
    return {sample["id"]: sample for sample in loader}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for key, value in first.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(second[key], value, rtol=0, atol=0, equal_nan=True)
        else:
            assert second[key] == value


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=forked)])
@pytest.mark.parametrize("shuffle", [0, 4])
def test_gives_what_the_folder_gives(root, packed, workers, shuffle):
    options = {"augmentation": CHANGES, "seed": 3, "size": (10, 14)}
    streamed = ShardDataset(packed, shuffle=shuffle, **options)
    folder = EBBDataset(root, **options)
    for epoch in (0, 1):
        streamed.set_epoch(epoch), folder.set_epoch(epoch)
        samples = load(streamed, workers)
        assert samples.keys() == {pair.key for pair in folder.pairs}
        for sample in folder:
            assert_same(sample, samples[sample["id"]])
    assert samples["12"]["mask"] is None
    assert float(samples["7"]["strength"]) == pytest.approx(11 * 10 / 12)


def test_order_is_shuffled_by_seed_and_epoch(packed):
    def order(epoch=0, **options):
        dataset = ShardDataset(packed, **options)
        dataset.set_epoch(epoch)
        return [sample["id"] for sample in dataset]

    straight = [str(number) for number in range(13)]
    assert order() == order(1) == straight
    shuffled = order(shuffle=4)
    assert sorted(shuffled, key=int) == straight
    assert shuffled == order(shuffle=4)
    assert len({tuple(each) for each in (shuffled, order(1, shuffle=4), order(shuffle=4, seed=1), straight)}) == 4


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=forked)])
def test_processes_share_without_overlap_and_get_as_many(packed, workers):
    seen = set()
    for epoch in range(3):
        shares = []
        for rank in range(2):
            dataset = ShardDataset(packed, shuffle=2, rank=rank, processes=2)
            dataset.set_epoch(epoch)
            shares.append(set(load(dataset, workers)))
        assert len(shares[0]) == len(shares[1]) > 0
        assert not shares[0] & shares[1]
        seen |= shares[0] | shares[1]
    assert len(seen) > len(shares[0] | shares[1])  # not the same are left over every time


def test_batches(packed):
    loader = DataLoader(ShardDataset(packed), 4, collate_fn=collate_samples)
    assert [len(batch["photo"]) for batch in loader] == [4, 4, 4, 1]


def test_shards_hold_the_files_as_they_are_and_are_the_same_every_time(root, packed, tmp_path):
    with tarfile.open(packed / "pairs-000001.tar") as archive:
        names = archive.getnames()
        assert archive.extractfile("00000003.original.png").read() == (root / "Training/original/3.png").read_bytes()
    assert names[:5] == [f"00000003.{name}" for name in names_of_a_pair()]
    write_shards(EBBDataset(root).pairs, tmp_path, pairs_per_shard=3)
    for path in packed.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    assert ShardDataset(packed).pairs == 13


def names_of_a_pair():
    return ["bokeh.png", "disparity.png", "json", "mask.png", "original.png"]


def test_what_does_not_fit_is_refused(root, packed, tmp_path):
    pairs = EBBDataset(root).pairs
    with pytest.raises(PhotoError, match="holds shards already"):
        write_shards(pairs, packed)
    with pytest.raises(ValueError, match="0 pairs, 100 per shard"):
        write_shards([], tmp_path)
    with pytest.raises(PhotoError, match=r"shards\.json: cannot be read"):
        ShardDataset(tmp_path)
    with pytest.raises(ValueError, match="5 shards for 6 processes with 1 workers each"):
        list(ShardDataset(packed, rank=0, processes=6))
    with pytest.raises(ValueError, match="rank is 2: expected 0 to 1"):
        ShardDataset(packed, rank=2, processes=2)
    with pytest.raises(ValueError, match="shuffle must not be negative"):
        ShardDataset(packed, shuffle=-1)


def test_a_pair_that_cannot_be_read_is_named(root, tmp_path):
    pairs = EBBDataset(root, ["1"]).pairs
    broken = tmp_path / "broken.png"
    broken.write_bytes(pairs[0].bokeh.read_bytes()[:200])
    write_shards([type(pairs[0])("1", "", pairs[0].original, broken)], tmp_path / "out")
    with pytest.raises(PhotoError, match=r"pairs-000000\.tar/00000000\.bokeh\.png"):
        list(ShardDataset(tmp_path / "out"))
