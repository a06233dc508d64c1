"""Other ways to blur by a map of radii on a GPU: what the CUDA kernels are timed against."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from depthbokeh import _build

FOLDER = Path(__file__).parent
SOURCES = sorted(FOLDER.glob("*.cu"))
_CUDA = FOLDER.parents[1] / "cuda"  # device.cuh
TILE = 16


class CudaPeers:
    """The peers' kernels in a compiled library.

    Args:
        library: See :func:`compile_peers`; in tests, one with the kernels emulated, for tensors on the CPU.
    """

    def __init__(self, library: Path) -> None:
        loaded = ctypes.CDLL(str(library))
        pointers, sizes = [ctypes.c_void_p] * 4, [ctypes.c_int64, ctypes.c_int, ctypes.c_int]
        self._scatter, self._gather = loaded.bokehme_scatter, loaded.tile_gather
        self._scatter.argtypes = [*pointers, *sizes, ctypes.c_void_p]
        self._gather.argtypes = [*pointers, *sizes, ctypes.c_float, ctypes.c_void_p]

    def bokehme_scatter(self, image: Tensor, radius: Tensor) -> Tensor:
        """BokehMe's classical scatter with atomics.

        Args:
            image: ``(B, 3, H, W)`` float32.
            radius: ``(B, 1, H, W)`` float32, pixels, 0 or more.

        Returns:
            ``(B, 3, H, W)``, divided by the weight that came together, which is blurred as a fourth channel.
        """
        image, radius = _check(image, radius, 3)
        batch, _, height, width = image.shape
        sums, out = image.new_zeros(batch, 4, height, width), torch.empty_like(image)
        pointers = [t.data_ptr() for t in (image, radius, sums, out)]
        _raise(self._scatter(*pointers, batch, height, width, _stream(image)))
        return out

    def tile_gather(self, image: Tensor, radius: Tensor, most: float) -> Tensor:
        """The tap loop's disk, gathered by tiles.

        Args:
            image: ``(B, 4, H, W)`` float32.
            radius: ``(B, 1, H, W)`` float32, pixels, 0..``most``.
            most: How far light may come, pixels. The device is not asked.

        Returns:
            ``(B, 4, H, W)``.
        """
        image, radius = _check(image, radius, 4)
        batch, _, height, width = image.shape
        largest = image.new_empty(batch, -(-height // TILE), -(-width // TILE))
        out = torch.empty_like(image)
        pointers = [t.data_ptr() for t in (image, radius, largest, out)]
        _raise(self._gather(*pointers, batch, height, width, most, _stream(image)))
        return out


def compile_peers(folder: Path | None = None, architecture: str = "native") -> Path:
    """Compiles the kernels with nvcc, unless that was done before, and returns the library.

    Args:
        folder: Where it goes; a cache folder without one.
        architecture: Of the GPU, as nvcc names it (``"sm_90"``); ``"native"`` is that of the machine.

    Raises:
        RuntimeError: If there is no nvcc or it fails.
    """
    root = _build.find_cuda()
    if root is None:
        raise RuntimeError("the peers need nvcc")
    digest = hashlib.sha256(architecture.encode())
    for path in [*SOURCES, FOLDER / "peers.cuh", *sorted(_CUDA.glob("*.h")), _CUDA / "device.cuh"]:
        digest.update(path.read_bytes())
    folder = folder or Path(tempfile.gettempdir()) / f"depthbokeh-peers-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    library = folder / f"peers_{architecture}_{digest.hexdigest()[:16]}.so"
    if library.is_file():
        return library
    unfinished = library.with_suffix(f".{os.getpid()}.so")
    command = [root / "bin" / "nvcc", "-std=c++20", "-O3", f"-arch={architecture}", "-shared"]
    command += ["--compiler-options=-fPIC,-Wall", f"-I{_CUDA}", *SOURCES, "-o", unfinished]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"nvcc does not compile the peers: {(run.stderr or run.stdout).strip()[-2000:]}")
    unfinished.rename(library)
    return library


def _check(image: Tensor, radius: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    batch, _, height, width = image.shape
    for name, values, expected in (("image", image, channels), ("radius", radius, 1)):
        if tuple(values.shape) != (batch, expected, height, width) or values.dtype != torch.float32:
            raise ValueError(
                f"{name} must be {(batch, expected, height, width)} float32, got {tuple(values.shape)} {values.dtype}"
            )
    if image.device != radius.device:
        raise ValueError(f"radius must be on the image's device {image.device}, got {radius.device}")
    return image.contiguous(), radius.contiguous()


def _stream(image: Tensor) -> int:
    return torch.cuda.current_stream(image.device).cuda_stream if image.is_cuda else 0


def _raise(error: int) -> None:
    if error:
        raise RuntimeError(f"a peer's kernel did not start: CUDA error {error}")
