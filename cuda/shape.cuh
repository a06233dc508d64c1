// An aperture as the CUDA kernels read it, and where its rows end: the mathematics of cpu/rows.h for one row of one
// pixel.
#pragma once

#include "aperture.h"
#include "device.cuh"

namespace depthbokeh::cuda {

template <typename Real>
struct EllipsePart : Ellipse<Real> {
  Real inverse_height, scale;  // the height's square times the width
  Real peak;                   // where the cut leaves nothing, over the height
  Real beyond;  // what a quarter of the uncut disk encloses between the cut and the rim, down to the centre
  Real half;    // area of the right half
};

template <typename Real>
struct alignas(16) TableCell : EdgeCell<Real> {};

template <typename Real>
struct Shape {
  static constexpr int kMostEllipses = 4;

  Real extent, bottom, top;  // see Aperture
  Real shear, offset;
  int ellipses;  // 0: a table
  int cells;
  Real cells_per_height;        // where there are many
  const TableCell<Real>* cell;  // in device memory
  EllipsePart<Real> ellipse[kMostEllipses];

  // Whether anything of a pixel leaves it.
  DEPTHBOKEH_INLINE bool blurs(Real r) const { return r * extent > Real(0.5) && is_finite(r); }
  DEPTHBOKEH_INLINE int rows_above(Real r, int most) const { return count(-bottom * r, most); }
  DEPTHBOKEH_INLINE int rows_below(Real r, int most) const { return count(top * r, most); }
  DEPTHBOKEH_INLINE int columns(Real r, int most) const { return count(extent * r, most) + 1; }

 private:
  DEPTHBOKEH_INLINE static int count(Real reach, int most) {
    return static_cast<int>(smaller(reach + Real(0.5), Real(most)));
  }
};

// The square root and the inverse of what is not negative; in float to an ulp, and nothing of what is below 1e-38.
DEPTHBOKEH_INLINE double quick_root(double v) { return std::sqrt(v); }
DEPTHBOKEH_INLINE double quick_inverse(double v) { return 1 / v; }
#ifdef __CUDA_ARCH__
__device__ __forceinline__ float quick_root(float v) {
  float root;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(root) : "f"(v));
  return root;
}
__device__ __forceinline__ float quick_inverse(float v) {
  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(v));
  return inverse;
}
#else
DEPTHBOKEH_INLINE float quick_root(float v) { return std::sqrt(v); }
DEPTHBOKEH_INLINE float quick_inverse(float v) { return 1 / v; }
#endif

// A radius and its inverse.
template <typename Real>
struct Size {
  Real radius, inverse;
};

// The ends of a row of the shape, from the middle of its pixel, and their derivatives to the radius.
template <typename Real>
struct Row {
  Real left, right, left_slope, right_slope;
};

// The outlines below have the same members: how many `parts` are to be added up, each with a sign; `Level`, what a part
// of the shape of radius r encloses up to a height; and the row of a pixel between two levels, dy - 1/2 and dy + 1/2.

template <typename Real>
struct EllipseOutline {
  // What a quarter of the unit shape encloses beyond the height |y|, and twice that plus |y| times the edge there.
  struct Level {
    Real rest, angle;

    __device__ Level of_next_lane(bool slope) const {
      return {__shfl_down_sync(kWholeWarp, rest, 1), slope ? __shfl_down_sync(kWholeWarp, angle, 1) : 0};
    }
  };

  const EllipsePart<Real> part;

  DEPTHBOKEH_INLINE static int parts(const Shape<Real>& shape) { return shape.ellipses; }
  DEPTHBOKEH_INLINE EllipseOutline(const Shape<Real>& shape, int index) : part(shape.ellipse[index]) {}
  DEPTHBOKEH_INLINE Real sign() const { return part.sign; }

