"""MegaDepth: the authors' checkpoint must fit, tensor for tensor, and its values must mean what they mean."""

from itertools import pairwise

import pytest
import torch

from depthbokeh.models import create_depth_model
from depthbokeh.models.checkpoints import CheckpointError
from depthbokeh.models.depth import MegaDepth
from depthbokeh.models.depth.hourglass import build_hourglass

# The network once more, as text. "c>o" is a 1x1 convolution, "c>m>o@k" one followed by a kernel of k, "/" stands
# between the four branches of an inception; -2 and +2 halve and double the sides, and "( | )" is a pair of branches
# that are added.
SMALL = "{0}>32 / {0}>32>32@3 / {0}>32>32@5 / {0}>32>32@7"
LARGE = "{0}>64 / {0}>32>64@3 / {0}>32>64@5 / {0}>32>64@7"
SPREAD = "{0}>64 / {0}>64>64@3 / {0}>64>64@7 / {0}>64>64@11"
DEEPEST = f"( {LARGE}; {LARGE} | -2; {LARGE}; {LARGE}; {LARGE}; +2 )".replace("{0}", "256")
DEEPER = f"( {LARGE}; {SPREAD} | -2; {LARGE}; {LARGE}; {DEEPEST}; {LARGE}; {SPREAD}; +2 )".replace("{0}", "256")
DEEP = (
    f"( -2; {SMALL.format(128)}; {LARGE.format(128)}; {DEEPER}; {LARGE.format(256)}; {SMALL.format(256)}; +2 |"
    f" {SMALL.format(128)}; 128>32 / 128>64>32@3 / 128>64>32@7 / 128>64>32@11 )"
)
TOP = (
    f"( -2; {SMALL.format(128)}; {SMALL.format(128)}; {DEEP}; 128>32 / 128>64>32@3 / 128>64>32@5 / 128>64>32@7;"
    " 128>16 / 128>32>16@3 / 128>32>16@7 / 128>32>16@11; +2 |"
    " 128>16 / 128>64>16@3 / 128>64>16@7 / 128>64>16@11 )"
)


