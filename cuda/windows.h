// The largest and the smallest value around every pixel: shared by the CPU and CUDA kernels. Defined in
// depthbokeh/windows.py.
#pragma once

#include <cstdint>

#include "disk.h"

namespace depthbokeh {

// Maps, and the squares of 2 reach + 1 pixels around each of theirs, which end at the border.
template <typename Real>
struct Windows {
  const Real* values;  // (N, H, W)
  int64_t count;
  int height, width, reach;

  DEPTHBOKEH_INLINE int64_t plane() const { return int64_t(height) * width; }
  DEPTHBOKEH_INLINE int64_t pixels() const { return count * plane(); }
  DEPTHBOKEH_INLINE int first(int at) const { return at > reach ? at - reach : 0; }
  DEPTHBOKEH_INLINE int last(int at, int side) const { return at < side - 1 - reach ? at + reach : side - 1; }
};

// Within one window and within that of twice the reach.
template <typename Real>
struct Extremes {
  Real *highest, *lowest, *higher, *lower;
};

// A value that is not a number stays.
template <typename Real>
DEPTHBOKEH_INLINE Real pick_larger(Real a, Real b) {
  return a > b || a != a ? a : b;
}

template <typename Real>
DEPTHBOKEH_INLINE Real pick_smaller(Real a, Real b) {
  return a < b || a != a ? a : b;
}

// Where the largest value around pixel `at` is, of several the first, by the largest ones of every row.
template <typename Real>
DEPTHBOKEH_INLINE int64_t find_largest(const Windows<Real>& w, const Real* row_highest, int64_t at) {
  const int64_t line = at / w.width, top = line / w.height * w.height;  // of the picture
  const int y = static_cast<int>(line - top), x = static_cast<int>(at % w.width);
  int row = w.first(y);
  for (int i = row + 1; i <= w.last(y, w.height); ++i)
    if (row_highest[(top + i) * w.width + x] > row_highest[(top + row) * w.width + x]) row = i;
  const int64_t begin = (top + row) * w.width;
  int column = w.first(x);
  for (int i = column + 1; i <= w.last(x, w.width); ++i)
    if (w.values[begin + i] > w.values[begin + column]) column = i;
  return begin + column;
}

}  // namespace depthbokeh
