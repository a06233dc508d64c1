"""The CUDA kernels on the CPU: compiled by the C++ compiler with an emulation of CUDA (cuda/emu), for tests."""

from __future__ import annotations

import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path

import torch
from filelock import FileLock
from torch.utils import cpp_extension

from depthbokeh import _build, _native, ops

LIBRARY = "depthbokeh_emu"
# In which order the threads of a block run; see cuda/emu/cuda_emu.h.
ORDERS = {"forward": 0, "reverse": 1, "shuffled": 2}
# The fortified longjmp takes a switch of stacks for an attack.
FLAGS = ("-fPIC", "-O1", "-DDB_EMU", "-U_FORTIFY_SOURCE", "-Wno-unknown-pragmas")


def compile_library(sources: Path, *flags: str) -> Path:
    """Compiles the kernels in ``sources`` with the emulation, unless that was done before, and returns the library."""
    digest = hashlib.sha256(repr(flags).encode())
    for path in sorted(path for path in sources.rglob("*") if path.suffix in {".cpp", ".h", ".cu", ".cuh"}):
        digest.update(path.read_bytes())
    folder = _native._cache_folder(f"{LIBRARY}_{digest.hexdigest()[:16]}")
    library = folder / f"{LIBRARY}.so"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "compiling"):  # another process of the tests may want it too
        if not library.is_file():
            _compile(sources, flags, library)
    return library


def _compile(sources: Path, flags: tuple[str, ...], library: Path) -> None:
    folder = library.parent
    options = [*_build.compile_flags(sources), *FLAGS, *flags, f"-I{sources}"]
    options += [f"-isystem{path}" for path in cpp_extension.include_paths()]
    compiler = os.environ.get("CXX", "c++")
    # Reading torch's headers takes time, and optimising as much again: then two files with half of the kernels each.
    count = 1 if "-O0" in flags else 2
    parts = sorted(sources.glob("*.cu")) + sorted((sources / "emu").glob("*.cpp"))
    runs = []
    for i in range(count):
        file = folder / f"part{i}.cpp"
        file.write_text("".join(f'#include "{part}"\n' for part in parts[i::count]))
        runs.append(subprocess.Popen([compiler, *options, "-c", file, "-o", file.with_suffix(".o")]))
    assert [run.wait() for run in runs] == [0] * count
    libraries = [f"-L{path}" for path in cpp_extension.library_paths()] + ["-lc10", "-ltorch_cpu", "-ltorch"]
    unfinished = library.with_suffix(".unfinished")
    subprocess.run([compiler, "-shared", *flags, *folder.glob("part*.o"), *libraries, "-o", unfinished], check=True)
    unfinished.rename(library)


@cache
def load() -> None:
    """Makes ``torch.ops.depthbokeh_emu`` callable."""
    torch.ops.load_library(str(compile_library(_build.find_sources())))
    ops.register(LIBRARY)


def set_order(order: str) -> None:
    torch.ops.depthbokeh_emu.set_order(ORDERS[order])