  DEPTHBOKEH_INLINE Level level(Real dy, const Size<Real>& size, bool slope) const {
    const Real y = smaller(std::abs(dy) * part.inverse_height * size.inverse, part.peak);
    const Real w = 1 - y, root = quick_root(w);
    const Real kept = part.cut * y - part.beyond;
    return {disk_cap(w, root) + kept, slope ? disk_angle(w, root) + kept - part.beyond : 0};
  }

  DEPTHBOKEH_INLINE Row<Real> row(int dy, const Size<Real>& size, const Level& lower, const Level& upper) const {
    // The middle row straddles the centre. Elsewhere the level nearer to the centre has more beyond it.
    const Real side = dy ? -1 : 1, middle = dy ? 0 : part.half;
    const Real area = std::abs(middle - lower.rest - side * upper.rest);
    const Real angle = std::abs(2 * middle - lower.angle - side * upper.angle);
    const Real centre = part.shear * dy, half = size.radius * size.radius * (part.scale * area);
    const Real moved = size.radius * (part.scale * angle);
    return {centre - half, centre + half, -moved, moved};
  }
};

template <typename Real>
struct TableOutline {
  // What the left and the right edge enclose below a height, and that height times the edge there.
  struct Level {
    Real area[2], moment[2];

    __device__ Level of_next_lane(bool slope) const {
      Level next = {};
      for (int side = 0; side < 2; ++side) {
        next.area[side] = __shfl_down_sync(kWholeWarp, area[side], 1);
        if (slope) next.moment[side] = __shfl_down_sync(kWholeWarp, moment[side], 1);
      }
      return next;
    }
  };

  const Shape<Real>& shape;

  DEPTHBOKEH_INLINE static int parts(const Shape<Real>&) { return 1; }
  DEPTHBOKEH_INLINE TableOutline(const Shape<Real>& shape_, int) : shape(shape_) {}
  DEPTHBOKEH_INLINE Real sign() const { return 1; }

  DEPTHBOKEH_INLINE Level level(Real dy, const Size<Real>& size, bool) const {
    const Real y = dy * size.inverse;
    const Real inside = larger(shape.bottom, smaller(y, shape.top));
    const TableCell<Real> cell = shape.cell[find(inside)];
    const Real t = inside - cell.start, height = y == inside ? y : 0;
    Level found;
    for (int side = 0; side < 2; ++side) {
      const Real bend = t * cell.bend[side];
      found.area[side] = cell.area[side] + t * (cell.edge[side] + bend);
      found.moment[side] = height * (cell.edge[side] + 2 * bend);
    }
    return found;
  }

  DEPTHBOKEH_INLINE Row<Real> row(int dy, const Size<Real>& size, const Level& lower, const Level& upper) const {
    Real end[2], slope[2];
    for (int side = 0; side < 2; ++side) {
      const Real mean = size.radius * (upper.area[side] - lower.area[side]);
      end[side] = shape.shear * dy + size.radius * (shape.offset + mean);
      slope[side] = shape.offset + 2 * mean - size.radius * (upper.moment[side] - lower.moment[side]);
    }
    return {end[0], end[1], slope[0], slope[1]};
  }

 private:
  // Few cells are as high as the corners ask for, many are equally high.
  DEPTHBOKEH_INLINE int find(Real y) const {
    if (shape.cells > int(Aperture<Real>::kFewCells))
      return smaller(int((y - shape.bottom) * shape.cells_per_height), shape.cells - 1);
    int at = 0;
    for (int i = 1; i < shape.cells; ++i) at += y >= shape.cell[i].start;
    return at;
  }
};

// The table travels to the device as an argument: nothing is copied from memory that a CUDA graph would read again.
template <typename Real>
struct TableRows {
  static constexpr int kMost = 256;
  TableCell<Real> cell[kMost];
};

// One block of kMost threads.
template <typename Real>
__global__ void write_table(const __grid_constant__ TableRows<Real> rows, int count, TableCell<Real>* to) {
  if (int(threadIdx.x) < count) to[threadIdx.x] = rows.cell[threadIdx.x];
}

}  // namespace depthbokeh::cuda
