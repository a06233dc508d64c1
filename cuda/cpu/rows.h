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

constexpr int kLanes = 64;    // pixels of a row that are worked on together
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

// The ends of one row of every lane. `at` is the pixel (relative to the lane's own) that an end falls into and `part`
// the share of that pixel to the left of the end; `slope` the end's derivative to the radius.
template <typename Real>
struct RowEnds {
  alignas(64) int32_t right_at[kLanes];
  Real right_part[kLanes];
  int32_t left_at[kLanes];
  Real left_part[kLanes], right_slope[kLanes], left_slope[kLanes];
};

// Rows from `first` on. Shapes that are mirrored have right ends only, those that are the same after half a turn rows
// from 0 on only.
template <typename Real>
struct RowTable {
  RowEnds<Real>* ends;
  int first;
  DEPTHBOKEH_INLINE RowEnds<Real>& operator[](int dy) const { return ends[dy - first]; }
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

// Splits the end `end`, relative to the middle of its lane's pixel, into pixel and part; at most `widest` away.
template <typename Real>
DEPTHBOKEH_INLINE void place_end(Real end, Real widest, Real& part, int32_t& at) {
  Real edge = end + Real(0.5);
  edge = edge > -widest ? edge : -widest;
  edge = edge < widest ? edge : widest;
  const Real floor = std::floor(edge);
  part = edge - floor;
  at = static_cast<int32_t>(floor);
}

// Rows first..last (0 <= first) of an ellipse.
template <bool kSlope, bool kMirrored, typename Real, typename Quarter>
DEPTHBOKEH_INLINE void ellipse_rows(const Quarter& quarter, const Ellipse<Real>& e, const Real* __restrict radius,
                                    int first, int last, Real widest, RowTable<Real>& rows) {
  alignas(64) Real inverse[kLanes], area[kLanes], rate[kLanes];
  alignas(64) Real rest[kLanes], angle[kLanes], rest_below[kLanes], angle_below[kLanes];
  const Real height = e.height, width = e.width, shear = e.shear;
  for (int i = 0; i < kLanes; ++i) {
    const Real r = radius[i] * height;
    inverse[i] = 1 / r;
    area[i] = r * r * width;
    rate[i] = height * width * r;
  }
  rows.first = first;
  if (first) quarter.template evaluate<kSlope>(first - Real(0.5), inverse, rest_below, angle_below);
  for (int dy = first; dy <= last; ++dy) {
    RowEnds<Real>& ends = rows[dy];
    Real* __restrict right_part = ends.right_part, * __restrict right_slope = ends.right_slope;
    Real* __restrict left_part = ends.left_part, * __restrict left_slope = ends.left_slope;
    int32_t* __restrict right_at = ends.right_at, * __restrict left_at = ends.left_at;
    const Real centre = shear * dy;
    quarter.template evaluate<kSlope>(dy + Real(0.5), inverse, rest, angle);
    for (int i = 0; i < kLanes; ++i) {
      // The middle row straddles the centre: its lower half mirrors the upper one.
      const Real half = area[i] * ((dy ? rest_below[i] : quarter.half - rest[i]) - rest[i]);
      if (kMirrored) {
        const Real edge = half + Real(0.5) < widest ? half + Real(0.5) : widest;
        right_at[i] = static_cast<int32_t>(edge);
        right_part[i] = edge - right_at[i];
      } else {
        place_end(centre + half, widest, right_part[i], right_at[i]);
        place_end(centre - half, widest, left_part[i], left_at[i]);
      }
      rest_below[i] = rest[i];
      if (kSlope) {
        right_slope[i] = rate[i] * ((dy ? angle_below[i] : quarter.twice - angle[i]) - angle[i]);
        if (!kMirrored) left_slope[i] = -right_slope[i];
        angle_below[i] = angle[i];
      }
    }
  }
}

// What a tabulated shape's left and right edge enclose up to a height, and that height times the edge there.
template <typename Real>
struct Enclosed {
  alignas(64) Real area[2][kLanes], moment[2][kLanes];
};

// The sum of what every cell holds below the height, of both edges or the right one.
template <bool kSlope, bool kMirrored, typename Real>
DEPTHBOKEH_INLINE void add_cells(const Aperture<Real>& a, Real edge, const Real* inverse, Enclosed<Real>& to) {
  constexpr int kVector = 64 / sizeof(Real);
  typedef Real Vector __attribute__((vector_size(64)));
  const EdgeCell<Real>* cells = a.cells.data();
  const int count = static_cast<int>(a.cells.size());
  const Vector zero = {};
  for (int i = 0; i < kLanes; i += kVector) {
    Vector y, area[2] = {}, change[2] = {};
    std::memcpy(&y, inverse + i, sizeof(y));
    y *= edge;
    for (int k = 0; k < count; ++k) {
      const Vector least = zero + cells[k].start, most = zero + cells[k].height;
      Vector t = y - least;
      t = t > zero ? t : zero;
      t = t < most ? t : most;
      for (int side = kMirrored; side < 2; ++side) {
        const Vector bend = t * cells[k].bend[side];
        area[side] += t * (cells[k].edge[side] + bend);
        if (kSlope) change[side] += bend;
      }
    }
    const Vector height = (y >= zero + a.bottom) & (y <= zero + a.top) ? y : zero;
    for (int side = kMirrored; side < 2; ++side) {
      std::memcpy(to.area[side] + i, &area[side], sizeof(Vector));
      const Vector moment = height * (cells[0].edge[side] + 2 * change[side]);
      if (kSlope) std::memcpy(to.moment[side] + i, &moment, sizeof(Vector));
    }
  }
}

// The same of many cells of equal height, one lane at a time, left and right edge side by side: quicker than gathering
// sixteen cells at once.
template <bool kSlope, typename Real>
DEPTHBOKEH_INLINE void look_up(const Aperture<Real>& a, Real edge, const Real* __restrict inverse, Enclosed<Real>& to) {
  typedef Real Four __attribute__((vector_size(4 * sizeof(Real))));
  alignas(64) Real share[kLanes], height[kLanes];
  alignas(64) int32_t index[kLanes];
  const EdgeCell<Real>* cells = a.cells.data();
  const Real bottom = cells[0].start, top = a.top, step = cells[0].height, per_cell = 1 / step;
  const int32_t last = static_cast<int32_t>(a.cells.size()) - 1;
  for (int i = 0; i < kLanes; ++i) {
    const Real y = edge * inverse[i];
    Real inside = y > bottom ? y : bottom;
    inside = inside < top ? inside : top;
    const Real position = (inside - bottom) * per_cell;
    index[i] = std::min(static_cast<int32_t>(position), last);
    share[i] = (position - index[i]) * step;
    height[i] = y == inside ? y : 0;
  }
  for (int i = 0; i < kLanes; ++i) {
    Four start, bend;
    std::memcpy(&start, cells[index[i]].area, sizeof(Four));
    std::memcpy(&bend, cells[index[i]].bend, sizeof(Four));
    const Four slope = __builtin_shufflevector(start, start, 2, 3, 2, 3), change = bend * share[i];
    const Four area = start + (slope + change) * share[i], moment = (slope + 2 * change) * height[i];
    for (int side = 0; side < 2; ++side) {
      to.area[side][i] = area[side];
      if (kSlope) to.moment[side][i] = moment[side];
    }
  }
}

// Rows first..last of a tabulated shape.
template <bool kSlope, bool kMirrored, bool kTurned, bool kFew, typename Real>
DEPTHBOKEH_INLINE void table_rows(const Aperture<Real>& a, const Real* __restrict radius, int first, int last,
                                  Real widest, RowTable<Real>& rows) {
  alignas(64) Real inverse[kLanes];
  Enclosed<Real> enclosed[2];
  for (int i = 0; i < kLanes; ++i) inverse[i] = 1 / radius[i];
  const auto enclose = [&](Real edge, Enclosed<Real>& to) __attribute__((always_inline)) {
    if (kFew)
      add_cells<kSlope, kMirrored>(a, edge, inverse, to);
    else
      look_up<kSlope>(a, edge, inverse, to);
  };
  rows.first = first;
  if (!kTurned || first) enclose(first - Real(0.5), enclosed[1]);
  const Real offset = a.offset;
  for (int dy = first; dy <= last; ++dy) {
    const int step = (dy - first) % 2;
    Enclosed<Real>&now = enclosed[step], &before = enclosed[1 - step];
    enclose(dy + Real(0.5), now);
    const Real centre = a.shear * dy;
    for (int side = kMirrored; side < 2; ++side) {
      RowEnds<Real>& ends = rows[dy];
      Real* __restrict part = side ? ends.right_part : ends.left_part;
      Real* __restrict slope = side ? ends.right_slope : ends.left_slope;
      int32_t* __restrict at = side ? ends.right_at : ends.left_at;
      const bool middle = kTurned && dy == 0;  // what is below the centre mirrors the other edge above it
      const Real sign = kMirrored && middle ? -1 : 1;
      const Enclosed<Real>& below = middle ? now : before;
      const int edge = middle && !kMirrored ? 1 - side : side;
      for (int i = 0; i < kLanes; ++i) {
        const Real mean = radius[i] * (now.area[side][i] - sign * below.area[edge][i]);
        place_end(centre + radius[i] * (offset + mean), widest, part[i], at[i]);
        if (kSlope) slope[i] = offset + 2 * mean - radius[i] * (now.moment[side][i] - sign * below.moment[edge][i]);
      }
    }
  }
}

// Rows first..last of an aperture of the given symmetry (0 <= first if it is the same after half a turn), their ends at
// most `widest` away.
template <bool kSlope, bool kMirrored, bool kTurned, typename Real>
DEPTHBOKEH_INLINE void find_rows(const Aperture<Real>& a, const Ellipse<Real>* ellipse, const Real* __restrict radius,
                                 int first, int last, Real widest, RowTable<Real>& rows) {
  if (kMirrored && ellipse && ellipse->cut > 0)
    ellipse_rows<kSlope, kMirrored>(DiskQuarter<Real, true>(ellipse->cut), *ellipse, radius, first, last, widest, rows);
  else if (kTurned && ellipse)
    ellipse_rows<kSlope, kMirrored>(DiskQuarter<Real, false>(0), *ellipse, radius, first, last, widest, rows);
  else if (a.few_cells())
    table_rows<kSlope, kMirrored, kTurned, true>(a, radius, first, last, widest, rows);
  else
    table_rows<kSlope, kMirrored, kTurned, false>(a, radius, first, last, widest, rows);
}

}  // namespace depthbokeh
