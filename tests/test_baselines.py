"""The benchmarks' baselines against their formulas, pixel by pixel."""

import math

import baselines
import pytest
import torch
from dense import dense_gather, dense_kernel, dense_scatter, relative_error
from torch import Tensor

from depthbokeh.color import linear_to_srgb, srgb_to_linear

HEIGHT, WIDTH = 12, 14


@pytest.fixture
def picture() -> Tensor:
    return torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def defocus() -> Tensor:
    """From behind to in front of the focus plane, with steps."""
    noise = torch.rand(1, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2))
    return torch.linspace(-4, 3, WIDTH).expand(1, 1, HEIGHT, WIDTH) * noise


def pixels():
    return [(y, x) for y in range(HEIGHT) for x in range(WIDTH)]


def taps(weigh) -> Tensor:
    """The matrix of ``weigh(target, source, distance)`` over all pairs of pixels."""
    places = pixels()
    return torch.tensor([[weigh(p, q, math.dist(p, q)) for q in places] for p in places], dtype=torch.float64)


def apply(matrix: Tensor, image: Tensor) -> Tensor:
    return (image.double().flatten(2) @ matrix.mT).view(*image.shape)


def soft_disk(radius: int) -> dict[tuple[int, int], float]:
    if radius == 0:
        return {(0, 0): 1.0}
    reach = range(-radius, radius + 1)
    raw = {(y, x): 0.5 + 0.5 * math.tanh((radius**2 - y * y - x * x) / 4 + 0.5) for y in reach for x in reach}
    return {tap: weight / sum(raw.values()) for tap, weight in raw.items()}


def blur_by_soft_disk(image: Tensor, radius: int) -> Tensor:
    """Every pixel of (C, H, W) averages over the soft disk; beyond the frame the border goes on."""
    result = torch.zeros_like(image)
    for y, x in pixels():
        for (dy, dx), weight in soft_disk(radius).items():
            v, u = min(max(y + dy, 0), HEIGHT - 1), min(max(x + dx, 0), WIDTH - 1)
            result[:, y, x] += weight * image[:, v, u]
    return result


def lay_over_each_other(layers: list[tuple[Tensor, int]], picture: Tensor) -> Tensor:
    """Weights (H, W) and radii, the hindmost first."""
    covered = torch.cat([picture[0].double(), torch.ones(1, HEIGHT, WIDTH, dtype=torch.float64)])
    result = torch.zeros_like(covered)
    for weight, radius in layers:
        blurred = blur_by_soft_disk(covered * weight, radius)
        result = result * (1 - blurred[3]) + blurred
    return (result[:3] / result[3])[None]


def test_unchanged_is_the_input(picture, defocus):
    assert torch.equal(baselines.unchanged(picture, defocus), picture)


@pytest.mark.parametrize("tile", [5, 64])
def test_bokehme_is_its_formula(picture, defocus, tile, monkeypatch):
    monkeypatch.setattr(baselines, "_TILE", tile)
    radius = defocus[0, 0].abs().tolist()

    def weigh(target, source, distance):
        r = radius[source[0]][source[1]]
        if max(abs(target[0] - source[0]), abs(target[1] - source[1])) > math.floor(r) + 1:
            return 0.0
        return (0.5 + 0.5 * math.tanh(4 * (r - distance))) / (r * r + 0.2)

    matrix = taps(weigh)
    expected = apply(matrix / matrix.sum(1, keepdim=True), picture)
    assert relative_error(baselines.bokehme(picture, defocus), expected) < 2e-6


def test_bokehme_takes_every_picture_of_a_batch_by_itself(picture, defocus):
    both = baselines.bokehme(torch.cat([picture, picture.flip(3)]), torch.cat([defocus, 0.5 * defocus]))
    torch.testing.assert_close(both[1:], baselines.bokehme(picture.flip(3), 0.5 * defocus))


def test_gather_averages_over_the_target_disk(picture, defocus):
    radius = defocus.abs().double()
    expected = dense_gather(picture.double(), radius, "disk") / dense_gather(torch.ones_like(radius), radius, "disk")
    assert relative_error(baselines.gather_linear(picture, defocus), expected) < 1e-5


