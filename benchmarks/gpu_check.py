"""Holds the CUDA kernels against the reference without pytest: ``python benchmarks/gpu_check.py [--small]``.

What the sanitizers run, and the whole check where there is no pytest. Ends with status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from graphs import capture
from scene import FOCUS, make_scene
from torch import Tensor

from depthbokeh import color as color_of
from depthbokeh import composite, compositing, enlarging, fuse_layers, gather_blur, layers, ops, pyramid, scatter_blur
from depthbokeh.edges import find_surfaces, move_to_sides

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from kinks import find_kinks

OPERATORS: dict[str, Callable[..., Tensor]] = {"scatter": scatter_blur, "gather": gather_blur}
FEW_APERTURES = ("disk", "ring:0.5", "polygon:5:10:0.3", "gaussian")  # that go through all kernels
APERTURES = (*FEW_APERTURES, "ellipse:0.6:30", "cat_eye:0.4", "polygon:6")
# Relative errors allowed to values, image gradient, radius gradient, and the last without kinks: where an end passes
# from pixel to pixel the slope jumps, and in float rounding decides on the side. At large radii a few ends that are
# not counted as kinks jump, too.
TOLERANCES = {torch.float64: (1e-9, 1e-9, 1e-9, 1e-9), torch.float32: (1e-5, 1e-5, 1e-2, 1e-3)}
MOST_KINKS = 0.05  # of all pixels, and two more


def differentiate(
    run: Callable[..., Tensor], image: Tensor, radius: Tensor, grad: Tensor, aperture: str
) -> list[Tensor]:
    """The result and its gradients to image and radius."""
    image, radius = image.clone().requires_grad_(), radius.clone().requires_grad_()
    blurred = run(image, radius, aperture)
    return [blurred.detach(), *torch.autograd.grad(blurred, (image, radius), grad)]


def make_inputs(shape: tuple[int, ...], most: float) -> tuple[Tensor, Tensor, Tensor]:
    """An image, radii up to ``most`` and a gradient of the result, float64."""
    random = torch.Generator().manual_seed(0)
    image, grad = torch.rand(2, *shape, dtype=torch.float64, generator=random)
    radius = most * torch.rand(shape[0], 1, *shape[2:], dtype=torch.float64, generator=random)
    return image, radius, grad - 0.5


def check_against_reference(
    shape: tuple[int, ...], most: float, apertures: tuple[str, ...], device: torch.device
) -> int:
    """Prints a line for every case and returns how many differ from the reference, which runs on ``device``."""
    failures = 0
    inputs = [values.to(device) for values in make_inputs(shape, most)]
    for aperture in apertures:
        kinks = find_kinks(inputs[1], aperture)
        few = int(kinks.sum()) <= 2 + MOST_KINKS * kinks.numel()
        for name, operator in OPERATORS.items():
            expected = differentiate(lambda *args, run=operator: run(*args, backend="reference"), *inputs, aperture)
            for dtype, allowed in TOLERANCES.items():
                rounded = [t.to("cuda", dtype) for t in inputs]
                found = differentiate(lambda *args, run=operator: run(*args, backend="native"), *rounded, aperture)
                again = differentiate(lambda *args, run=operator: run(*args, backend="native"), *rounded, aperture)
                same = all(torch.equal(one, two) for one, two in zip(found, again, strict=True))
                found = [values.to(device) for values in found]
                errors = measure_errors([*found, found[2] * ~kinks], [*expected, expected[2] * ~kinks])
                good = same and few and all(error <= most for error, most in zip(errors, allowed, strict=True))
                figures = " ".join(f"{error:.1e}" for error in errors)
                failures += report(good, tuple(shape), aperture, name, str(dtype)[6:], figures, same)
    return failures


def report(good: bool, *what: object) -> int:
    """Prints a line and returns how many checks failed."""
    print("ok  " if good else "FAIL", *what, flush=True)
    return int(not good)


def check_layers() -> int:
    """The layered renderer on the GPU against the CPU's kernels, float64: the picture, and its gradient to colours."""
    found = []
    for device in ("cuda", "cpu"):
        image, disparity, mask = (values.double().to(device) for values in make_scene(96, 128))
        image.requires_grad_()
        surfaces = fuse_layers(disparity, mask, focus=FOCUS, strength=20.0, image=image, layers=None)
        picture = composite(image, surfaces, slices=6)
        found.append([picture.detach().cpu(), torch.autograd.grad(picture.square().sum(), image)[0].cpu()])
    errors = [float((one - other).norm() / other.norm()) for one, other in zip(*found, strict=True)]
    return report(max(errors) <= 1e-7, "layers", " ".join(f"{error:.1e}" for error in errors))


