// The largest and the smallest value around every pixel, in CUDA: along rows, along columns, and the window of twice
// the reach from the four around its corners. A thread owns a pixel.
#pragma once

#include "device.cuh"
#include "windows.h"

namespace depthbokeh::cuda {

constexpr int kWindowThreads = 256;

// Within every pixel's row. `lowest` may be null.
template <typename Real>
__global__ void __launch_bounds__(kWindowThreads)
    search_rows(const __grid_constant__ Windows<Real> w, Real* highest, Real* lowest) {
  const int64_t at = int64_t(blockIdx.x) * kWindowThreads + threadIdx.x;
  if (at >= w.pixels()) return;
  const int x = static_cast<int>(at % w.width);
  Real high = w.values[at], low = high;
  for (int i = w.first(x); i <= w.last(x, w.width); ++i) {
    const Real value = w.values[at - x + i];
    high = pick_larger(high, value);
    low = pick_smaller(low, value);
  }
  highest[at] = high;
  if (lowest) lowest[at] = low;
}

// Within every pixel's window, from what is within the rows.
template <typename Real>
__global__ void __launch_bounds__(kWindowThreads)
    search_columns(const __grid_constant__ Windows<Real> w, const Real* row_highest, const Real* row_lowest,
                   const __grid_constant__ Extremes<Real> to) {
  const int64_t at = int64_t(blockIdx.x) * kWindowThreads + threadIdx.x;
  if (at >= w.pixels()) return;
  const int y = static_cast<int>(at / w.width % w.height);
  Real high = row_highest[at], low = row_lowest[at];
  for (int i = w.first(y); i <= w.last(y, w.height); ++i) {
    const int64_t there = at + int64_t(i - y) * w.width;
    high = pick_larger(high, row_highest[there]);
    low = pick_smaller(low, row_lowest[there]);
  }
  to.highest[at] = high;
  to.lowest[at] = low;
}

template <typename Real>
__global__ void __launch_bounds__(kWindowThreads)
    join_corners(const __grid_constant__ Windows<Real> w, const __grid_constant__ Extremes<Real> to) {
  const int64_t at = int64_t(blockIdx.x) * kWindowThreads + threadIdx.x;
  if (at >= w.pixels()) return;
  const int64_t line = at / w.width;
  const int y = static_cast<int>(line % w.height), x = static_cast<int>(at % w.width);
  const int64_t above = (line - y + w.first(y)) * w.width, below = (line - y + w.last(y, w.height)) * w.width;
  const int left = w.first(x), right = w.last(x, w.width);
  to.higher[at] = pick_larger(pick_larger(to.highest[above + left], to.highest[above + right]),
                              pick_larger(to.highest[below + left], to.highest[below + right]));
  to.lower[at] = pick_smaller(pick_smaller(to.lowest[above + left], to.lowest[above + right]),
                              pick_smaller(to.lowest[below + left], to.lowest[below + right]));
}

// A thread for each of some pixels. `at` is not checked for what lies beyond the pictures, as that would mean waiting
// for the device: it stays as it is, and whoever looks it up is told.
template <typename Real>
__global__ void __launch_bounds__(kWindowThreads)
    find_places(const __grid_constant__ Windows<Real> w, const Real* row_highest, const int64_t* at, int64_t count,
                int64_t* to) {
  const int64_t n = int64_t(blockIdx.x) * kWindowThreads + threadIdx.x;
  if (n >= count) return;
  to[n] = at[n] >= 0 && at[n] < w.pixels() ? find_largest(w, row_highest, at[n]) : at[n];
}

}  // namespace depthbokeh::cuda
