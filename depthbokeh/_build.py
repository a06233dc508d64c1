"""What the native library is made of: shared by setup.py and by the compilation on first use."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

# The first torch whose stable ABI has all that the kernels use; one binary then serves every later one.
TORCH_TARGET = "0x020a000000000000"
# The GPUs that the kernels are compiled for ahead of time; newer ones compile the PTX when they load it.
CUDA_ARCHITECTURES = "8.0;9.0+PTX"


def find_sources() -> Path | None:
    """The folder of the native sources: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parent
    for folder in (package.parent / "cuda", package / "_cuda"):
        if (folder / "ops.cpp").is_file():
            return folder
    return None


def list_sources(folder: Path, *, cuda: bool = False) -> list[Path]:
    """The files to compile."""
    kernels = sorted(folder.glob("*.cu")) if cuda else []
    return [*sorted(folder.glob("*.cpp")), *sorted((folder / "cpu").glob("*.cpp")), *kernels]


def hash_sources(folder: Path) -> str:
    """A fingerprint of all files of the library, compiled into it so that a stale one is noticed."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in {".cpp", ".h", ".cu", ".cuh"}):
        if path.parent.name == "emu":  # the tests' alone
            continue
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return f"depthbokeh_{digest.hexdigest()[:16]}"


def find_cuda() -> Path | None:
    """The root of the CUDA toolkit to compile with; None without one, or with ``DEPTHBOKEH_CUDA=0``.

    Raises:
        RuntimeError: If ``DEPTHBOKEH_CUDA=1`` asks for CUDA and there is no nvcc.
    """
    asked = os.environ.get("DEPTHBOKEH_CUDA")
    nvcc = None if asked == "0" else _find_nvcc()
    if nvcc is None:
        if asked == "1":
            raise RuntimeError("DEPTHBOKEH_CUDA=1, but there is no nvcc on PATH or in CUDA_HOME")
        return None
    # The nvcc on PATH may be a script that calls another one: it says itself where it belongs.
    run = subprocess.run([nvcc, "--dryrun", "-x", "cu", "-c", os.devnull], capture_output=True, text=True)
    tops = [line.partition("TOP=")[2].strip() for line in run.stderr.splitlines() if line.startswith("#$ TOP=")]
    return Path(tops[0]).resolve() if tops else Path(nvcc).resolve().parents[1]


def _find_nvcc() -> str | None:
    home = os.environ.get("CUDA_HOME")
    return shutil.which("nvcc", path=str(Path(home) / "bin")) if home else shutil.which("nvcc")


def nvcc_flags(folder: Path) -> list[str]:
    """Flags for nvcc. No fast-math here either."""
    return [
        "-std=c++20",
        "-O3",
        "-DUSE_CUDA",  # declares torch's CUDA streams
        f"-DTORCH_TARGET_VERSION={TORCH_TARGET}",
        "--compiler-options=-fvisibility=hidden,-Wall",
        # Beside a torch without CUDA the build does not see which headers a kernel includes: this compiles them anew.
        f"-DDEPTHBOKEH_SOURCE_HASH={hash_sources(folder)}",
    ]


def link_flags(cuda: Path) -> list[str]:
    """Flags for the linker with CUDA kernels.

    The runtime is part of the library, so that it loads where there is none. torch's CUDA half is reached through
    libtorch, which every torch has, whether or not it has that half.
    """
    libraries = next((cuda / name for name in ("lib64", "lib") if (cuda / name / "libcudart_static.a").is_file()), cuda)
    return [f"-L{libraries}", "-lcudart_static", "-ldl", "-lrt", "-lpthread", "-Wl,--no-as-needed", "-ltorch"]


def compile_flags(folder: Path) -> list[str]:
    """Flags for the C++ compiler. No fast-math and no -march: the kernels pick their instructions at load time."""
    flags = [
        "-std=c++20",
        "-O3",
        "-g0",  # Python's own flags may ask for debug information: longer compilation, a library four times as large
        "-fno-math-errno",
        "-fno-trapping-math",
        "-fvisibility=hidden",
        "-Wall",
        f"-DTORCH_TARGET_VERSION={TORCH_TARGET}",
        f"-DDEPTHBOKEH_SOURCE_HASH={hash_sources(folder)}",  # unquoted: it passes through a shell
    ]
    # GCC warns that vectors wider than the baseline would change the ABI of functions that pass them; none does.
    return [*flags, "-Wno-psabi"] if platform.system() == "Linux" else flags
