import sys
import urllib.error

import pytest
import torch

from depthbokeh.evaluation.lpips import Lpips, LpipsError
from depthbokeh.models.checkpoints import CheckpointError
from depthbokeh.models.vision import import_torchvision

import_torchvision()
pytest.importorskip("lpips")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """AlexNet's convolutions with random weights, as torchvision would save them, and a stub of its classifier."""
    torch.manual_seed(0)
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    weights = {"classifier.1.weight": torch.zeros(1)}
    for index, (out, inside, size) in shapes.items():
        weights[f"features.{index}.weight"] = torch.randn(out, inside, size, size) / (inside * size**2) ** 0.5
        weights[f"features.{index}.bias"] = torch.zeros(out)
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(weights, path)
    return path


@pytest.fixture(scope="module")
def distance(backbone):
    return Lpips(backbone)


def test_distance_of_given_weights(distance):
    picture = torch.rand(2, 3, 40, 48, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(2))
    assert distance(picture, picture).eq(0).all()
    near, far = ((picture + scale * noise).clamp(0, 1) for scale in (0.05, 0.3))
    assert near.shape[0] == distance(near, picture).numel()
    assert (distance(near, picture) > 0).all()
    assert (distance(near, picture) < distance(far, picture)).all()
    near.requires_grad_()
    distance(near, picture).sum().backward()
    assert near.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in distance.parameters())


def test_weights_are_those_of_the_file(distance, backbone):
    held, given = distance.distance.net.state_dict(), torch.load(backbone)
    assert held["slice1.0.weight"].equal(given["features.0.weight"])
    assert held["slice5.10.weight"].equal(given["features.10.weight"])


def test_another_networks_file_is_refused(tmp_path):
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "vgg.pth")
    with pytest.raises(CheckpointError, match=r"vgg.pth: not a checkpoint of alexnet; missing"):
        Lpips(tmp_path / "vgg.pth")


def test_small_pictures_are_refused(distance):
    small = torch.rand(1, 3, 31, 31)
    assert distance(small, small).item() == 0
    with pytest.raises(ValueError, match="30 x 31 pixels: expected at least 31 x 31 for LPIPS"):
        distance(small[..., :30], small[..., :30])


def test_without_network_the_file_and_its_place_are_named(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torch.hub.urlopen", refuse)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(LpipsError, match=rf"no network.*put alexnet-\S+.pth into {tmp_path}/checkpoints"):
        Lpips()


def test_missing_package_is_named(monkeypatch, backbone):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(LpipsError, match=r"depthbokeh\[lpips\]"):
        Lpips(backbone)