def split_outside(text, separator):
    """Parts of a text between separators that are in no parentheses."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def expect_tensors(text, prefix):
    """Names and shapes that a pair of branches has in the checkpoint, in order."""
    for side, branch in enumerate(split_outside(text[1:-1], "|")):
        for index, part in enumerate(split_outside(branch, ";")):
            name = f"{prefix}.0.{side}.{index}"
            if part.startswith("("):
                yield from expect_tensors(part, name)
            elif part not in ("-2", "+2"):
                for number, path in enumerate(part.split("/")):
                    yield from expect_path(path.strip(), f"{name}.{number}")


def expect_path(path, prefix):
    chain, _, kernel = path.partition("@")
    widths = [int(width) for width in chain.split(">")]
    for step, (inputs, outputs) in enumerate(pairwise(widths)):
        side = int(kernel) if step else 1
        convolution, norm = f"{prefix}.{3 * step}", f"{prefix}.{3 * step + 1}"
        yield f"{convolution}.weight", (outputs, inputs, side, side)
        yield f"{convolution}.bias", (outputs,)
        yield from expect_norm(norm, outputs)


def expect_norm(name, channels):
    yield f"{name}.running_mean", (channels,)
    yield f"{name}.running_var", (channels,)
    yield f"{name}.num_batches_tracked", ()


def expect_all():
    yield "0.weight", (128, 3, 7, 7)
    yield "0.bias", (128,)
    yield "1.weight", (128,)
    yield "1.bias", (128,)
    yield from expect_norm("1", 128)
    yield from expect_tensors(TOP, "3")
    yield "4.weight", (1, 64, 3, 3)
    yield "4.bias", (1,)


def old_state(model):
    """As a checkpoint of 2018: no counters, the prefix of DataParallel."""
    return {f"module.{key}": value for key, value in model.state_dict().items() if "num_batches" not in key}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = MegaDepth("full")
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if key.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif key.endswith("running_mean"):
                value.normal_(std=0.1)
    return model.eval()


class TestTensors:
    def test_names_order_and_shapes_are_the_checkpoints(self, model):
        assert [(key, tuple(value.shape)) for key, value in model.state_dict().items()] == list(expect_all())

    def test_counts(self, model):
        keys = list(model.state_dict())
        kept = [key for key in keys if not key.endswith("num_batches_tracked")]
        assert (len(keys), len(kept)) == (779, 624)
        assert kept[0] == "0.weight"
        assert kept[6] == "3.0.0.1.0.0.weight"
        assert {"1.running_mean", "3.0.0.1.0.1.running_mean"} < set(kept)
        assert kept[-3:] == ["3.0.1.0.3.4.running_var", "4.weight", "4.bias"]
        assert sum(weight.numel() for weight in model.parameters()) == 5_357_153
        norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
        assert sum(isinstance(layer, torch.nn.Conv2d) for layer in model.modules()) == 156
        assert [layer.affine for layer in norms] == [True] + 154 * [False]


class TestNetwork:
    def test_resolution_at_every_level(self):
        """16 pixels become one, and the output has the input's size."""
        sizes = []
        with torch.no_grad():
            network = build_hourglass().eval()
            for layer in network.modules():
                if isinstance(layer, torch.nn.Conv2d):
                    layer.register_forward_hook(lambda _module, _input, output: sizes.append(output.shape[2]))
            assert network(torch.rand(1, 3, 32, 48)).shape == (1, 1, 32, 48)
        assert sorted(set(sizes)) == [2, 4, 8, 16, 32]

    def test_halving_by_maximum_at_the_top_by_mean_below(self):
        kinds = [type(layer).__name__ for layer in build_hourglass().modules() if "Pool" in type(layer).__name__]
        assert kinds == ["MaxPool2d", "MaxPool2d", "AvgPool2d", "AvgPool2d"]

    def test_branches_are_added_and_joined(self):
        """With all convolutions of one branch silent, the output is the other's."""
        network = build_hourglass().eval()
        photo = torch.rand(1, 3, 16, 16)
        with torch.no_grad():
            pair = network[3][0]
            features = network[2](network[1](network[0](photo)))
            whole = network[3](features)
            torch.testing.assert_close(whole, pair[0](features) + pair[1](features))
            inception = pair[1][0]
            joined = torch.cat([branch(features) for branch in inception], 1)
            torch.testing.assert_close(pair[1](features), joined)
        assert joined.shape == (1, 64, 16, 16)


class TestCheckpoint:
    def test_loads_a_checkpoint_of_2018(self, model, tmp_path):
        path = tmp_path / "best_generalization_net_G.pth"
        torch.save(old_state(model), path, _use_new_zipfile_serialization=False)
        loaded = create_depth_model("megadepth", pretrained=path, input_mode="full").eval()
        for key, value in model.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                assert torch.equal(loaded.state_dict()[key], value), key
        photo = torch.rand(1, 3, 32, 32)
        with torch.no_grad():
            assert torch.equal(loaded(photo), model(photo))

    def test_a_part_of_it_is_refused_and_what_lacks_is_named(self, model, tmp_path):
        path = tmp_path / "part.pth"
        torch.save({key: value for key, value in old_state(model).items() if ".4." not in key}, path)
        with pytest.raises(CheckpointError, match=r"part\.pth.*MegaDepth; missing: 3\.0\.0\.\S+running_mean.*more"):
            create_depth_model("megadepth", pretrained=path)

    def test_another_networks_is_refused(self, tmp_path):
        path = tmp_path / "other.pth"
        torch.save(torch.nn.Conv2d(3, 4, 1).state_dict(), path)
        with pytest.raises(CheckpointError, match=r"missing: 0\.weight.*unknown: weight, bias"):
            create_depth_model("megadepth", pretrained=path)

    def test_a_file_that_runs_code_is_not_read(self, tmp_path):
        path = tmp_path / "evil.pth"
        torch.save({"module.0.weight": print}, path)
        with pytest.raises(CheckpointError, match="cannot be read"):
            create_depth_model("megadepth", pretrained=path)

    def test_weights_that_are_not_there(self):
        with pytest.raises(CheckpointError, match="no such file"):
            create_depth_model("megadepth", pretrained="nowhere.pth")


