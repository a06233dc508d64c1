"""Finds the native library, or compiles it once, and loads it."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from . import _build


@dataclass(frozen=True)
class Native:
    """The state of the native library: where it is, or why there is none."""

    path: Path | None
    origin: str  # "prebuilt", "compiled on first use" or the reason why it is missing

    @property
    def loaded(self) -> bool:
        """Whether the kernels can be called."""
        return self.path is not None


_state: Native | None = None


def load(*, may_compile: bool = True) -> Native:
    """Loads the library, once per process.

    Args:
        may_compile: Whether to compile it when none is found. A library that is found is loaded either way.
    """
    global _state
    if _state is None or (not _state.loaded and may_compile and not _tried_compiling):
        _state = _load(may_compile)
    return _state


_tried_compiling = False


def _load(may_compile: bool) -> Native:
    global _tried_compiling
    sources = _build.find_sources()
    wanted = _build.hash_sources(sources) if sources else None
    for path in sorted(Path(__file__).parent.glob("_C*.so")):
        if (wanted is None or wanted.encode() in path.read_bytes()) and _has_asked_kernels(path):
            return _open(path, "prebuilt")
    if sources is None or wanted is None:
        return Native(None, "neither a prebuilt library nor its sources are part of this installation")
    cached = _cache_folder(wanted) / "depthbokeh_native.so"
    if cached.is_file() and _has_asked_kernels(cached):
        return _open(cached, "compiled on first use")
    if not may_compile:
        return Native(None, "not compiled yet (done on first use)")
    _tried_compiling = True
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        return Native(None, "no C++ compiler: install one (g++ or clang++) to run the native kernels")
    try:
        from filelock import FileLock

        cached.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(cached.parent / "compiling"):  # another process may have been quicker
            if not (cached.is_file() and _has_asked_kernels(cached)):
                _compile(sources, cached.parent)
    except (RuntimeError, OSError, ImportError) as error:
        lines = str(error).strip().splitlines()
        return Native(None, f"compilation failed: {next((line for line in lines if 'error:' in line), lines[0])}")
    return _open(cached, "compiled on first use")


def _has_asked_kernels(path: Path) -> bool:
    """False if ``DEPTHBOKEH_CUDA=1`` asks for CUDA kernels, this torch can run them and a library has none.

    A wheel's library has none, since it serves every torch: its sources are then compiled in its place.
    """
    asked = os.environ.get("DEPTHBOKEH_CUDA") == "1" and torch.version.cuda is not None
    return not asked or b".nv_fatbin" in path.read_bytes()  # the section that holds code for a GPU


def _open(path: Path, origin: str) -> Native:
    try:
        torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]
    except OSError as error:
        return Native(None, f"{path.name} does not load: {error}")
    return Native(path, origin)


def _cache_folder(name: str) -> Path:
    root = os.environ.get("TORCH_EXTENSIONS_DIR")
    base = Path(root) if root else Path.home() / ".cache" / "torch_extensions"
    return base / f"{name}-torch{torch.__version__}"


def _compile(sources: Path, folder: Path) -> None:
    from torch.utils import cpp_extension

    print("depthbokeh: compiling the native kernels, once (one to two minutes)", file=sys.stderr)
    # torch's own lock outlives a process that is killed, and would be waited for without end; ours does not.
    (folder / "lock").unlink(missing_ok=True)
    cuda = _build.find_cuda() if torch.version.cuda else None
    # ninja is installed beside the interpreter, which is not on PATH unless the environment is activated.
    changes = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}
    if cuda is not None:
        cpp_extension.CUDA_HOME = str(cuda)
        changes["TORCH_CUDA_ARCH_LIST"] = os.environ.get("TORCH_CUDA_ARCH_LIST", _build.CUDA_ARCHITECTURES)
    before = {key: os.environ.get(key) for key in changes}
    os.environ.update(changes)
    try:
        cpp_extension.load(
            name="depthbokeh_native",
            sources=[str(source) for source in _build.list_sources(sources, cuda=cuda is not None)],
            extra_cflags=_build.compile_flags(sources),
            extra_cuda_cflags=_build.nvcc_flags(sources),
            extra_ldflags=_build.link_flags(cuda) if cuda else [],
            build_directory=str(folder),
            with_cuda=cuda is not None,
            is_python_module=False,
        )
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})
