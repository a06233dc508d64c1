// Windows are joined in pairs, log2(reach) times in either direction, in strips of rows that stay in the cache.
#include "windows.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "rows.h"

namespace depthbokeh {
namespace {

constexpr int kStrip = 64;  // rows

// Calls join(step) for the steps that make windows of `length` out of single values.
template <typename Join>
DEPTHBOKEH_INLINE void join_windows(int length, const Join& join) {
  for (int window = 1; window < length;) {
    const int step = std::min(window, length - window);
    join(step);
    window += step;
  }
}

// to[i] = the largest, or smallest, of to[i] and of what lies behind it; `ahead` may be the same row, farther on.
template <bool kLargest, typename Real>
DEPTHBOKEH_INLINE void join_rows(Real* to, const Real* ahead, int count) {
  for (int i = 0; i < count; ++i) to[i] = kLargest ? pick_larger(to[i], ahead[i]) : pick_smaller(to[i], ahead[i]);
}

// The extreme of every pixel's window in its row; `scratch` has `reach` more values on either side.
template <bool kLargest, typename Real>
DEPTHBOKEH_INLINE void join_row(const Windows<Real>& w, const Real* from, Real* scratch) {
  const int padded = w.width + 2 * w.reach;
  std::fill(scratch, scratch + w.reach, from[0]);
  std::copy(from, from + w.width, scratch + w.reach);
  std::fill(scratch + w.reach + w.width, scratch + padded, from[w.width - 1]);
  int left = padded;
  join_windows(2 * w.reach + 1, [&](int step) {
    left -= step;
    join_rows<kLargest>(scratch, scratch + step, left);
  });
}

// Rows top..bottom of a picture.
template <bool kLargest, typename Real>
DEPTHBOKEH_INLINE void join_strip(const Windows<Real>& w, int64_t picture, int top, int bottom, Real* scratch,
                                  Real* to) {
  const int64_t stride = w.width + 2 * int64_t(w.reach);
  const Real* from = w.values + picture * w.plane();
  int rows = bottom - top + 2 * w.reach;
  for (int i = 0; i < rows; ++i) {
    const int y = std::min(std::max(top - w.reach + i, 0), w.height - 1);
    join_row<kLargest>(w, from + int64_t(y) * w.width, scratch + i * stride);
  }
  join_windows(2 * w.reach + 1, [&](int step) {
    rows -= step;
    for (int i = 0; i < rows; ++i) join_rows<kLargest>(scratch + i * stride, scratch + (i + step) * stride, w.width);
  });
  for (int y = top; y < bottom; ++y)
    std::copy_n(scratch + (y - top) * stride, w.width, to + picture * w.plane() + int64_t(y) * w.width);
}

// The window of twice the reach is the four around the corners of the smaller one.
template <bool kLargest, typename Real>
DEPTHBOKEH_INLINE void join_corners(const Windows<Real>& w, int64_t picture, int y, const Real* from, Real* scratch,
                                    Real* to) {
  const Real* above = from + picture * w.plane() + int64_t(w.first(y)) * w.width;
  const Real* below = from + picture * w.plane() + int64_t(w.last(y, w.height)) * w.width;
  for (int x = 0; x < w.width; ++x)
    scratch[x] = kLargest ? pick_larger(above[x], below[x]) : pick_smaller(above[x], below[x]);
  Real* row = to + picture * w.plane() + int64_t(y) * w.width;
  const auto join = [&](int x) {
    const Real left = scratch[w.first(x)], right = scratch[w.last(x, w.width)];
    row[x] = kLargest ? pick_larger(left, right) : pick_smaller(left, right);
  };
  const int inner = w.width - w.reach;
  for (int x = 0; x < std::min(w.reach, w.width); ++x) join(x);
  for (int x = w.reach; x < inner; ++x) {
    const Real left = scratch[x - w.reach], right = scratch[x + w.reach];
    row[x] = kLargest ? pick_larger(left, right) : pick_smaller(left, right);
  }
  for (int x = std::max(inner, w.reach); x < w.width; ++x) join(x);
}

#define DEPTHBOKEH_WINDOWS(Real)                                                                                 \
  DEPTHBOKEH_CLONES void strip_of(const Windows<Real>& w, int64_t picture, int top, int bottom, Real* scratch,   \
                                  const Extremes<Real>& to) {                                                    \
    join_strip<true>(w, picture, top, bottom, scratch, to.highest);                                              \
    join_strip<false>(w, picture, top, bottom, scratch, to.lowest);                                              \
  }                                                                                                              \
  DEPTHBOKEH_CLONES void corners_of(const Windows<Real>& w, int64_t picture, int top, int bottom, Real* scratch, \
                                    const Extremes<Real>& to) {                                                  \
    for (int y = top; y < bottom; ++y) {                                                                         \
      join_corners<true>(w, picture, y, to.highest, scratch, to.higher);                                         \
      join_corners<false>(w, picture, y, to.lowest, scratch, to.lower);                                          \
    }                                                                                                            \
  }
DEPTHBOKEH_WINDOWS(float)
DEPTHBOKEH_WINDOWS(double)
#undef DEPTHBOKEH_WINDOWS

// Calls work(picture, top, bottom, scratch) for all strips of all pictures.
template <typename Real, typename Work>
void for_strips(const Windows<Real>& w, int64_t rows, const Work& work) {
  const int64_t strips = (w.height + kStrip - 1) / kStrip;
  torch::stable::parallel_for(0, w.count * strips, 1, [&](int64_t strip, int64_t last) {
    Buffer<Real> scratch(rows * (w.width + 2 * int64_t(w.reach)));
    for (; strip < last; ++strip) {
      const int top = static_cast<int>(strip % strips) * kStrip;
      work(strip / strips, top, std::min(top + kStrip, w.height), scratch.get());
    }
  });
}

}  // namespace

template <typename Real>
void local_extremes(const Windows<Real>& w, const Extremes<Real>& to) {
  for_strips(w, kStrip + 2 * int64_t(w.reach), [&](int64_t picture, int top, int bottom, Real* scratch) {
    strip_of(w, picture, top, bottom, scratch, to);
  });
  for_strips(w, 1, [&](int64_t picture, int top, int bottom, Real* scratch) {
    corners_of(w, picture, top, bottom, scratch, to);
  });
}

#define DEPTHBOKEH_WINDOWS(Real) template void local_extremes(const Windows<Real>&, const Extremes<Real>&);
DEPTHBOKEH_WINDOWS(float)
DEPTHBOKEH_WINDOWS(double)
#undef DEPTHBOKEH_WINDOWS

}  // namespace depthbokeh