def test_gather_in_gamma_averages_display_values(picture, defocus):
    display, radius = linear_to_srgb(picture.double()), defocus.abs().double()
    mean = dense_gather(display, radius, "disk") / dense_gather(torch.ones_like(radius), radius, "disk")
    assert relative_error(baselines.gather_gamma(picture, defocus), srgb_to_linear(mean)) < 1e-5


def test_scatter_spreads_over_the_source_disk(picture, defocus):
    radius = defocus.abs().double()
    expected = dense_scatter(picture.double(), radius, "disk") / dense_scatter(torch.ones_like(radius), radius, "disk")
    assert relative_error(baselines.scatter(picture, defocus), expected) < 1e-5


@pytest.mark.parametrize("by_fft", [True, False])
def test_planes_are_blurred_by_whole_radii_and_laid_over(picture, defocus, by_fft):
    count, far, near = 6, float(defocus.min()), float(defocus.max())
    step, layers = (near - far) / count, []
    for index in range(count):
        low, high = far + index * step, far + (index + 1) * step
        inside = (defocus[0, 0] >= low) & ((defocus[0, 0] < high) | (index == count - 1))
        layers.append((inside.double(), round(abs(low + step / 2))))
    assert sum(weight for weight, _ in layers).eq(1).all()  # every pixel belongs to one plane
    expected = lay_over_each_other(layers, picture)
    assert relative_error(baselines.planes(picture, defocus, count, by_fft=by_fft), expected) < 1e-5


def test_soft_layers_begin_with_the_most_blurred(picture, defocus):
    count, steepness, largest = 5, 9.0, float(defocus.abs().max())
    layers = []
    for index in reversed(range(count)):
        center = index / (count - 1)
        away = (defocus[0, 0].abs().double() / largest - center).abs()
        layers.append((0.5 + 0.5 * torch.tanh(steepness * (1 / (count - 1) - away)), round(center * largest)))
    expected = lay_over_each_other(layers, picture)
    assert relative_error(baselines.soft_layers(picture, defocus, count, steepness), expected) < 1e-5


def blur_display(picture: Tensor, radius: float) -> Tensor:
    """Gaussian of two standard deviations' radius over display values, within the frame."""
    kernel = dense_kernel("gaussian", radius, HEIGHT + WIDTH)
    middle = HEIGHT + WIDTH
    matrix = taps(lambda p, q, _: float(kernel[middle + p[0] - q[0], middle + p[1] - q[1]]))
    return apply(matrix / matrix.sum(1, keepdim=True), linear_to_srgb(picture.double()))


def test_blend_mixes_the_two_nearest_gaussians(picture, defocus):
    largest = float(defocus.abs().max())
    knots = [0.0, largest / 2, largest]
    blurs = [linear_to_srgb(picture.double()), *(blur_display(picture, radius) for radius in knots[1:])]
    expected = torch.zeros_like(blurs[0])
    for y, x in pixels():
        radius = abs(float(defocus[0, 0, y, x]))
        low = 0 if radius < knots[1] else 1
        share = (radius - knots[low]) / (largest / 2)
        expected[0, :, y, x] = (1 - share) * blurs[low][0, :, y, x] + share * blurs[low + 1][0, :, y, x]
    actual = linear_to_srgb(baselines.blend(picture, defocus, 2))
    assert relative_error(actual, expected) < 3e-3  # the library's Gaussian is that near to its definition


def test_blend_leaves_a_picture_in_focus_alone(picture, defocus):
    torch.testing.assert_close(baselines.blend(picture, torch.zeros_like(defocus)), picture)


def test_mask_gaussian_blurs_the_background_by_its_mean_radius(picture, defocus):
    mask = torch.zeros_like(defocus)
    mask[..., 3:8, 4:9] = 1
    mask[..., 3, 4] = 0.5
    outside = (1 - mask).double()
    radius = float((defocus.abs() * outside).sum() / outside.sum())
    assert radius > 0.9  # blurred at all
    expected = mask * linear_to_srgb(picture.double()) + outside * blur_display(picture, radius)
    actual = baselines.mask_gaussian(picture, defocus, mask)
    assert relative_error(linear_to_srgb(actual), expected) < 3e-3
    assert torch.allclose(actual[..., 4:8, 5:9], picture[..., 4:8, 5:9], atol=1e-6)
