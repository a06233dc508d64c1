// Where the rows of a strip of disks begin and end, sixty-four neighbouring pixels at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "../aperture.h"
#include "../disk.h"

// GCC compiles the hot functions three times and picks at load time: the speed of -march=native, a portable binary.
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
#define DEPTHBOKEH_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define DEPTHBOKEH_CLONES
#endif

namespace depthbokeh {

constexpr int kLanes = 64;    // pixels of a row that are worked on together, also the width of a tile
constexpr int kChannels = 4;  // channels that are worked on together, interleaved

template <typename T>
class Buffer {  // uninitialised, aligned to cache lines
 public:
  explicit Buffer(size_t count) : data_(static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 63) / 64 * 64))) {
    if (!data_) throw std::bad_alloc();
  }
  T* get() { return data_.get(); }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
};

// Ends of rows, one entry per row and lane. `at` is the pixel (relative to the lane's own) that an end falls into
// and `part` the share of that pixel to the left of the end; `slope` the end's derivative to the radius.
template <typename Real>
struct RowEnds {
  int first;  // the row of entry 0
  Real *left_part, *right_part, *left_slope, *right_slope;
  int32_t *left_at, *right_at;
};

template <typename Real>
class RowBuffer {
 public:
  explicit RowBuffer(int rows) : reals_(4 * size_t(rows) * kLanes), ints_(2 * size_t(rows) * kLanes), rows_(rows) {}
  RowEnds<Real> ends() {
    const size_t n = size_t(rows_) * kLanes;
    Real* r = reals_.get();
    return {0, r, r + n, r + 2 * n, r + 3 * n, ints_.get(), ints_.get() + n};
  }

 private:
  Buffer<Real> reals_;
  Buffer<int32_t> ints_;
  int rows_;
};

// A quarter of the unit disk, cut on both sides: `rest` is what it encloses above height y, `angle` is 2 rest + y times
// its edge at y, `half` and `twice` what both are for the whole right half.
template <typename Real, bool kCut>
struct DiskQuarter {
  Real cut, top, beyond, half, twice;

  explicit DiskQuarter(Real cut_) : cut(cut_), top(1), beyond(0), half(Real(kPi / 2)), twice(Real(kPi)) {
    if (kCut) {
      top = std::sqrt(1 - cut * cut);
      beyond = Real(disk_cap(1.0 - double(top), std::sqrt(1.0 - double(top)))) + cut * top;
      half -= 2 * beyond;
      twice = 2 * half;
    }
  }
  template <bool kSlope>
  DEPTHBOKEH_INLINE void evaluate(Real edge, const Real* __restrict inverse, Real* __restrict rest,
                                  Real* __restrict angle) const {
    for (int i = 0; i < kLanes; ++i) {
      Real y = edge * inverse[i];
      y = y < top ? y : top;
      const Real w = 1 - y, root = std::sqrt(w);
      rest[i] = disk_cap(w, root);
      if (kSlope) angle[i] = disk_angle(w, root);
      if (kCut) {
        rest[i] += cut * y - beyond;
        if (kSlope) angle[i] += cut * y - 2 * beyond;
      }
    }
  }
};

// The same of a tabulated shape.
template <typename Real>
struct TableQuarter {
  const QuarterCell<Real>* cells;
  int count;
  Real top;
  Real half = Real(kPi / 2), twice = Real(kPi);

  template <bool kSlope>
  DEPTHBOKEH_INLINE void evaluate(Real edge, const Real* __restrict inverse, Real* __restrict rest,
                                  Real* __restrict angle) const {
    alignas(64) Real share[kLanes], height[kLanes];
    alignas(64) int32_t index[kLanes];
    const Real per_cell = count / top, last = count - 1;
    for (int i = 0; i < kLanes; ++i) {
      const Real y = edge * inverse[i];
      const Real position = (y < top ? y : top) * per_cell;
      index[i] = static_cast<int32_t>(position < last ? position : last);
      share[i] = position - index[i];
      height[i] = y < top ? y * per_cell : 0;
    }
    for (int i = 0; i < kLanes; ++i) {
      const QuarterCell<Real> c = cells[index[i]];
      const Real bend = share[i] * c.bend;
      rest[i] = c.rest - share[i] * (c.edge + bend);
      if (kSlope) angle[i] = 2 * rest[i] + height[i] * (c.edge + 2 * bend);
    }
  }
};

