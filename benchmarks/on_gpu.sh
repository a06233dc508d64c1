#!/usr/bin/env bash
# Everything about the CUDA kernels that needs a GPU: build, checks, times, tests, sanitizers, profile.
#   benchmarks/on_gpu.sh [FOLDER [STEP...]]     writes to benchmarks/results, or FOLDER; all steps, or those named
# Steps: check speed render tests memcheck racecheck initcheck ncu, in this order, what matters most first; the build comes before them and
# lasts seconds when it is up to date. Needs a checkout, torch with CUDA, nvcc and a C++ compiler, nothing else; pytest,
# compute-sanitizer and ncu are used where they are. One step's failure does not keep the others from running; the
# summary says which failed, and so does the exit status.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=$(realpath -m "${1:-benchmarks/results}")
STEPS=" ${*:2} "
mkdir -p "$OUT"
export PYTHONPATH="$PWD:$PWD/benchmarks${PYTHONPATH:+:$PYTHONPATH}"
export DEPTHBOKEH_CUDA=1 PYTHONUNBUFFERED=1
SUMMARY="$OUT/gpu_summary.txt"
FAILED=0

wanted() { [ "$STEPS" = "  " ] || [[ "$STEPS" == *" $1 "* ]]; }

step() { # step NAME SECONDS COMMAND...: runs it with a time limit, its output in a file of that name
  local name=$1 limit=$2
  shift 2
  local log="$OUT/gpu_$name.log" begin=$SECONDS status=0
  timeout "$limit" "$@" >"$log" 2>&1 || status=$?
  printf '%-12s %s  %4d s  %s\n' "$name" "$([ $status -eq 0 ] && echo ok || echo "FAILED ($status)")" \
    $((SECONDS - begin)) "$(tail -n 1 "$log" | cut -c1-120)" | tee -a "$SUMMARY"
  [ $status -eq 0 ] || FAILED=1
  return $status
}

skip() { printf '%-12s not run: %s\n' "$1" "$2" | tee -a "$SUMMARY"; }

{
  date -u +%FT%TZ
  git rev-parse HEAD 2>/dev/null || echo "no git"
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  nvcc --version | tail -n 1
  "$PYTHON" -c 'import torch; print("torch", torch.__version__)'
} >>"$SUMMARY" 2>&1
tail -n 5 "$SUMMARY"

"$PYTHON" -c 'import torch; torch.zeros(1).cuda()' || { echo "no GPU that torch can use"; exit 1; }
LOADED='from depthbokeh import ops; assert ops.load_operators(may_compile=False) and ops.has_kernels("cuda"), "no CUDA kernels"; print(ops.build_info())'
if ! "$PYTHON" -c "$LOADED" >/dev/null 2>&1; then
  # For this GPU alone and without setuptools or ninja: a minute.
  step build 580 "$PYTHON" benchmarks/gpu_build.py || exit 1
fi
step loaded 60 "$PYTHON" -c "$LOADED" || exit 1

if wanted check; then step check 300 "$PYTHON" benchmarks/gpu_check.py; fi
if wanted speed; then step speed 580 "$PYTHON" benchmarks/gpu_speed.py --out "$OUT/kernel_cuda.json"; fi
if wanted render; then step render 580 "$PYTHON" benchmarks/gpu_render.py --out "$OUT/layered_cuda.json"; fi

if wanted tests; then
  if "$PYTHON" -c 'import pytest' 2>/dev/null; then
    workers=$("$PYTHON" -c 'import xdist' 2>/dev/null && echo "-n 8")
    step tests 580 "$PYTHON" -m pytest -q -p no:cacheprovider -p no:benchmark $workers tests/test_cuda.py tests/test_blur.py \
      tests/test_slices.py tests/test_edges.py tests/test_fill.py tests/test_behind.py tests/test_maps.py \
      tests/test_extend.py tests/test_compositing.py tests/test_peers.py -k 'cuda and not emulated'
  else
    skip tests "no pytest"
  fi
fi

# Ours alone, as torch's kernels are many; but initcheck must see everything that is written.
ours="--kernel-name kns=depthbokeh"
for tool in "memcheck $ours" "racecheck $ours" initcheck; do
  name=${tool%% *}
  if wanted "$name"; then
    if command -v compute-sanitizer >/dev/null; then
      step "$name" 580 env PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool $tool --error-exitcode 9 \
        "$PYTHON" benchmarks/gpu_check.py --small
    else
      skip "$name" "no compute-sanitizer"
    fi
  fi
done

if wanted ncu; then
  if command -v ncu >/dev/null; then
    step ncu 580 ncu --clock-control none --set full --launch-count 14 \
      --kernel-name 'regex:scatter_slabs|gather_pixels|sum_rows|blur_gaussian|survey' "$PYTHON" benchmarks/gpu_profile.py
  else
    skip ncu "no ncu"
  fi
fi
exit $FAILED
