// What the kernels know of an aperture: rows of a unit shape of area pi, given by where they begin and end.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "disk.h"

namespace depthbokeh {

enum class ApertureKind : int64_t { kEllipses = 0, kTable = 1, kGaussian = 2 };

// One ellipse: row dy of radius r spans  shear * dy -/+ width * h(dy; height * r)  with h the disk's mean half-width,
// less `cut` times its radius where anything is left: two circles' common part is a circle cut on both sides.
template <typename Real>
struct Ellipse {
  Real sign;  // -1 takes a hole out of the one before
  Real height;
  Real width;
  Real shear;
  Real cut;

  Real top() const { return std::sqrt(1 - cut * cut); }  // where the cut leaves nothing, over the height
};

// Any other convex shape. Its edges, sheared so that both tips lie on x = 0, are linear within a cell; what they
// enclose from `bottom` upwards is, at the share t of a cell, area + t (edge + t bend). Row dy of radius r spans
//   offset * r + shear * dy + r^2 * (area at (dy + 1/2) / r - area at (dy - 1/2) / r)   for each of both edges.
template <typename Real>
struct EdgeCell {
  Real area[2], edge[2], bend[2], unused[2];  // left and right
};

// The upper right quarter of a shape that is its own mirror image both ways: what a cell and all above it enclose is,
// at the share t of the cell, rest - t (edge + t bend).
template <typename Real>
struct QuarterCell {
  Real rest, edge, bend, unused;
};

template <typename Real>
struct Aperture {
  ApertureKind kind;
  Real extent;  // largest distance from the centre: below 1 / (2 extent) the whole shape lies within one pixel
  Real reach;   // largest |y|
  std::vector<Ellipse<Real>> ellipses;
  Real bottom, top, shear, offset;
  std::vector<EdgeCell<Real>> cells;
  std::vector<QuarterCell<Real>> quarter;

  // Rows are the same above and below the centre and mirrored left to right.
  bool symmetric() const { return kind == ApertureKind::kEllipses ? shear == 0 : !quarter.empty(); }

  // `data`: rows of eight doubles, the last ones unused. Ellipses: (sign, height, width, shear, cut) each.
  // Table: (bottom, top, shear, offset, extent), then one row for every cell.
  Aperture(ApertureKind kind_, const double* data, int64_t rows) : kind(kind_), extent(0), reach(0) {
    bottom = top = shear = offset = 0;
    if (kind == ApertureKind::kEllipses) {
      for (const double* p = data; p != data + 8 * rows; p += 8) {
        ellipses.push_back({Real(p[0]), Real(p[1]), Real(p[2]), Real(p[3]), Real(p[4])});
        const double tall = p[1] * std::sqrt(1 - p[4] * p[4]);
        extent = std::max(extent, Real(std::max(tall, std::hypot(p[1] * p[2] * (1 - p[4]), p[1] * p[3]))));
        reach = std::max(reach, Real(tall));
        shear = Real(p[3]);
      }
    } else if (kind == ApertureKind::kTable) {
      bottom = Real(data[0]), top = Real(data[1]), shear = Real(data[2]), offset = Real(data[3]);
      extent = Real(data[4]);
      reach = std::max(-bottom, top);
      for (const double* p = data + 8; p != data + 8 * rows; p += 8)
        cells.push_back({{Real(p[0]), Real(p[1])}, {Real(p[2]), Real(p[3])}, {Real(p[4]), Real(p[5])}, {}});
      if (mirrored(data, rows))
        for (const double* p = data + 8 * (1 + (rows - 1) / 2); p != data + 8 * rows; p += 8)
          quarter.push_back({Real(kPi / 2 - p[1]), Real(p[3]), Real(p[5]), 0});
    }
  }

 private:
  // Whether a table's left edge mirrors the right one, and its lower half the upper one.
  static bool mirrored(const double* data, int64_t rows) {
    const int64_t count = rows - 1;
    const auto same = [](double a, double b) { return std::abs(a - b) < 1e-9; };
    if (count % 2 || !same(data[0], -data[1]) || data[2] != 0 || data[3] != 0) return false;
    for (int64_t i = 0; i < count; ++i) {
      const double *here = data + 8 * (1 + i), *opposite = data + 8 * (count - i);
      const double upper_edge = opposite[3] + 2 * opposite[5];  // where the opposite cell ends
      if (!same(here[2], -here[3]) || !same(here[4], -here[5]) || !same(here[3], upper_edge)) return false;
    }
    return true;
  }
};

}  // namespace depthbokeh