// Rows first..last (0 <= first) of a shape whose rows are the same above and below the centre, stretched by `height`
// and `width`. Lane i keeps its ends within columns lo..hi relative to lane 0. Left ends mirror the right ones:
// left_part = 1 - right_part.
template <bool kSlope, typename Real, typename Quarter>
DEPTHBOKEH_INLINE void mirrored_rows(const Quarter& quarter, const Real* __restrict radius, Real height, Real width,
                                     int first, int last, int lo, int hi, RowEnds<Real>& ends) {
  alignas(64) Real inverse[kLanes], area[kLanes], rate[kLanes];
  alignas(64) Real rest[kLanes], angle[kLanes], rest_below[kLanes], angle_below[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    const Real r = radius[i] * height;
    inverse[i] = 1 / r;
    area[i] = r * r * width;
    rate[i] = height * width * r;
  }
  ends.first = first;
  if (first) quarter.template evaluate<kSlope>(first - Real(0.5), inverse, rest_below, angle_below);
  const Real widest = hi - lo + 1;
  for (int dy = first; dy <= last; ++dy) {
    const size_t row = size_t(dy - first) * kLanes;
    Real* __restrict part = ends.right_part + row, * __restrict slope = ends.right_slope + row;
    int32_t* __restrict right = ends.right_at + row, * __restrict left = ends.left_at + row;
    quarter.template evaluate<kSlope>(dy + Real(0.5), inverse, rest, angle);
    for (int i = 0; i < kLanes; ++i) {
      // The middle row straddles the centre: its lower half mirrors the upper one.
      Real half = area[i] * ((dy ? rest_below[i] : quarter.half - rest[i]) - rest[i]) + Real(0.5);
      half = half < widest ? half : widest;
      const int32_t at = static_cast<int32_t>(half);
      part[i] = half - at;
      right[i] = std::min(at, hi - i);
      left[i] = -std::min(at, i - lo);
      rest_below[i] = rest[i];
      if (kSlope) {
        slope[i] = rate[i] * ((dy ? angle_below[i] : quarter.twice - angle[i]) - angle[i]);
        angle_below[i] = angle[i];
      }
    }
  }
}

// Splits the end `end` (relative to the centre of lane i's pixel) into pixel and part, within columns lo..hi.
template <typename Real>
DEPTHBOKEH_INLINE void place_end(Real end, int lo, int hi, int i, Real* __restrict part, int32_t* __restrict at) {
  const Real least = lo - i, most = hi - i;
  Real edge = end + Real(0.5);
  edge = edge > least ? edge : least;
  edge = edge < most ? edge : most;
  const Real floor = std::floor(edge);
  part[i] = edge - floor;
  at[i] = static_cast<int32_t>(floor);
}

// Rows first..last of a sheared ellipse.
template <bool kSlope, typename Real>
DEPTHBOKEH_INLINE void sheared_rows(const Real* __restrict radius, const Ellipse<Real>& e, int first, int last, int lo,
                                    int hi, RowEnds<Real>& ends) {
  alignas(64) Real r[kLanes], inverse[kLanes], area[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    r[i] = radius[i] * e.height;
    inverse[i] = 1 / r[i];
    area[i] = r[i] * r[i] * e.width;
  }
  const Real shear = e.shear, rate = e.height * e.width;
  ends.first = first;
  for (int dy = first; dy <= last; ++dy) {
    const size_t row = size_t(dy - first) * kLanes;
    Real* __restrict left_part = ends.left_part + row, * __restrict right_part = ends.right_part + row;
    Real* __restrict left_slope = ends.left_slope + row, * __restrict right_slope = ends.right_slope + row;
    int32_t* __restrict left_at = ends.left_at + row, * __restrict right_at = ends.right_at + row;
    // The middle row is twice its upper half; the others are what lies above their lower edge less that above their
    // upper one.
    const Real upper = std::abs(dy) + Real(0.5), lower = dy ? upper - 1 : 0, centre = shear * dy, twice = dy ? 1 : 2;
    for (int i = 0; i < kLanes; ++i) {
      Real w = 1 - upper * inverse[i], v = 1 - lower * inverse[i];
      w = w > 0 ? w : 0;
      v = v > 0 ? v : 0;
      const Real root_w = std::sqrt(w), root_v = std::sqrt(v);
      const Real half = twice * area[i] * (disk_cap(v, root_v) - disk_cap(w, root_w));
      place_end(centre + half, lo, hi, i, right_part, right_at);
      place_end(centre - half, lo, hi, i, left_part, left_at);
      if (kSlope) {
        const Real slope = twice * rate * r[i] * (disk_angle(v, root_v) - disk_angle(w, root_w));
        right_slope[i] = slope;
        left_slope[i] = -slope;
      }
    }
  }
}

