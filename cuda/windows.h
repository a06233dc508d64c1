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

// The first pixel of a window, row by row, that has a value; the pixel itself if none has.
template <typename Real>
DEPTHBOKEH_INLINE int64_t find_value(const Windows<Real>& w, int64_t at, Real value) {
  const int64_t line = at / w.width, top = line / w.height * w.height;  // of the picture
  const int y = static_cast<int>(line - top), x = static_cast<int>(at % w.width);
  const int left = w.first(x), right = w.last(x, w.width);
  for (int row = w.first(y); row <= w.last(y, w.height); ++row) {
    const Real* values = w.values + (top + row) * w.width;
    bool found = false;  // the whole row at once, which is quicker
    for (int i = left; i <= right; ++i) found |= values[i] == value;
    if (!found) continue;
    int column = left;
    while (values[column] != value) ++column;
    return (top + row) * w.width + column;
  }
  return at;
}

}  // namespace depthbokeh
