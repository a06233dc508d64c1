import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from depthbokeh import _build, _native, ops

PACKAGE = Path(_build.__file__).parent


def copy_package(target):
    """The package as a pure wheel installs it: sources inside, no library."""
    ignore = shutil.ignore_patterns("_C*", "__pycache__")
    shutil.copytree(PACKAGE, target / "depthbokeh", ignore=ignore)
    shutil.copytree(_build.find_sources(), target / "depthbokeh" / "_cuda")


def run(code, folder, **environment):
    variables = {**os.environ, "PYTHONPATH": str(folder), "TORCH_EXTENSIONS_DIR": str(folder / "cache"), **environment}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=variables, timeout=280)


CODE = """
import torch, depthbokeh
image, radius = torch.rand(1, 3, 20, 30), 5 * torch.rand(1, 1, 20, 30)
native = depthbokeh.scatter_blur(image, radius)
assert torch.allclose(native, depthbokeh.scatter_blur(image, radius, backend="reference"), atol=1e-5)
from depthbokeh import _native
print(_native.load().origin)
"""


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_library_is_compiled_once_on_first_use(tmp_path):
    copy_package(tmp_path)
    # Optimised, as everywhere else, it would take minutes; and on Linux, every kernel is compiled three times.
    quick = tmp_path / "quick-c++"
    quick.write_text(f'#!/bin/sh\nexec "{shutil.which("c++")}" "$@" -O0 -U__linux__\n')
    quick.chmod(0o755)
    # As a process leaves it that was killed while it compiled.
    folder = tmp_path / "cache" / f"{_build.hash_sources(_build.find_sources())}-torch{torch.__version__}"
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    first = run(CODE, tmp_path, CXX=str(quick))
    assert first.stdout.strip() == "compiled on first use", first.stderr
    assert "compiling the native kernels" in first.stderr
    second = run(CODE, tmp_path, CXX=str(quick))
    assert second.stdout.strip() == "compiled on first use"
    assert "compiling" not in second.stderr


def test_reference_runs_with_one_warning_where_there_is_no_compiler(tmp_path):
    copy_package(tmp_path)
    call = "depthbokeh.scatter_blur(torch.rand(1, 1, 4, 4), torch.ones(1, 1, 4, 4))"
    twice = f"import torch, depthbokeh\nfor _ in range(2): {call}"
    result = run(twice, tmp_path, CXX="no-such-compiler")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("depthbokeh runs its slower reference: no C++ compiler") == 1


def test_loaded_library_was_built_from_these_sources():
    if not ops.load_operators():
        assert "CI" not in os.environ, _native.load().origin
        pytest.skip(_native.load().origin)
    assert ops.build_info() == _build.hash_sources(_build.find_sources())


@pytest.mark.parametrize(
    ("asked", "cuda", "content", "taken"),
    [
        ("1", "13.0", b"", False),  # a wheel's library
        ("1", "13.0", b".nv_fatbin", True),
        ("1", None, b"", True),  # this torch cannot run CUDA kernels
        ("0", "13.0", b"", True),
    ],
)
def test_cuda_kernels_that_are_asked_for_are_compiled(monkeypatch, tmp_path, asked, cuda, content, taken):
    monkeypatch.setenv("DEPTHBOKEH_CUDA", asked)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(_native, "__file__", str(tmp_path / "_native.py"))
    monkeypatch.setattr(_native, "_open", lambda path, origin: _native.Native(path, origin))
    wanted = _build.hash_sources(_build.find_sources())
    prebuilt, cached = tmp_path / "_C.abi3.so", _native._cache_folder(wanted) / "depthbokeh_native.so"
    prebuilt.write_bytes(wanted.encode() + content)
    assert (_native._load(may_compile=False).path == prebuilt) is taken
    prebuilt.unlink()
    cached.parent.mkdir(parents=True)
    cached.write_bytes(content)
    assert (_native._load(may_compile=False).path == cached) is taken