// Rows first..last (0 <= first) of an aperture that is symmetric.
template <bool kSlope, typename Real>
DEPTHBOKEH_INLINE void symmetric_rows(const Real* __restrict radius, const Aperture<Real>& a,
                                      const Ellipse<Real>* ellipse, int first, int last, int lo, int hi,
                                      RowEnds<Real>& ends) {
  if (ellipse && ellipse->cut > 0) {
    const DiskQuarter<Real, true> quarter(ellipse->cut);
    mirrored_rows<kSlope>(quarter, radius, ellipse->height, ellipse->width, first, last, lo, hi, ends);
  } else if (ellipse) {
    const DiskQuarter<Real, false> quarter(0);
    mirrored_rows<kSlope>(quarter, radius, ellipse->height, ellipse->width, first, last, lo, hi, ends);
  } else {
    const TableQuarter<Real> quarter{a.quarter.data(), static_cast<int>(a.quarter.size()), a.top};
    mirrored_rows<kSlope>(quarter, radius, Real(1), Real(1), first, last, lo, hi, ends);
  }
}

// Rows first..last of a tabulated shape.
template <bool kSlope, typename Real>
DEPTHBOKEH_INLINE void table_rows(const Real* __restrict radius, const Aperture<Real>& a, int first, int last, int lo,
                                  int hi, RowEnds<Real>& ends) {
  alignas(64) Real inverse[kLanes], area[kLanes], share[kLanes], height[kLanes];
  alignas(64) Real before[kLanes][2], now[kLanes][2], moment_before[kLanes][2], moment[kLanes][2];
  alignas(64) int32_t index[kLanes];
  typedef Real Four __attribute__((vector_size(4 * sizeof(Real))));
  for (int i = 0; i < kLanes; ++i) {
    inverse[i] = 1 / radius[i];
    area[i] = radius[i] * radius[i];
  }
  const int count = static_cast<int>(a.cells.size());
  const Real bottom = a.bottom, top = a.top, per_cell = count / (top - bottom), offset = a.offset;
  const EdgeCell<Real>* cells = a.cells.data();
  ends.first = first;
  for (int dy = first - 1; dy <= last; ++dy) {
    const Real edge = dy + Real(0.5);
    for (int i = 0; i < kLanes; ++i) {
      const Real y = edge * inverse[i];
      Real inside = y > bottom ? y : bottom;
      inside = inside < top ? inside : top;
      const Real position = (inside - bottom) * per_cell;
      const int32_t cell = static_cast<int32_t>(position);
      index[i] = cell < count ? cell : count - 1;
      share[i] = position - index[i];
      height[i] = y == inside ? y * per_cell : 0;
    }
    // One cell at a time, left and right edge side by side: quicker than gathering sixteen cells at once.
    for (int i = 0; i < kLanes; ++i) {
      Four start, bend;
      std::memcpy(&start, cells[index[i]].area, sizeof(Four));
      std::memcpy(&bend, cells[index[i]].bend, sizeof(Four));
      const Four edge = __builtin_shufflevector(start, start, 2, 3, 2, 3), step = bend * share[i];
      const Four area_here = start + (edge + step) * share[i];
      std::memcpy(now[i], &area_here, sizeof(now[i]));
      if (kSlope) {
        const Four moment_here = (edge + 2 * step) * height[i];
        std::memcpy(moment[i], &moment_here, sizeof(moment[i]));
      }
    }
    if (dy >= first) {
      const size_t row = size_t(dy - first) * kLanes;
      Real* __restrict left_part = ends.left_part + row, * __restrict right_part = ends.right_part + row;
      Real* __restrict left_slope = ends.left_slope + row, * __restrict right_slope = ends.right_slope + row;
      int32_t* __restrict left_at = ends.left_at + row, * __restrict right_at = ends.right_at + row;
      const Real centre = a.shear * dy;
      for (int i = 0; i < kLanes; ++i) {
        const Real shift = centre + offset * radius[i];
        const Real left = area[i] * (now[i][0] - before[i][0]), right = area[i] * (now[i][1] - before[i][1]);
        place_end(shift + left, lo, hi, i, left_part, left_at);
        place_end(shift + right, lo, hi, i, right_part, right_at);
        if (kSlope) {
          left_slope[i] = offset + 2 * inverse[i] * left - radius[i] * (moment[i][0] - moment_before[i][0]);
          right_slope[i] = offset + 2 * inverse[i] * right - radius[i] * (moment[i][1] - moment_before[i][1]);
        }
      }
    }
    std::copy(&now[0][0], &now[0][0] + 2 * kLanes, &before[0][0]);
    if (kSlope) std::copy(&moment[0][0], &moment[0][0] + 2 * kLanes, &moment_before[0][0]);
  }
}

}  // namespace depthbokeh
