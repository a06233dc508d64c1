import copy
import functools
import importlib
import math

import pytest
import torch
from torch import nn

from depthbokeh.models import create_mask_model
from depthbokeh.models.checkpoints import CheckpointError
from depthbokeh.models.inputs import IMAGENET_MEAN, IMAGENET_STD
from depthbokeh.models.masks import MaskRCNN
from depthbokeh.models.masks.mask_rcnn.choice import choose, find_inside, find_under
from depthbokeh.models.masks.mask_rcnn.detection import propose, segment
from depthbokeh.models.masks.mask_rcnn.network import find_labels
from depthbokeh.models.masks.mask_rcnn.pasting import sample, unite
from depthbokeh.models.masks.mask_rcnn.regions import align, clip, measure_area, measure_overlap, suppress
from depthbokeh.models.vision import has_torchvision_ops, import_torchvision
from depthbokeh.pipeline import BokehPipeline

NARROW = {"body": "resnet10", "channels": 8, "hidden": 16, "proposals": 60, "min_size": 64, "max_size": 160}


@pytest.fixture(scope="module")
def detection():
    """torchvision's detection models, whole."""
    import_torchvision()
    import torchvision.models.detection as module

    return module


def build(seed=0, sure=True, **options):
    """A narrow network; if sure, one that finds a few instances with high scores."""
    return copy.deepcopy(build_once(seed, sure, **options))


@functools.cache
def build_once(seed, sure, **options):
    torch.manual_seed(seed)
    model = MaskRCNN(**(NARROW | options)).eval()
    if sure:
        with torch.no_grad():
            model.rpn.head.cls_logits.weight.mul_(100)
            model.rpn.head.bbox_pred.weight.mul_(20)
            model.roi_heads.box_predictor.cls_score.weight.mul_(60)
    return model


def make_photo(height=75, width=110, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, 6, 8, generator=generator)
    return nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)


def find(model, photo):
    """Features, instances and how many pixels of the photo one of the network's is."""
    images = model._prepare(photo)
    features = list(model.backbone(images.tensors).values())
    height, width = images.image_sizes[0]
    ratio = torch.tensor([photo.shape[3] / width, photo.shape[2] / height] * 2)
    return features[:4], model._detect(images, features), ratio


def suppress_plainly(boxes, scores, threshold):
    kept = []
    for i in scores.argsort(descending=True).tolist():
        shared = measure_overlap(boxes[kept], boxes[i])
        if not (shared > threshold * (measure_area(boxes[kept]) + measure_area(boxes[i : i + 1]) - shared)).any():
            kept.append(i)
    return torch.tensor(kept, dtype=torch.int64)


def align_plainly(features, rois, output_size, spatial_scale, sampling_ratio):
    """torchvision's RoIAlign in Python, not compiled."""
    from torchvision.ops import roi_align

    module = importlib.import_module(roi_align.__module__)
    plain = module._roi_align.__wrapped__
    return plain(features, rois, spatial_scale, *output_size, sampling_ratio, False)


@pytest.fixture
def truth(detection, monkeypatch):
    """torchvision's own model with a narrow one's weights; made to work without compiled operators."""
    import torchvision

    boxes, poolers = torchvision.ops.boxes, torchvision.ops.poolers
    if not has_torchvision_ops():
        monkeypatch.setattr(boxes, "nms", suppress_plainly)
        monkeypatch.setattr(poolers, "roi_align", align_plainly)
    # Masks are compared as they are, not pasted.
    monkeypatch.setattr(detection.transform, "paste_masks_in_image", lambda masks, boxes, size: masks)

    def make(model):
        own = detection.MaskRCNN(
            model.backbone,
            box_head=model.roi_heads.box_head,
            box_predictor=model.roi_heads.box_predictor,
            mask_head=model.roi_heads.mask_head,
            mask_predictor=model.roi_heads.mask_predictor,
            rpn_head=model.rpn.head,
            rpn_pre_nms_top_n_test=model.proposals,
            rpn_post_nms_top_n_test=model.proposals,
            min_size=model.min_size,
            max_size=model.max_size,
            image_mean=IMAGENET_MEAN,
            image_std=IMAGENET_STD,
        )
        return own.eval()

    return make


