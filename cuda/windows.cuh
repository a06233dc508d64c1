// The largest and the smallest value around every pixel, in CUDA: along rows, along columns, and the window of twice
// the reach from the four around its corners. A thread owns a pixel.
#pragma once

#include "device.cuh"
#include "windows.h"

namespace depthbokeh::cuda {

constexpr int kWindowThreads = 256;

// Within every pixel's row.
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
  lowest[at] = low;
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

// Where an extreme comes from: the column within a pixel's row, or the row of those that hold the rows' extremes.
struct Origins {
  int *highest, *lowest;
};

template <typename Real>
struct ExtremeGrads {
  const Real *highest, *lowest;
};

// The extremes within every pixel's row and the columns that the first of them are in.
template <typename Real>
__global__ void __launch_bounds__(kWindowThreads) locate_in_rows(const __grid_constant__ Windows<Real> w, Real* highest,
                                                                 Real* lowest, const __grid_constant__ Origins to) {
  const int64_t at = int64_t(blockIdx.x) * kWindowThreads + threadIdx.x;
  if (at >= w.pixels()) return;
  const int x = static_cast<int>(at % w.width);
  const Real* row = w.values + at - x;
  int high = w.first(x), low = high;
  for (int i = high + 1; i <= w.last(x, w.width); ++i) {
    if (row[i] > row[high]) high = i;
    if (row[i] < row[low]) low = i;
  }
  highest[at] = row[high];
  lowest[at] = row[low];
  to.highest[at] = high;
  to.lowest[at] = low;
}

// The rows that the extremes of every pixel's window are in.
template <typename Real>
__global__ void __launch_bounds__(kWindowThreads)
    locate_in_columns(const __grid_constant__ Windows<Real> w, const Real* row_highest, const Real* row_lowest,
                      const __grid_constant__ Origins to) {
  const int64_t at = int64_t(blockIdx.x) * kWindowThreads + threadIdx.x;
  if (at >= w.pixels()) return;
  const int y = static_cast<int>(at / w.width % w.height);
  const int64_t column = at - int64_t(y) * w.width;
  int high = w.first(y), low = high;
  for (int i = high + 1; i <= w.last(y, w.height); ++i) {
    const int64_t there = column + int64_t(i) * w.width;
    if (row_highest[there] > row_highest[column + int64_t(high) * w.width]) high = i;
    if (row_lowest[there] < row_lowest[column + int64_t(low) * w.width]) low = i;
  }
  to.highest[at] = high;
  to.lowest[at] = low;
}

// The gradients to the rows' extremes: every one gathers those of the windows that have found theirs in it.
template <typename Real>
__global__ void __launch_bounds__(kWindowThreads)
    gather_in_columns(const __grid_constant__ Windows<Real> w, const __grid_constant__ Origins rows,
                      const __grid_constant__ ExtremeGrads<Real> grads, Real* to_highest, Real* to_lowest) {
  const int64_t at = int64_t(blockIdx.x) * kWindowThreads + threadIdx.x;
  if (at >= w.pixels()) return;
  const int y = static_cast<int>(at / w.width % w.height);
  Real high = 0, low = 0;
  for (int i = w.first(y); i <= w.last(y, w.height); ++i) {
    const int64_t there = at + int64_t(i - y) * w.width;
    if (rows.highest[there] == y) high += grads.highest[there];
    if (rows.lowest[there] == y) low += grads.lowest[there];
  }
  to_highest[at] = high;
  to_lowest[at] = low;
}

// From them to the values, whose gradients are added to.
template <typename Real>
__global__ void __launch_bounds__(kWindowThreads)
    gather_in_rows(const __grid_constant__ Windows<Real> w, const __grid_constant__ Origins columns,
                   const __grid_constant__ ExtremeGrads<Real> grads, Real* to) {
  const int64_t at = int64_t(blockIdx.x) * kWindowThreads + threadIdx.x;
  if (at >= w.pixels()) return;
  const int x = static_cast<int>(at % w.width);
  Real sum = 0;
  for (int i = w.first(x); i <= w.last(x, w.width); ++i) {
    const int64_t there = at - x + i;
    if (columns.highest[there] == x) sum += grads.highest[there];
    if (columns.lowest[there] == x) sum += grads.lowest[there];
  }
  to[at] += sum;
}

}  // namespace depthbokeh::cuda
