"""Holds the CUDA kernels against the reference without pytest: ``python benchmarks/gpu_check.py [--small]``.

What the sanitizers run, and the whole check where there is no pytest. Ends with status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import torch
from scene import FOCUS, make_scene
from torch import Tensor

from depthbokeh import composite, fuse_layers, gather_blur, ops, pyramid, scatter_blur
from depthbokeh.edges import find_sides, unmix

OPERATORS: dict[str, Callable[..., Tensor]] = {"scatter": scatter_blur, "gather": gather_blur}
APERTURES = ("disk", "ring:0.5", "ellipse:0.6:30", "cat_eye:0.4", "polygon:6", "polygon:5:10:0.3", "gaussian")
# Relative errors allowed to values, image gradient and radius gradient. Where an end passes from pixel to pixel the
# slope jumps, and in float rounding decides on the side.
TOLERANCES = {torch.float64: (1e-9, 1e-9, 1e-9), torch.float32: (1e-5, 1e-5, 3e-3)}


def differentiate(
    run: Callable[..., Tensor], image: Tensor, radius: Tensor, grad: Tensor, aperture: str
) -> list[Tensor]:
    """The result and its gradients to image and radius."""
    image, radius = image.clone().requires_grad_(), radius.clone().requires_grad_()
    blurred = run(image, radius, aperture)
    return [blurred.detach(), *torch.autograd.grad(blurred, (image, radius), grad)]


def make_inputs(shape: tuple[int, ...], most: float, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """An image, radii up to ``most`` and a gradient of the result, float64."""
    random = torch.Generator().manual_seed(0)
    image, grad = torch.rand(2, *shape, dtype=torch.float64, generator=random).to(device)
    radius = most * torch.rand(shape[0], 1, *shape[2:], dtype=torch.float64, generator=random)
    return image, radius.to(device), grad - 0.5


def check_against_reference(shape: tuple[int, ...], most: float, apertures: tuple[str, ...]) -> int:
    """Prints a line for every case and returns how many differ."""
    failures = 0
    inputs = make_inputs(shape, most, "cuda")
    for aperture in apertures:
        for name, operator in OPERATORS.items():
            expected = differentiate(lambda *args, run=operator: run(*args, backend="reference"), *inputs, aperture)
            for dtype, allowed in TOLERANCES.items():
                rounded = [t.to(dtype) for t in inputs]
                found = differentiate(lambda *args, run=operator: run(*args, backend="native"), *rounded, aperture)
                again = differentiate(lambda *args, run=operator: run(*args, backend="native"), *rounded, aperture)
                # Nothing at all arrives in the hole of a ring: errors are absolute there.
                errors = [
                    float((one.double() - two).norm() / two.norm().clamp(min=1e-6))
                    for one, two in zip(found, expected, strict=True)
                ]
                same = all(torch.equal(one, two) for one, two in zip(found, again, strict=True))
                good = same and all(error <= most for error, most in zip(errors, allowed, strict=True))
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
        layers = fuse_layers(disparity, mask, focus=FOCUS, strength=20.0, image=image, layers=None)
        picture = composite(image, layers, slices=6)
        found.append([picture.detach().cpu(), torch.autograd.grad(picture.square().sum(), image)[0].cpu()])
    errors = [float((one - other).norm() / other.norm()) for one, other in zip(*found, strict=True)]
    return report(max(errors) <= 1e-7, "layers", " ".join(f"{error:.1e}" for error in errors))


def check_sides() -> int:
    """The means on both sides of edges against their definition, values and gradients, float64."""
    random = torch.Generator().manual_seed(0)
    leaves = [torch.rand(2, n, 33, 47, dtype=torch.float64, generator=random).cuda() for n in (3, 1, 1, 1)]
    at = torch.arange(0, leaves[1].numel(), 3, device="cuda")
    sides = [(add + 0.4 * torch.rand(len(at), dtype=torch.float64, generator=random)).cuda() for add in (0.0, 0.6)]
    floating = [values.requires_grad_() for values in (*leaves, *sides)]
    results = []
    for run in (ops.side_means, find_sides):
        means = run(*leaves, at, *sides)
        results.append([means.detach(), *torch.autograd.grad(means.square().sum(), floating)])
    errors = [float((one - other).norm() / other.norm()) for one, other in zip(*results, strict=True)]
    return report(max(errors) <= 1e-9, "edges", " ".join(f"{error:.1e}" for error in errors))


def check_unmix() -> int:
    """Mixed pixels taken apart against the definition, values and gradients, float64."""
    random = torch.Generator().manual_seed(0)
    sides = 1.3 * torch.rand(1000, 3, 5, dtype=torch.float64, generator=random).cuda()
    low, high, weight = (torch.rand(3, 1000, dtype=torch.float64, generator=random)).cuda().unbind()
    leaves = [values.requires_grad_() for values in (sides, 0.4 * low, 0.5 + high, weight.clone())]
    failures = 0
    for masked in (True, False):
        results = []
        for run in (ops.unmix, unmix):
            surfaces = run(*leaves, masked=masked)
            results.append([surfaces.detach(), *torch.autograd.grad(surfaces.square().sum(), leaves)])
        errors = [float((one - other).norm() / other.norm()) for one, other in zip(*results, strict=True)]
        failures += report(max(errors) <= 1e-9, "unmix", masked, " ".join(f"{error:.1e}" for error in errors))
    return failures


def check_fill() -> int:
    """Filled values and their gradients against the definition, float64; in the larger picture several blocks run."""
    random, failures = torch.Generator().manual_seed(0), 0
    for size in ((1, 1), (13, 37), (97, 101)):
        values, grad = (torch.rand(2, 3, *size, dtype=torch.float64, generator=random).cuda() for _ in range(2))
        weight = torch.rand(2, 1, *size, dtype=torch.float64, generator=random).cuda()
        leaves = [values.requires_grad_(), weight.requires_grad_()]
        results = []
        for run in (ops.push_pull, pyramid.push_pull):
            filled = run(*leaves)
            results.append([filled.detach(), *torch.autograd.grad(filled, leaves, grad)])
        errors = [
            float((one - other).norm() / other.norm().clamp(min=1e-6)) for one, other in zip(*results, strict=True)
        ]
        failures += report(max(errors) <= 1e-9, "fill", size, " ".join(f"{error:.1e}" for error in errors))
    return failures


def check_behind() -> int:
    """Surfaces carried on beneath what is nearer and their gradients against the definition, float64."""
    random, failures = torch.Generator().manual_seed(0), 0
    for size in ((1, 1), (13, 37), (97, 101)):
        values = torch.rand(2, 3, *size, dtype=torch.float64, generator=random).cuda()
        defocus = 6 * torch.rand(2, 1, *size, dtype=torch.float64, generator=random).cuda()
        grad = torch.rand(2, 4, *size, dtype=torch.float64, generator=random).cuda()
        leaves = [values.requires_grad_(), defocus.requires_grad_()]
        results = []
        for run in (ops.fill_behind, pyramid.fill_behind):
            filled = run(*leaves, 40)
            results.append([filled.detach(), *torch.autograd.grad(filled, leaves, grad)])
        errors = [
            float((one - other).norm() / other.norm().clamp(min=1e-6)) for one, other in zip(*results, strict=True)
        ]
        failures += report(max(errors) <= 1e-9, "behind", size, " ".join(f"{error:.1e}" for error in errors))
    return failures


def check_graph() -> int:
    """A captured call, replayed with other inputs, against the same call made directly."""
    image, radius, _ = (t.float() for t in make_inputs((1, 4, 65, 67), 9.0, "cuda"))
    failures = 0
    for aperture in ("disk", "polygon:5:10:0.3", "gaussian"):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # warmed up off the stream that captures, as torch asks for
            scatter_blur(image, radius, aperture, backend="native")
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        given = image.clone()
        with torch.cuda.graph(graph):
            blurred = scatter_blur(given, radius, aperture, backend="native")
        given.copy_(image.flip(3))
        graph.replay()
        good = torch.equal(blurred, scatter_blur(image.flip(3), radius, aperture, backend="native"))
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
    failures = sum(check_against_reference(shape, most, APERTURES) for shape, most in shapes)
    failures += check_graph() + check_sides() + check_unmix() + check_fill() + check_behind() + check_layers()
    print(f"{failures} failures")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