class TestNetwork:
    def test_has_torchvisions_keys(self, detection):
        with torch.device("meta"):
            own = create_mask_model("mask_rcnn_resnet50_fpn").state_dict()
            frozen = importlib.import_module("torchvision.ops.misc").FrozenBatchNorm2d
            backbone = detection.backbone_utils.resnet_fpn_backbone(
                backbone_name="resnet50", weights=None, norm_layer=frozen
            )
            theirs = detection.MaskRCNN(backbone, num_classes=91).state_dict()
        assert len(own) == 307
        assert {key: value.shape for key, value in own.items()} == {key: value.shape for key, value in theirs.items()}

    def test_unfrozen_has_torchvisions_keys(self, detection):
        with torch.device("meta"):
            own = create_mask_model("mask_rcnn_resnet50_fpn", frozen_bn=False).state_dict()
            theirs = detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
        assert {key: value.shape for key, value in own.items()} == {key: value.shape for key, value in theirs.items()}

    @pytest.mark.parametrize("trainable_layers", [0, 3, 5])
    @pytest.mark.parametrize("frozen_bn", [False, True])
    def test_freezes_as_torchvision(self, detection, trainable_layers, frozen_bn):
        frozen = importlib.import_module("torchvision.ops.misc").FrozenBatchNorm2d
        with torch.device("meta"):
            theirs = detection.backbone_utils.resnet_fpn_backbone(
                backbone_name="resnet50",
                weights=None,
                norm_layer=frozen if frozen_bn else nn.BatchNorm2d,
                trainable_layers=trainable_layers,
            )
            own = MaskRCNN(frozen_bn=frozen_bn, trainable_layers=trainable_layers).backbone
        trained = {name for name, parameter in own.named_parameters() if parameter.requires_grad}
        assert trained == {name for name, parameter in theirs.named_parameters() if parameter.requires_grad}

    def test_frozen_norms_divide_as_the_published_weights_want(self, detection):
        # torchvision sets it when it loads them: they were trained so.
        frozen = importlib.import_module("torchvision.ops.misc").FrozenBatchNorm2d
        eps = {module.eps for module in build().modules() if isinstance(module, frozen)}
        assert eps == {0.0}

    @pytest.mark.parametrize("seed", [0, 1])
    @torch.no_grad()
    def test_finds_what_torchvision_finds(self, truth, seed):
        model, photos = build(seed), make_photo(batch=2, seed=seed)
        expected = truth(model)(list(photos))
        features, found, ratio = find(model, photos)
        for i in range(2):
            theirs = expected[i]
            assert len(theirs["scores"]) > 20
            assert torch.equal(found[i].labels, theirs["labels"])
            torch.testing.assert_close(found[i].scores, theirs["scores"], atol=1e-5, rtol=0)
            torch.testing.assert_close(found[i].boxes * ratio, theirs["boxes"], atol=1e-3, rtol=0)
            masks, scores = segment(model.roi_heads, [level[i : i + 1] for level in features], [found[i]])
            torch.testing.assert_close(scores, theirs["scores"], atol=1e-5, rtol=0)
            torch.testing.assert_close(masks, theirs["masks"][:, 0], atol=1e-4, rtol=0)

    @torch.no_grad()
    def test_mask_is_the_union_of_what_torchvision_finds(self, truth):
        model, photo = build(choice="all"), make_photo()
        expected = truth(model)(list(photo))[0]
        sure = expected["scores"] >= 0.5
        masks = expected["masks"][sure, 0] * expected["scores"][sure, None, None]
        rest = torch.ones(75, 110)
        for mask, box in zip(masks, expected["boxes"][sure], strict=True):
            rest *= 1 - paste_plainly(mask, box, 75, 110)
        torch.testing.assert_close(model(photo)[0, 0], 1 - rest, atol=1e-4, rtol=0)
        assert sure.sum() > 3


