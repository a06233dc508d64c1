"""What all benchmarks share: the O(r^2) yardstick, the pictures that are blurred and the machine's data."""

from __future__ import annotations

import ctypes
import datetime
import hashlib
import math
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import depthbokeh
from depthbokeh import ops

_SOURCE = Path(__file__).with_name("tap_loop.cpp")
_FLAGS = ["-std=c++17", "-O3", "-march=native", "-ffast-math", "-fopenmp", "-fPIC"]

#: The same source, once with one pixel per instruction and once with the widest vectors of the processor.
YARDSTICKS = {"tap_scalar": ["-fno-tree-vectorize"], "tap_simd": ["-DTAP_LOOP_SIMD"]}


class TapLoopUnavailable(RuntimeError):
    """There is no compiler, or it cannot build the yardstick."""


class TapLoop:
    """The tap loop in C++, compiled on first use and kept in the user's cache folder.

    Args:
        variant: A key of ``YARDSTICKS``.

    Raises:
        TapLoopUnavailable: If it cannot be compiled or loaded.
    """

    def __init__(self, variant: str) -> None:
        try:
            library = ctypes.CDLL(str(_compile(variant)))
        except OSError as error:
            raise TapLoopUnavailable(f"the compiled tap loop does not load: {error}") from None
        self._run = library.tap_loop
        self._run.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 3 + [ctypes.c_int]
        self._run.restype = None
        self(torch.rand(1, 4, 64, 64), torch.ones(1, 1, 64, 64))  # starts its threads

    def __call__(self, image: Tensor, radius: Tensor) -> Tensor:
        """Scatters ``image`` (B, C, H, W) by ``radius`` (B, 1, H, W), both float32 on the CPU, on torch's threads."""
        batch, channels, height, width = image.shape
        if image.dtype != torch.float32 or radius.dtype != torch.float32:
            raise ValueError("the tap loop is written for float32")
        if tuple(radius.shape) != (batch, 1, height, width):
            raise ValueError(f"radius must be {(batch, 1, height, width)}, got {tuple(radius.shape)}")
        image, radius = image.contiguous(), radius.contiguous()
        out = torch.empty_like(image)
        for x, r, y in zip(image, radius, out, strict=True):
            pointers = (x.data_ptr(), r.data_ptr(), y.data_ptr())
            self._run(*pointers, channels, height, width, torch.get_num_threads())
        return out


def load_yardsticks() -> dict[str, TapLoop]:
    """All variants of the tap loop by name."""
    return {name: TapLoop(name) for name in YARDSTICKS}


def make_inputs(
    height: int,
    width: int,
    radius: float,
    radius_map: str = "noise",
    *,
    channels: int = 4,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """An image of noise and a map of radii from 0 to ``radius``, the same in every run.

    Args:
        height: Of the image.
        width: Of the image.
        radius: The largest one, in pixels.
        radius_map: ``"noise"``, the worst case: every pixel has a radius of its own, uniformly distributed; or
            ``"smooth"``: the radius rises and falls over the picture as a photo's defocus does.
        channels: Of the image.
        dtype: Of the image. The map is float32, or float64 for an image of that type.

    Returns:
        Image ``(1, C, H, W)`` and radius ``(1, 1, H, W)``.
    """
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, channels, height, width, generator=generator).to(dtype)
    if radius_map == "noise":
        share = torch.rand(1, 1, height, width, generator=generator)
    elif radius_map == "smooth":
        y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)
        share = (0.5 + 0.5 * torch.cos(math.pi * y) * torch.sin(2 * math.pi * x + 1))[None, None]
    else:
        raise ValueError(f"radius_map must be 'noise' or 'smooth', got {radius_map!r}")
    return image, (radius * share).to(torch.promote_types(dtype, torch.float32))


def describe_machine() -> dict[str, Any]:
    """What a time depends on beside the code: processor, threads, versions, the library's fingerprint, the commit."""
    native = ops.load_operators()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": _name_processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "yardstick_compiler": _ask([_find_compiler() or "", "--version"]).partition("\n")[0] or None,
        "yardstick_flags": {name: " ".join(_FLAGS + flags) for name, flags in YARDSTICKS.items()},
        "depthbokeh": depthbokeh.__version__,
        "library": ops.build_info() if native else None,
        "commit": _ask(["git", "rev-parse", "HEAD"]) or None,
        "uncommitted_changes": bool(_ask(["git", "status", "--porcelain"])),
    }


def _name_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _ask(command: list[str]) -> str:
    """The output of a command run in this folder, or nothing where it fails."""
    try:
        run = subprocess.run(command, cwd=_SOURCE.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return run.stdout.strip()


def _find_compiler() -> str | None:
    candidates = [os.environ.get("CXX", ""), "g++", "c++"]
    return next((found for name in candidates if name and (found := shutil.which(name))), None)


def _compile(variant: str) -> Path:
    compiler = _find_compiler()
    if compiler is None:
        raise TapLoopUnavailable("the O(r^2) yardstick needs a C++ compiler with OpenMP, such as g++; none found")
    flags = _FLAGS + YARDSTICKS[variant]
    # The processor counts too: -march=native, and a home folder may serve several machines.
    key = [_ask([compiler, "--version"]), _name_processor(), *flags, _SOURCE.read_text(encoding="utf-8")]
    name = f"{variant}-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.so"
    folder = _cache_folder()
    if not (folder / name).is_file():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            part, built = Path(scratch, "tap_loop.o"), Path(scratch, name)
            # Two steps: -ffast-math at linking would make the whole process flush denormal numbers to zero.
            for command in (
                [compiler, *flags, "-c", str(_SOURCE), "-o", str(part)],
                [compiler, "-shared", "-fopenmp", str(part), "-o", str(built)],
            ):
                run = subprocess.run(command, capture_output=True, text=True, check=False)
                if run.returncode:
                    reason = (run.stderr.strip().splitlines() or ["no message"])[-1]
                    raise TapLoopUnavailable(f"the O(r^2) yardstick does not compile: {reason}")
            os.replace(built, folder / name)
    return folder / name


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    for folder in (Path(base) / "depthbokeh-benchmarks", Path(tempfile.gettempdir()) / "depthbokeh-benchmarks"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise TapLoopUnavailable("no folder can be written to for the compiled yardstick")
