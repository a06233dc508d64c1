import pytest
import torch
from dense import dense_scatter, relative_error

from depthbokeh import BlendRenderer
from depthbokeh.color import linear_to_srgb, srgb_to_linear


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def dense_blend(image, weights, radii, aperture):
    pictures = [image]
    for radius in radii:
        radii_map = torch.full_like(image[:1, :1], radius)
        reached = dense_scatter(torch.ones_like(radii_map), radii_map, aperture)
        pictures.append(dense_scatter(image, radii_map, aperture) / reached)
    return sum(weights[:, k : k + 1] * picture for k, picture in enumerate(pictures)) / weights.sum(1, keepdim=True)


@pytest.mark.parametrize(("aperture", "tolerance"), [("disk", 1e-6), ("polygon:6", 1e-4), ("gaussian", 3e-3)])
def test_result_is_the_weighted_mean_of_the_blurs(aperture, tolerance):
    image, weights = rand(2, 3, 12, 14), rand(2, 3, 12, 14, seed=1)
    rendered = BlendRenderer((1.5, 4.0), aperture, gamma="linear")(image, weights)
    assert relative_error(rendered, dense_blend(image, weights, (1.5, 4.0), aperture)) < tolerance


def test_srgb_is_mixed_in_linear_light():
    image, weights = rand(1, 3, 8, 9), rand(1, 2, 8, 9, seed=1)
    expected = BlendRenderer((3.0,), gamma="linear")(srgb_to_linear(image), weights)
    torch.testing.assert_close(BlendRenderer((3.0,))(image, weights), linear_to_srgb(expected))


def test_scale_of_weights_is_of_no_account():
    image, weights = rand(1, 3, 8, 9), rand(1, 4, 8, 9, seed=1)
    renderer = BlendRenderer()
    torch.testing.assert_close(renderer(image, 7 * weights), renderer(image, weights))


def test_even_picture_stays_even_up_to_the_border():
    image, weights = torch.full((1, 3, 8, 9), 0.3), rand(1, 4, 8, 9, dtype=torch.float32)
    torch.testing.assert_close(BlendRenderer()(image, weights), image)


def test_weights_interpolate_between_neighbouring_radii():
    defocus = torch.tensor([0.0, 1.0, -2.0, 3.0, -6.0, 50.0], dtype=torch.float64).view(1, 1, 1, 6)
    expected = [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.75, 0.25], [0, 0, 1], [0, 0, 1]]
    assert BlendRenderer((2.0, 6.0)).weigh(defocus)[0, :, 0].T.tolist() == expected


def test_gradients_reach_image_weights_and_defocus():
    renderer = BlendRenderer((1.5, 3.0), "disk")
    image, weights = (0.1 + 0.8 * rand(1, 3, 5, 6)).requires_grad_(), (0.1 + rand(1, 3, 5, 6, seed=1)).requires_grad_()
    assert torch.autograd.gradcheck(renderer, (image, weights))
    # Away from the knots, where the interpolation has no slope of its own.
    defocus = (0.2 + rand(1, 1, 5, 6, seed=2)).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: renderer(image.detach(), renderer.weigh(d)), (defocus,))


@pytest.mark.parametrize(
    "radii", [(), (0.0, 1.0), (-1.0,), (2.0, 2.0), (3.0, 1.0), (1.0, float("inf")), (float("nan"),)]
)
def test_radii_that_do_not_rise_are_refused(radii):
    with pytest.raises(ValueError, match="radii must be finite, above 0 and rising, got"):
        BlendRenderer(radii)


@pytest.mark.parametrize(
    ("image", "weights", "message"),
    [
        (torch.zeros(3, 4, 5), torch.ones(1, 2, 4, 5), r"image must be \(B, 3, H, W\), got \(3, 4, 5\)"),
        (torch.zeros(1, 3, 4, 5), torch.ones(1, 3, 4, 5), r"weights must be \(1, 2, 4, 5\), got \(1, 3, 4, 5\)"),
        (torch.zeros(1, 3, 4, 5), torch.zeros(1, 2, 4, 5), "weights must be 0 or more with a positive sum, got .*sum"),
        (torch.zeros(1, 3, 4, 5), torch.tensor([2.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 4, 5), "got down to -1"),
    ],
)
def test_bad_input_is_named(image, weights, message):
    with pytest.raises(ValueError, match=message):
        BlendRenderer((2.0,))(image, weights)


def test_defocus_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"defocus must be \(B, 1, H, W\), got \(1, 2, 4, 5\)"):
        BlendRenderer().weigh(torch.zeros(1, 2, 4, 5))


def test_settings_are_printed():
    assert repr(BlendRenderer((2.0, 4.0), "disk")) == "BlendRenderer((2.0, 4.0), 'disk', gamma='srgb')"