def paste_plainly(mask, box, height, width):
    """Bilinear interpolation of a mask over a box at the pixels' centres."""
    rows = (torch.arange(height) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
    columns = (torch.arange(width) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), 2)
    return nn.functional.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0]


class TestRegions:
    def test_aligns_as_torchvision(self, detection):
        generator = torch.Generator().manual_seed(0)
        features = [torch.randn(2, 3, 96 // s, 160 // s, generator=generator).double() for s in (4, 8, 16, 32)]
        features = [level.requires_grad_() for level in features]
        corners = torch.rand(2, 40, 2, 2, generator=generator).double() * torch.tensor([160, 96])
        boxes = torch.cat([corners.amin(2), corners.amax(2) + 0.1], 2)
        boxes[:, :4] = torch.tensor(
            [[0.0, 0, 160, 96], [-120, -300, 300, 200], [-100, -90, 190, 200], [3, 5, 3.5, 5.1]]
        )
        levels = [[], [], [], []]
        for i, box in enumerate(boxes.flatten(0, 1)):
            level = math.floor(4 + math.log2((box[2] - box[0]).mul(box[3] - box[1]).sqrt() / 224) + 1e-6)
            levels[min(max(level, 2), 5) - 2].append(i)
        assert all(levels)
        for size in (7, 14):
            own = align(features, list(boxes), size)
            weights = torch.randn(own.shape, generator=generator).double()
            theirs = torch.zeros_like(own)
            for level, members in enumerate(levels):
                rois = torch.cat([torch.arange(2).repeat_interleave(40)[:, None], boxes.flatten(0, 1)], 1)[members]
                theirs[members] = align_plainly(features[level], rois, (size, size), 0.25 / 2**level, 2)
            torch.testing.assert_close(own, theirs)
            gradients = [torch.autograd.grad((x * weights).sum(), features) for x in (own, theirs)]
            torch.testing.assert_close(*gradients)

    @pytest.mark.parametrize("threshold", [0.3, 0.7])
    def test_suppresses_within_groups(self, threshold):
        generator = torch.Generator().manual_seed(0)
        corners = torch.rand(120, 2, 2, generator=generator) * 60
        boxes = torch.cat([corners.amin(1), corners.amax(1) + 5], 1)
        boxes[60:] = boxes[:60] + torch.randn(60, 4, generator=generator)
        scores, groups = torch.rand(120, generator=generator), torch.arange(120) % 3 * 40
        kept = suppress(boxes, scores, groups, threshold)
        expected = []
        for group in (0, 40, 80):
            members = (groups == group).nonzero()[:, 0]
            expected += members[suppress_plainly(boxes[members], scores[members], threshold)].tolist()
        assert len(expected) < 110
        assert sorted(expected, key=lambda i: -scores[i]) == kept.tolist()


class TestPasting:
    @pytest.mark.parametrize(("left", "top", "right", "bottom"), [(10, 20, 70, 50), (-15, 30, 15, 90), (0, 0, 100, 80)])
    def test_pastes_as_torchvision_over_whole_pixels(self, detection, left, top, right, bottom):
        # torchvision adds a cell on each side and takes the last pixel of the box for one in it.
        cells = 28
        mask = torch.rand(1, cells, cells, generator=torch.Generator().manual_seed(0))
        grown = torch.tensor([[left, top, right - 1.0, bottom - 1.0]])
        grown += 1e-3 * grown.sign()  # towards zero, whole numbers are cut
        theirs = detection.roi_heads.paste_masks_in_image(mask[:, None], shrink(grown, cells), (80, 100))
        box = shrink(torch.tensor([[left, top, right, bottom]]).float(), cells)
        torch.testing.assert_close(unite(mask, box, 80, 100), theirs[0, 0], atol=1e-4, rtol=0)

    def test_union(self):
        generator = torch.Generator().manual_seed(0)
        masks = torch.rand(5, 28, 28, generator=generator)
        boxes = torch.tensor([[1.5, 2, 30, 40], [-9, 3, 20, 60], [5, 5, 70, 9], [0, 0, 5, 5], [90, 90, 99, 99]])
        rest = torch.stack([1 - paste_plainly(*one, 50, 64) for one in zip(masks, boxes, strict=True)]).prod(0)
        torch.testing.assert_close(unite(masks, boxes, 50, 64), 1 - rest, atol=1e-5, rtol=0)

    def test_certain_instances(self):
        masks = torch.ones(2, 28, 28, requires_grad=True)
        union = unite(masks, torch.tensor([[0.0, 0, 20, 20]] * 2), 20, 20)
        assert union.max() <= 1
        torch.testing.assert_close(union[5:15, 5:15], torch.ones(10, 10))
        union.sum().backward()
        assert masks.grad.isfinite().all()

    def test_gradient(self):
        masks = torch.rand(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.9
        boxes = torch.tensor([[1.5, 2, 6, 7.2], [-3, 1, 9, 4], [2, 2, 3, 3]])
        assert torch.autograd.gradcheck(lambda m: unite(m, boxes, 8, 9), (masks.requires_grad_(),))

    def test_sample_is_what_is_pasted(self):
        masks = torch.rand(2, 28, 28, generator=torch.Generator().manual_seed(0))
        boxes = torch.tensor([[1.5, 2, 30, 40], [-9, 3, 20, 60]])
        values = sample(masks, boxes, 12.5, 21.5)
        pasted = [unite(masks[i : i + 1], boxes[i : i + 1], 50, 64)[21, 12] for i in range(2)]
        torch.testing.assert_close(values, torch.stack(pasted), atol=1e-5, rtol=0)

    def test_memory_does_not_grow_with_the_instances(self):
        masks = torch.rand(20, 28, 28, requires_grad=True)
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
            unite(masks, torch.tensor([[0.0, 0, 60, 60]] * 20), 60, 60)
        assert sum(kept) < 3 * 60 * 60 + masks.numel()


def shrink(boxes, cells):
    """Boxes that are as large as these with a cell more on each side."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * cells / (cells + 2)
    return torch.cat([middle - half, middle + half], 1)


class TestChoice:
    """In a photo of 100 x 80: left, top, right, bottom, score, alive."""

    PERSON = (35, 10, 65, 80, 0.9, 1)
    TABLE = (5, 50, 95, 80, 0.95, 0)

    def choose(self, *instances, **options):
        every = torch.tensor(instances, dtype=torch.float32).reshape(-1, 6)
        return choose(every[:, :4], every[:, 4], every[:, 5].bool(), 80, 100, **options).tolist()

    def test_person_before_table(self):
        assert self.choose(self.TABLE, self.PERSON) == [1]

    def test_thing_where_nobody_is(self):
        assert self.choose(self.TABLE, (80, 5, 90, 15, 0.9, 0)) == [0]

    def test_group(self):
        group = [(5, 20, 28, 80, 0.9, 1), (30, 15, 50, 80, 0.95, 1), (52, 25, 72, 80, 0.8, 1), (75, 18, 98, 80, 0.9, 1)]
        assert self.choose(*group) == [0, 1, 2, 3]

    def test_passers_by_are_none(self):
        assert self.choose(self.PERSON, (80, 40, 86, 60, 0.99, 1), (2, 42, 8, 58, 0.99, 1)) == [0]

    def test_unsure_is_none_beside_sure(self):
        assert self.choose(self.PERSON, (5, 10, 30, 80, 0.49, 1)) == [0]

    def test_surest_where_none_is_sure(self):
        assert self.choose((5, 10, 30, 80, 0.2, 1), (60, 20, 70, 40, 0.3, 1)) == [1]

    def test_rules(self):
        instances = self.PERSON, self.TABLE, (48, 38, 52, 42, 0.6, 0), (0, 0, 100, 80, 0.4, 1)
        assert self.choose(*instances, choice="largest") == [1]
        assert self.choose(*instances, choice="central") == [2]
        assert self.choose(*instances, choice="all") == [0, 1, 2]

    def test_box(self):
        instances = self.PERSON, (10, 20, 30, 75, 0.3, 1), (20, 20, 40, 75, 0.2, 1), self.TABLE
        assert self.choose(*instances, box=(8, 18, 25, 60)) == [1]
        assert self.choose(*instances, box=(30, 5, 40, 75)) == [0]
        assert self.choose(*instances, box=(0, 0, 100, 80)) == [0, 3]
        assert self.choose(*instances, box=(36, 12, 20, 20)) == [0]
        assert self.choose(*instances, box=(90, 0, 5, 5)) == []

    def test_training_takes_the_unsure_too(self):
        instances = [(5 * i, 10, 5 * i + 20, 70, 0.01 + 0.001 * i, 1) for i in range(16)]
        instances += [(40, 70, 41, 71, 0.01, 0), self.PERSON]
        assert sorted(self.choose(*instances, training=True)) == [*range(1, 16), 17]
        assert self.choose(*instances, choice="largest", training=True) == [17]

    @pytest.mark.parametrize("choice", ["subject", "largest", "central", "all"])
    @pytest.mark.parametrize("training", [False, True])
    def test_nothing(self, choice, training):
        assert self.choose(choice=choice, training=training) == []
        assert self.choose(choice=choice, box=(1, 1, 5, 5), training=training) == []

    def test_box_over_nothing_in_training(self):
        assert self.choose(self.PERSON, box=(90, 0, 5, 5), training=True) == [0]

    def test_inside_and_under(self):
        boxes = torch.tensor([[0.0, 0, 10, 10], [5, 5, 20, 20], [30, 30, 40, 50]])
        assert find_inside(boxes, (0, 0, 21, 21)).tolist() == [0, 1]
        assert find_under(boxes, (7, 7)).tolist() == [0, 1]
        assert find_under(boxes, (28, 25)).tolist() == [2]
        assert find_under(boxes[:0], (7, 7)).tolist() == []

    def test_labels(self):
        assert find_labels("person") == [1]
        assert find_labels(["toothbrush", "giraffe"]) == [90, 25]


class TestMask:
    @torch.no_grad()
    def test_point_takes_the_instance_with_the_highest_mask_there(self):
        model, photo = build(), make_photo()
        features, found, ratio = find(model, photo)
        masks, scores = segment(model.roi_heads, features, found)
        for x, y in ((40.0, 30.0), (90.0, 60.0), (10.0, 70.0)):
            values = scores * sample(masks, found[0].boxes * ratio, x, y)
            best = values.argmax()
            assert (values > 0).sum() > 1
            weighted = (masks * scores[:, None, None])[best][None]
            expected = unite(weighted, (found[0].boxes * ratio)[best][None], 75, 110)
            torch.testing.assert_close(model(photo, point=(x, y))[0, 0], expected, atol=1e-5, rtol=0)

    @torch.no_grad()
    def test_box_and_point_for_each_photo(self):
        model, photos = build(), make_photo(batch=2)
        boxes = torch.tensor([[10.0, 10, 60, 50], [50, 20, 60, 55]])
        points = torch.tensor([[40.0, 30], [80, 50]])
        for options in ({}, {"box": boxes}, {"point": points}, {"box": boxes, "point": points}):
            together = model(photos, **options)
            for i in range(2):
                alone = model(photos[i : i + 1], **{name: value[i] for name, value in options.items()})
                torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=0)
            assert together.amax((1, 2, 3)).min() > 0.01

    @torch.no_grad()
    def test_classes(self):
        model = build(classes=("person", "dog"), choice="all").train()
        _, found, _ = find(model, make_photo())
        assert set(found[0].labels.tolist()) == {1, 18}
        assert len(found[0].scores) > 5

    @torch.no_grad()
    def test_nothing_found_is_an_empty_mask(self):
        model = build(sure=False)
        for options in ({}, {"box": (5, 5, 20, 20)}, {"point": (9, 9)}):
            mask = model(make_photo(), **options)
            assert mask.shape == (1, 1, 75, 110)
            assert mask.eq(0).all()

    @torch.no_grad()
    def test_nan_is_not_nothing(self):
        assert build()(make_photo() + float("nan")).isnan().all()

    @pytest.mark.parametrize("training", [False, True])
    @pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 37), (41, 1), (2, 700), (63, 101)])
    @torch.no_grad()
    def test_odd_sizes(self, height, width, training):
        mask = build().train(training)(make_photo(height, width, batch=2))
        assert mask.shape == (2, 1, height, width)
        assert mask.min() >= 0
        assert mask.max() <= 1

    def test_empty_batch(self):
        assert build()(torch.zeros(0, 3, 8, 9)).shape == (0, 1, 8, 9)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    @torch.no_grad()
    def test_keeps_dtype(self, dtype):
        model, photo = build(), make_photo().to(dtype)
        mask = model(photo)
        assert mask.dtype == dtype
        torch.testing.assert_close(mask.float(), model(photo.float()), atol=5e-3, rtol=0)

    @torch.no_grad()
    def test_anchors_are_not_in_half_precision(self):
        model = build(min_size=400, max_size=700)
        model.rpn.head.bbox_pred.weight.zero_()  # proposals are anchors
        images = model._prepare(make_photo())
        features = list(model.backbone(images.tensors).values())
        anchors = clip(model.rpn.anchor_generator(images, features)[0], *images.image_sizes[0])
        with torch.autocast("cpu", torch.bfloat16):
            proposals = propose(model.rpn, images, [level.bfloat16() for level in features], 60)[0]
        assert proposals.max() > 256  # from where on bfloat16 rounds whole numbers
        assert len(proposals) > 20
        assert all((anchors == box).all(1).any() for box in proposals)

    @torch.no_grad()
    def test_autocast_changes_little(self):
        model, photo = build(choice="all"), make_photo()
        with torch.autocast("cpu", torch.bfloat16):
            mask = model(photo)
        assert mask.max() > 0.3
        assert (mask - model(photo)).abs().mean() < 0.05

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_autocast_passes_the_gradient(self, dtype):
        model, photo = build(min_size=32).train(), make_photo(48, 64)
        with torch.autocast("cpu", dtype):
            mask = model(photo)
            mask.mean().backward()
        assert mask.dtype == torch.float32
        reached = [model.backbone.body.conv1, model.roi_heads.box_head.fc6, model.roi_heads.mask_head[0][0]]
        for layer in reached:
            assert layer.weight.grad.isfinite().all()
            assert layer.weight.grad.any()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"choice": "best"}, "choice is 'best'"),
            ({"classes": "unicorn"}, "classes is 'unicorn'"),
            ({"classes": []}, "classes is"),
            ({"classes": ["N/A"]}, "classes is"),
            ({"trainable_layers": 6}, "trainable_layers is 6"),
            ({"body": "vgg16"}, "body is 'vgg16'"),
            ({"min_size": 200, "max_size": 100}, "min_size is 200"),
            ({"proposals": 0}, "proposals is 0"),
        ],
    )
    def test_refuses_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            MaskRCNN(**(NARROW | options))

    @pytest.mark.parametrize(
        ("photo", "options", "message"),
        [
            (torch.zeros(3, 8, 8), {}, "photo has shape"),
            (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), {}, "photo is torch.uint8"),
            (torch.zeros(1, 3, 8, 8), {"box": (9, 0, 4, 4)}, "inside the 8 x 8 photo"),
            (torch.zeros(1, 3, 8, 8), {"point": (9, 0)}, "inside the 8 x 8 photo"),
        ],
    )
    def test_refuses_photos(self, photo, options, message):
        with pytest.raises(ValueError, match=message):
            build()(photo, **options)


class TestTraining:
    @pytest.mark.parametrize("sure", [False, True])
    @pytest.mark.parametrize("frozen_bn", [False, True])
    def test_bokeh_loss_reaches_the_first_convolution(self, frozen_bn, sure):
        model = build(sure=sure, min_size=32, trainable_layers=5, frozen_bn=frozen_bn).train()
        photos = make_photo(48, 64, batch=2)
        disparity = torch.linspace(0, 1, 48)[:, None].expand(2, 1, 48, 64)
        pipeline = BokehPipeline(mask_model=model, depth_model=None)
        bokeh = pipeline(photos, disparity, focus=0.8, strength=6.0).bokeh
        (bokeh - photos).square().mean().backward()
        for name, parameter in model.named_parameters():
            # Boxes are constants: what only makes boxes is not trained. Pyramid levels on which no box lies wait.
            assert parameter.requires_grad != ("rpn" in name or "bbox_pred" in name)
            assert (parameter.grad is not None) == parameter.requires_grad or "layer_blocks" in name
        body = [parameter for name, parameter in model.backbone.body.named_parameters() if "conv1" in name]
        heads = [model.roi_heads.box_predictor.cls_score, model.roi_heads.mask_predictor.conv5_mask]
        assert model.backbone.body.conv1.weight is body[0]
        for parameter in [*body, *(head.weight for head in heads)]:
            assert parameter.grad.isfinite().all()
            assert parameter.grad.any()

    @pytest.mark.parametrize("options", [{"box": (20, 10, 30, 30)}, {"point": (30, 20)}])
    @pytest.mark.parametrize("choice", ["largest", "central"])
    def test_every_choice_passes_a_gradient(self, choice, options):
        model = build(sure=False, choice=choice, min_size=32).train()
        for chosen in ({}, options):
            model.zero_grad()
            photo = make_photo(48, 64).requires_grad_()
            model(photo, **chosen).mean().backward()
            assert model.backbone.body.conv1.weight.grad.any()
            assert photo.grad.any()

    def test_frozen_layers_stay(self):
        model = build(trainable_layers=3).train()
        model(make_photo(48, 64)).mean().backward()
        assert model.backbone.body.conv1.weight.grad is None
        assert model.backbone.body.layer2[0].conv1.weight.grad.any()

    def test_learns_from_fresh_weights(self):
        model, photo = build(sure=False, frozen_bn=False, min_size=32).train(), make_photo(48, 64)
        target = torch.zeros(1, 1, 48, 64)
        target[..., 10:40, 15:45] = 1
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        losses = []
        for _ in range(6):
            loss = (model(photo) - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.7 * losses[0]


OLD = {
    **{f"backbone.fpn.inner_blocks.{i}.0": f"backbone.fpn.inner_blocks.{i}" for i in range(4)},
    **{f"backbone.fpn.layer_blocks.{i}.0": f"backbone.fpn.layer_blocks.{i}" for i in range(4)},
    **{f"roi_heads.mask_head.{i}.0": f"roi_heads.mask_head.mask_fcn{i + 1}" for i in range(4)},
    "rpn.head.conv.0.0": "rpn.head.conv",
}


class TestCheckpoints:
    @pytest.mark.parametrize("old", [False, True])
    @pytest.mark.parametrize("frozen_bn", [False, True])
    @torch.no_grad()
    def test_loads_old_and_new_names(self, tmp_path, old, frozen_bn):
        model = build()
        state = model.state_dict()
        if old:
            names = {key: key.rpartition(".") for key in state}
            state = {f"{OLD.get(stem, stem)}.{leaf}": state[key] for key, (stem, _, leaf) in names.items()}
            assert sum(key not in model.state_dict() for key in state) == 2 * len(OLD)
        state["backbone.body.bn1.num_batches_tracked"] = torch.tensor(5)
        torch.save({"model": state}, tmp_path / "weights.pth")
        loaded = create_mask_model(
            "mask_rcnn_resnet50_fpn", pretrained=tmp_path / "weights.pth", frozen_bn=frozen_bn, **NARROW
        )
        torch.testing.assert_close(loaded.eval()(make_photo()), model(make_photo()), atol=1e-3, rtol=0)

    def test_names_the_keys_that_do_not_fit(self, tmp_path):
        state = build().state_dict()
        state["classifier.bias"] = state.pop("roi_heads.mask_head.2.0.bias")
        torch.save(state, tmp_path / "other.pth")
        with pytest.raises(CheckpointError, match=r"missing: roi_heads.mask_head.2.0.bias; unknown: classifier.bias"):
            create_mask_model("mask_rcnn_resnet50_fpn", pretrained=tmp_path / "other.pth", **NARROW)
