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

// Any other convex shape, in layers. Its edges, less the line through both tips, are linear within a cell; what they
// enclose from the first cell upwards is, at height start + t of a cell, area + t (edge + t bend). Row dy of radius r
// spans  offset * r + shear * dy + r^2 * (area at (dy + 1/2) / r - area at (dy - 1/2) / r)  for each of both edges.
template <typename Real>
struct EdgeCell {
  Real area[2], edge[2], bend[2];  // left and right
  Real start, height;
};

template <typename Real>
struct Aperture {
  static constexpr size_t kFewCells = 12;

  ApertureKind kind;
  Real extent;       // largest distance from the centre: below 1 / (2 extent) the whole shape lies within one pixel
  Real bottom, top;  // least and largest y
  bool mirrored;     // left to right
  bool turned;       // the same after half a turn; the cells are then those above the centre
  Real shear, offset;
  std::vector<Ellipse<Real>> ellipses;
  std::vector<EdgeCell<Real>> cells;

  Real reach() const { return std::max(-bottom, top); }
  bool few_cells() const { return cells.size() <= kFewCells; }  // else they are equally high

  // `data`: rows of eight doubles. Ellipses: (sign, height, width, shear, cut, extent) each.
  // Table: (bottom, top, shear, offset, extent), then (areas, edges, bends, start, height) of every cell.
  Aperture(ApertureKind kind_, const double* data, int64_t rows)
      : kind(kind_), extent(0), bottom(0), top(0), mirrored(true), turned(true), shear(0), offset(0) {
    if (kind == ApertureKind::kEllipses) {
      for (const double* p = data; p != data + 8 * rows; p += 8) {
        ellipses.push_back({Real(p[0]), Real(p[1]), Real(p[2]), Real(p[3]), Real(p[4])});
        extent = std::max(extent, Real(p[5]));
        top = std::max(top, ellipses.back().height * ellipses.back().top());
        bottom = -top;
        mirrored = mirrored && p[3] == 0;
      }
    } else if (kind == ApertureKind::kTable) {
      bottom = Real(data[0]), top = Real(data[1]), shear = Real(data[2]), offset = Real(data[3]);
      extent = Real(data[4]);
      find_symmetries(data, rows - 1);
      const double* first = data + 8 * (turned ? 1 + (rows - 1) / 2 : 1);
      for (const double* p = first; p != data + 8 * rows; p += 8)
        cells.push_back({{Real(p[0] - first[0]), Real(p[1] - first[1])},
                         {Real(p[2]), Real(p[3])},
                         {Real(p[4]), Real(p[5])},
                         Real(p[6]),
                         Real(p[7])});
    }
  }

 private:
  void find_symmetries(const double* data, int64_t count) {
    const auto same = [](double a, double b) { return std::abs(a - b) < 1e-9; };
    turned = count % 2 == 0 && same(data[0], -data[1]) && same(data[3], 0);
    mirrored = data[2] == 0 && data[3] == 0;
    for (int64_t i = 0; i < count; ++i) {
      const double *here = data + 8 * (1 + i), *opposite = data + 8 * (count - i);
      mirrored = mirrored && same(here[2], -here[3]) && same(here[4], -here[5]);
      // The left edge where this cell begins is the opposite one's right edge where that ends.
      turned = turned && same(here[7], opposite[7]) && same(here[2], -opposite[3] - 2 * opposite[7] * opposite[5]) &&
               same(here[4], opposite[5]);
    }
  }
};

}  // namespace depthbokeh
