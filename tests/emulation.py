"""The CUDA kernels on the CPU: compiled by the C++ compiler with an emulation of CUDA (cuda/emu), for tests."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import torch

from depthbokeh import _build, _native, ops

LIBRARY = "depthbokeh_emu"
# In which order the threads of a block run; see cuda/emu/cuda_emu.h.
ORDERS = {"forward": 0, "reverse": 1, "shuffled": 2}
# The fortified longjmp takes a switch of stacks for an attack.
FLAGS = ("-O2", "-DDB_EMU", "-U_FORTIFY_SOURCE", "-Wno-unknown-pragmas")


def compile_library(sources: Path, *flags: str) -> Path:
    """Compiles the kernels in ``sources`` with the emulation, unless that was done before, and returns the library."""
    files = sorted(path for path in sources.rglob("*") if path.suffix in {".cpp", ".h", ".cu", ".cuh"})
    digest = hashlib.sha256(repr(flags).encode())
    for path in files:
        digest.update(path.read_bytes())
    folder = _native._cache_folder(f"{LIBRARY}_{digest.hexdigest()[:16]}")
    library = folder / f"{LIBRARY}.so"
    if not library.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        parts = sorted(sources.glob("*.cu")) + sorted((sources / "emu").glob("*.cpp"))
        # Half of them at once, since reading torch's headers is what takes time.
        files = [folder / "first.cpp", folder / "second.cpp"]
        for i, file in enumerate(files):
            file.write_text("".join(f'#include "{part}"\n' for part in parts[i::2]))
        _native.compile_library(LIBRARY, files, folder, sources, flags=(*FLAGS, *flags))
    return library


@cache
def load() -> None:
    """Makes ``torch.ops.depthbokeh_emu`` callable."""
    torch.ops.load_library(str(compile_library(_build.find_sources())))
    ops.register(LIBRARY)


def set_order(order: str) -> None:
    torch.ops.depthbokeh_emu.set_order(ORDERS[order])