def check_operators(device: torch.device) -> int:
    """What surrounds the blur against its definitions, values and gradients, float64."""
    random, failures = torch.Generator().manual_seed(0), 0

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, dtype=torch.float64, generator=random)

    light, disparity, mask = (values.double().repeat(2, 1, 1, 1) for values in make_scene(97, 101))
    strength = torch.tensor([4.0, 20.0], dtype=torch.float64).view(2, 1, 1, 1)
    disparity = disparity + 0.01 * draw(*disparity.shape)
    for reach in (1, 2, 5):
        kernel, definition = (
            lambda at, strength, run=run, reach=reach: run(at, strength, light.to(at), reach)
            for run in (ops.sharpen, move_to_sides)
        )
        failures += compare(f"sharpen {reach}", kernel, definition, [disparity, strength], device)
    failures += compare("separate", ops.separate, find_surfaces, [light, disparity, strength, mask], device)
    maps, surfaces = [draw(2, 1, 97, 101) for _ in range(4)], [draw(2, 2, c, 97, 101) for c in (1, 3, 1)]
    numbers = [draw(2, 1, 1, 1) for _ in range(3)]
    means = torch.cat([maps[2] + 0.3, maps[2]])
    failures += compare(
        "weigh sides", ops.weigh_sides, layers.weigh_sides, [*maps[:2], means, *maps[3:], numbers[0]], device
    )
    failures += compare(
        "lay surfaces", ops.lay_surfaces, layers.lay_surfaces, [*maps, surfaces[0], surfaces[2], *numbers], device
    )
    failures += compare("farthest", ops.find_farthest, compositing.find_farthest, surfaces, device)
    color, alpha, defocus = 4 * surfaces[1], surfaces[0], surfaces[2]
    failures += compare("dim lights", ops.dim_lights, compositing.dim_lights, [color[:, 0], numbers[0]], device)
    failures += compare(
        "extend",
        lambda *leaves: ops.extend_layers(*leaves, 20),
        lambda *leaves: compositing.extend_planes(*leaves, 20),
        [color, alpha, defocus, numbers[0]],
        device,
    )
    failures += compare(
        "enlarge",
        lambda squares: ops.enlarge(squares, 4, 387, 401),
        lambda squares: enlarging.enlarge(squares, 4, 387, 401),
        [maps[0]],
        device,
    )
    for name in ("srgb_to_linear", "linear_to_srgb"):  # the functions choose a kernel by the device
        curve = getattr(color_of, name)
        failures += compare(name, curve, lambda x, run=curve: run(x.cpu()).to(x), [3 * maps[0] - 1], device)
    for size in ((1, 1), (13, 37), (97, 101)):  # in the largest several blocks run
        holes = [draw(2, 3, *size), draw(2, 1, *size)]
        failures += compare(f"fill {size}", ops.push_pull, pyramid.push_pull, holes, device)
        surfaces = [draw(2, 3, *size), 6 * draw(2, 1, *size)]
        kernel, definition = partial(ops.fill_behind, reach=40), partial(pyramid.fill_behind, reach=40)
        failures += compare(f"behind {size}", kernel, definition, surfaces, device)
    return failures


def compare(
    name: str,
    kernel: Callable[..., Tensor | tuple[Tensor, ...]],
    definition: Callable[..., Tensor | tuple[Tensor, ...]],
    inputs: Sequence[Tensor],
    device: torch.device,
) -> int:
    """Prints a line with the errors of result and gradients, and returns how many checks failed."""
    results = []
    for run, place in ((kernel, torch.device("cuda")), (definition, device)):
        leaves = [values.to(place).requires_grad_() for values in inputs]
        found = run(*leaves)
        result = found if isinstance(found, Tensor) else torch.cat([part.flatten() for part in found])
        results.append([result.detach(), *torch.autograd.grad(result.square().sum(), leaves)])
    errors = measure_errors([values.to(device) for values in results[0]], results[1])
    return report(max(errors) <= 1e-9, name, " ".join(f"{error:.1e}" for error in errors))


def measure_errors(found: Sequence[Tensor], expected: Sequence[Tensor]) -> list[float]:
    """Relative, but absolute where there is next to nothing, as in the hole of a ring."""
    return [
        float((one.double() - two).norm() / two.norm().clamp(min=1e-6))
        for one, two in zip(found, expected, strict=True)
    ]


def check_graph() -> int:
    """A captured call, replayed with other inputs, against the same call made directly."""
    image, radius, _ = (t.float().cuda() for t in make_inputs((1, 4, 65, 67), 9.0))
    failures = 0
    for aperture in ("disk", "polygon:5:10:0.3", "gaussian"):
        given = image.clone()
        replay = capture(partial(scatter_blur, given, radius, aperture, backend="native"))
        given.copy_(image.flip(3))
        good = torch.equal(replay(), scatter_blur(image.flip(3), radius, aperture, backend="native"))
        failures += report(good, "graph", aperture)
    return failures


def main() -> int:
    """Runs all checks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="few and small pictures, for the sanitizers")
    small = parser.parse_args().small
    shapes = [((1, 1, 1, 1), 3.0), ((1, 4, 1, 37), 40.0), ((2, 5, 37, 71), 9.0)]
    if not small:
        shapes += [((1, 3, 140, 150), 20.0), ((1, 4, 257, 509), 64.0)]
    # What is compared with runs where no sanitizer slows it down.
    device, apertures = (torch.device("cpu"), FEW_APERTURES) if small else (torch.device("cuda"), APERTURES)
    failures = sum(check_against_reference(shape, most, apertures, device) for shape, most in shapes)
    failures += check_operators(device) + check_layers()
    # Without torch's cache of memory, which hides accesses beyond it from the sanitizers, nothing can be captured.
    failures += 0 if small else check_graph()
    print(f"{failures} failures")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
