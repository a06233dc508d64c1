#!/usr/bin/env bash
# Everything about the CUDA kernels that needs a GPU: build, tests, sanitizers, profile, times.
#   benchmarks/on_gpu.sh [FOLDER]       writes to benchmarks/results, or FOLDER
# Needs a checkout, torch with CUDA, nvcc and a C++ compiler; pytest and ncu are used where they are. One step's failure
# does not keep the others from running; the summary says which failed, and so does the exit status.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=$(realpath -m "${1:-benchmarks/results}")
mkdir -p "$OUT"
export PYTHONPATH="$PWD:$PWD/benchmarks${PYTHONPATH:+:$PYTHONPATH}"
export DEPTHBOKEH_CUDA=1
SUMMARY="$OUT/gpu_summary.txt"
FAILED=0

step() { # step NAME SECONDS COMMAND...: runs it with a time limit, its output in a file of that name
  local name=$1 limit=$2
  shift 2
  local log="$OUT/gpu_$name.log" begin=$SECONDS status=0
  timeout "$limit" "$@" >"$log" 2>&1 || status=$?
  printf '%-12s %s  %4d s  %s\n' "$name" "$([ $status -eq 0 ] && echo ok || echo "FAILED ($status)")" \
    $((SECONDS - begin)) "$(tail -n 1 "$log" | cut -c1-120)" | tee -a "$SUMMARY"
  [ $status -eq 0 ] || FAILED=1
}

skip() { printf '%-12s not run: %s\n' "$1" "$2" | tee -a "$SUMMARY"; }

{
  date -u +%FT%TZ
  git rev-parse HEAD 2>/dev/null || echo "no git"
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  nvcc --version | tail -n 1
  "$PYTHON" -c 'import torch; print("torch", torch.__version__)'
} >"$SUMMARY" 2>&1
cat "$SUMMARY"

# For this GPU alone: seconds instead of minutes.
CAPABILITY=$("$PYTHON" -c 'import torch; print("%d.%d" % torch.cuda.get_device_capability())') || { echo "no GPU"; exit 1; }
export TORCH_CUDA_ARCH_LIST=$CAPABILITY
step build 900 "$PYTHON" setup.py build_ext --inplace
step loaded 60 "$PYTHON" -c 'from depthbokeh import ops; assert ops.has_kernels("cuda"), "no CUDA kernels"; print(ops.build_info())'
step check 300 "$PYTHON" benchmarks/gpu_check.py

if "$PYTHON" -c 'import pytest' 2>/dev/null; then
  step tests 900 "$PYTHON" -m pytest -q -p no:cacheprovider tests/test_blur.py tests/test_cuda.py -k cuda
else
  skip tests "no pytest"
fi

if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck; do
    step "$tool" 600 compute-sanitizer --tool "$tool" --error-exitcode 9 "$PYTHON" benchmarks/gpu_check.py --small
  done
else
  skip sanitizers "no compute-sanitizer"
fi

step speed 600 "$PYTHON" benchmarks/gpu_speed.py --out "$OUT/kernel_cuda.json"

if command -v ncu >/dev/null; then
  step ncu 600 ncu --set full --launch-count 12 --kernel-name 'regex:scatter_slabs|gather_pixels|sum_rows|blur_gaussian|survey' \
    "$PYTHON" benchmarks/gpu_profile.py
else
  skip ncu "no ncu"
fi
exit $FAILED
