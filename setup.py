"""Builds the native library ahead of time where torch and a compiler are at hand; pyproject.toml has the rest.

With nvcc at hand it has CUDA kernels, too, whether or not this torch can run them; DEPTHBOKEH_CUDA=0 leaves them out,
DEPTHBOKEH_CUDA=1 insists on them.
"""

import importlib.util
import os
import sys
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def load_build():
    """depthbokeh/_build.py, without importing the package."""
    spec = importlib.util.spec_from_file_location("_build", ROOT / "depthbokeh" / "_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def native_extension() -> dict:
    """Arguments for setup(), none when torch is missing: the kernels then compile on first use."""
    try:
        from torch.utils import cpp_extension
        from torch.utils.cpp_extension import BuildExtension, CppExtension
    except ImportError:
        return {}

    class OptionalBuild(BuildExtension):
        """A failed compilation must not fail the installation: the reference runs without the library."""

        def build_extensions(self) -> None:
            try:
                super().build_extensions()
            except Exception as error:
                print(f"depthbokeh: the native kernels were not built: {error}", file=sys.stderr)
                (extension,) = self.extensions
                kernels = [source for source in extension.sources if source.endswith(".cu")]
                self.extensions = []
                if kernels and os.environ.get("DEPTHBOKEH_CUDA") != "1":
                    print("depthbokeh: trying again without CUDA", file=sys.stderr)
                    extension.sources = [source for source in extension.sources if source not in kernels]
                    extension.extra_link_args = []
                    self.extensions = [extension]
                    self.build_extensions()

    build = load_build()
    sources, cuda = build.find_sources(), build.find_cuda()
    if cuda is not None:  # torch knows of no toolkit where it has no CUDA itself
        cpp_extension.CUDA_HOME = str(cuda)
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", build.CUDA_ARCHITECTURES)
    extension = CppExtension(
        "depthbokeh._C",
        [path.relative_to(ROOT).as_posix() for path in build.list_sources(sources, cuda=cuda is not None)],
        extra_compile_args={"cxx": build.compile_flags(sources), "nvcc": build.nvcc_flags(sources)},
        extra_link_args=build.link_flags(cuda) if cuda else [],
        py_limited_api=True,
    )
    options = {"bdist_wheel": {"py_limited_api": "cp310"}}
    return {"ext_modules": [extension], "cmdclass": {"build_ext": OptionalBuild}, "options": options}


# The sources travel inside the package, for the compilation on first use; the tests' emulation of CUDA does not.
setup(
    packages=[*find_packages(ROOT, include=["depthbokeh", "depthbokeh.*"]), "depthbokeh._cuda"],
    package_dir={"depthbokeh._cuda": "cuda"},
    package_data={
        "depthbokeh": ["py.typed"],
        "depthbokeh.app": ["*.html", "*.css", "*.js"],
        "depthbokeh._cuda": ["*.h", "*.cpp", "*.cu", "*.cuh", "cpu/*"],
    },
    include_package_data=False,
    **native_extension(),
)