class TestDisparity:
    photo = torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(1))

    def test_is_the_reciprocal_of_depth(self, model):
        with torch.no_grad():
            depth = model.predict(self.photo).exp()
            disparity = model(self.photo)
        expected = depth.amin((2, 3), keepdim=True) / depth
        torch.testing.assert_close(disparity, expected)
        assert disparity.shape == (2, 1, 40, 56)
        assert disparity.amax((1, 2, 3)).tolist() == [1, 1]

    def test_full_pads_at_the_end_and_cuts_off_what_was_padded(self, model):
        padded = torch.nn.functional.pad(self.photo, (0, 8, 0, 24), mode="replicate")
        with torch.no_grad():
            assert torch.equal(model.predict(self.photo), model.predict(padded)[..., :40, :56])

    @pytest.mark.parametrize(
        ("mode", "size", "seen"),
        [
            ("full", (40, 56), (64, 64)),
            ("half", (40, 56), (32, 32)),
            ("half", (95, 33), (48, 32)),
            ("demo", (20, 30), (384, 512)),
            ("demo", (30, 20), (512, 384)),
        ],
    )
    def test_what_the_network_sees(self, mode, size, seen):
        model, inputs = MegaDepth(mode), []
        for name in ("0", "1", "2", "3", "4"):
            setattr(model, name, torch.nn.Identity())
        setattr(model, "0", Luminance(inputs))
        photo = torch.rand(1, 3, *size)
        values = model.predict(photo)
        assert values.shape == (1, 1, *size)
        assert inputs == [(1, 3, *seen)]
        if mode == "full":
            torch.testing.assert_close(values, photo.mean(1, keepdim=True))
        smooth = torch.linspace(0, 1, size[1]).expand(1, 3, *size)
        torch.testing.assert_close(model.predict(smooth)[0, 0, 5], smooth[0, 0, 5], atol=0.03, rtol=0)

    def test_half_is_stretched_to_the_whole_range(self, model):
        half = MegaDepth("half").eval()
        half.load_state_dict(model.state_dict())
        with torch.no_grad():
            disparity = half(self.photo)
        assert disparity.amin((1, 2, 3)).tolist() == [0, 0]
        assert disparity.amax((1, 2, 3)).tolist() == [1, 1]

    def test_unknown_mode(self):
        with pytest.raises(ValueError, match="input_mode is 'quarter': expected one of demo, half, full"):
            create_depth_model("megadepth", input_mode="quarter")


class TestGradient:
    photo = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))

    def test_reaches_all_weights_and_the_photo(self, model):
        model.zero_grad()
        photo = self.photo.clone().requires_grad_()
        weight = torch.linspace(0, 1, 32)
        (model(photo) * weight).sum().backward()
        still = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
        # A constant added to all of log depth changes no disparity.
        assert set(still) <= {"4.bias"}
        assert photo.grad.abs().sum() > 0
        model.zero_grad()

    def test_frozen_weights_and_statistics_stay(self):
        model = create_depth_model("megadepth", input_mode="full", frozen=True)
        pipeline = torch.nn.Sequential(model)
        pipeline.train()
        assert not any(layer.training for layer in model.modules())
        before = model.state_dict()["1.running_mean"].clone()
        photo = self.photo.clone().requires_grad_()
        model(photo).sum().backward()
        assert photo.grad.abs().sum() > 0
        assert all(value.grad is None for value in model.parameters())
        assert torch.equal(model.state_dict()["1.running_mean"], before)

    def test_trainable_model_trains(self):
        torch.manual_seed(0)
        model = create_depth_model("megadepth", input_mode="full").train()
        before = model.state_dict()["1.running_mean"].clone()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
        photo = self.photo.expand(2, 3, 32, 32)
        target = torch.linspace(0, 1, 32).expand(2, 1, 32, 32)
        losses = []
        for _ in range(4):
            loss = (model(photo) - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]
        assert not torch.equal(model.state_dict()["1.running_mean"], before)


class Luminance(torch.nn.Module):
    """Stands in for the network: the mean of the colours, and a note of what came."""

    def __init__(self, inputs):
        super().__init__()
        self.inputs = inputs

    def forward(self, photo):
        self.inputs.append(tuple(photo.shape))
        return photo.mean(1, keepdim=True)
