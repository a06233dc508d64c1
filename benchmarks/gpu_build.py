"""Builds the native library for the GPU at hand with nothing but nvcc and a C++ compiler: all files at once.

``python benchmarks/gpu_build.py [--architecture 9.0]``: where there is no ninja, or a setuptools that is too old for
pyproject.toml. The flags are those of every other build.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

# _build.py alone: the package would look for the library.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "depthbokeh"))
import _build

Command = list[str | Path]
# torch.utils.cpp_extension would tell, but wants setuptools.
TORCH = Path(torch.__file__).parent


def list_commands(sources: Path, cuda: Path, architecture: str, folder: Path) -> list[tuple[Command, Path]]:
    """The command for every file, and the object that it makes."""
    folders = (TORCH / "include", TORCH / "include/torch/csrc/api/include", cuda / "include")
    includes = [part for path in folders for part in ("-isystem", path)]
    number = architecture.replace(".", "")
    code = f"-gencode=arch=compute_{number},code=sm_{number}"
    commands: list[tuple[Command, Path]] = []
    for index, source in enumerate(_build.list_sources(sources, cuda=True)):
        made = folder / f"{index}.o"
        if source.suffix == ".cu":
            command: Command = [cuda / "bin" / "nvcc", *_build.nvcc_flags(sources), "-Xcompiler=-fPIC", code]
        else:
            command = [os.environ.get("CXX", "c++"), *_build.compile_flags(sources), "-fPIC"]
        commands.append(([*command, *includes, "-c", source, "-o", made], made))
    return commands


def run_all(commands: Iterable[Command]) -> None:
    """Runs commands side by side, as many as there are cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(lambda c: subprocess.run(c, capture_output=True, text=True), commands):
            if result.returncode:
                raise SystemExit(f"{' '.join(map(str, result.args))}\n{result.stderr or result.stdout}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--architecture", help="compute capability; that of the GPU without one")
    parser.add_argument("--out", type=Path, default=Path(_build.__file__).with_name("_C.abi3.so"))
    arguments = parser.parse_args()
    sources, cuda = _build.find_sources(), _build.find_cuda()
    if sources is None or cuda is None:
        raise SystemExit("a checkout and nvcc are needed")
    architecture = arguments.architecture or "{}.{}".format(*torch.cuda.get_device_capability())
    with tempfile.TemporaryDirectory() as scratch:
        commands = list_commands(sources, cuda, architecture, Path(scratch))
        run_all(command for command, _ in commands)
        unfinished = arguments.out.with_suffix(f".{os.getpid()}.part")
        libraries = [f"-L{TORCH / 'lib'}", "-lc10", "-ltorch_cpu", *_build.link_flags(cuda)]
        compiler = os.environ.get("CXX", "c++")
        run_all([[compiler, "-shared", *(made for _, made in commands), *libraries, "-o", unfinished]])
        unfinished.replace(arguments.out)
    print(f"{arguments.out.name} for compute capability {architecture}")


if __name__ == "__main__":
    main()
