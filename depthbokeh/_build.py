"""What the native library is made of: shared by setup.py and by the compilation on first use."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

# The first torch whose stable ABI has all that the kernels use; one binary then serves every later one.
TORCH_TARGET = "0x020a000000000000"


def find_sources() -> Path | None:
    """The folder of the native sources: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parent
    for folder in (package.parent / "cuda", package / "_cuda"):
        if (folder / "ops.cpp").is_file():
            return folder
    return None


def list_sources(folder: Path) -> list[Path]:
    """The files to compile."""
    return [*sorted(folder.glob("*.cpp")), *sorted((folder / "cpu").glob("*.cpp"))]


def hash_sources(folder: Path) -> str:
    """A fingerprint of all native files, compiled into the library so that a stale one is noticed."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in {".cpp", ".h", ".cu", ".cuh"}):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return f"depthbokeh_{digest.hexdigest()[:16]}"


def compile_flags(folder: Path) -> list[str]:
    """Flags for the C++ compiler. No fast-math and no -march: the kernels pick their instructions at load time."""
    flags = [
        "-std=c++20",
        "-O3",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-fvisibility=hidden",
        "-Wall",
        f"-DTORCH_TARGET_VERSION={TORCH_TARGET}",
        f"-DDEPTHBOKEH_SOURCE_HASH={hash_sources(folder)}",  # unquoted: it passes through a shell
    ]
    # GCC warns that vectors wider than the baseline would change the ABI of functions that pass them; none does.
    return [*flags, "-Wno-psabi"] if platform.system() == "Linux" else flags
