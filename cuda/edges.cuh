// Depth edges in CUDA: soft ones made sharp, and mixed pixels taken apart. A thread owns a pixel. For the gradient
// every pixel gathers what those around that have looked at it have to say: no two threads add to one place.
#pragma once

#include "sharpen.h"
#include "survey.cuh"
#include "unmix.h"
#include "windows.cuh"

namespace depthbokeh::cuda {

constexpr int kEdgeThreads = kSurveyThreads;

template <typename Real>
__global__ void __launch_bounds__(kEdgeThreads)
    sharpen_pixels(const __grid_constant__ EdgeInputs<Real> p, const __grid_constant__ Windows<Real> w,
                   const __grid_constant__ Extremes<Real> e, Real* to) {
  const int64_t at = int64_t(blockIdx.x) * kEdgeThreads + threadIdx.x;
  if (at >= p.pixels()) return;
  SoftPixel<Real> pixel(Jump<Real>(e, at, p.strength[at / p.plane()]), p.disparity[at]);
  Real change = 0;
  if (pixel.is_between()) {
    pixel.look_around(p, w, at);
    change = pixel.change();
  }
  to[at] = pixel.own + change;
}

// Gradients to what is around every pixel: within one pixel, within the windows, within those twice as wide.
template <typename Real>
struct SharpenGrads {
  Extremes<Real> extremes;
  Real *largest, *smallest;
};

// `to_disparity` gets the gradient to every pixel's own value.
template <typename Real>
__global__ void __launch_bounds__(kEdgeThreads)
    sharpen_pixels_backward(const __grid_constant__ EdgeInputs<Real> p, const __grid_constant__ Windows<Real> w,
                            const __grid_constant__ Extremes<Real> e, const Real* grad,
                            const __grid_constant__ SharpenGrads<Real> to, Real* to_disparity,
                            NumberSums<1>* strength) {
  DEPTHBOKEH_SHARED(SharedNumbers<1>, shared);
  const Pixel own(p.plane());
  NumberSums<1> sum = {};
  if (own.at < p.plane()) {
    const int64_t at = own.picture * p.plane() + own.at;
    SoftPixel<Real> pixel(Jump<Real>(e, at, p.strength[own.picture]), p.disparity[at]);
    SoftGrads<Real> grads = {grad[at], 0, 0, {pixel.jump, 0}};
    if (pixel.is_between()) {
      pixel.look_around(p, w, at);
      grads = pixel.differentiate(grad[at]);
    }
    to_disparity[at] = grads.own;
    to.extremes.highest[at] = grads.jump.high, to.extremes.lowest[at] = grads.jump.low;
    to.extremes.higher[at] = grads.jump.higher, to.extremes.lower[at] = grads.jump.lower;
    to.largest[at] = grads.largest, to.smallest[at] = grads.smallest;
    sum.value[0] = grads.jump.strength;
  }
  sum = reduce_block(shared, sum);
  if (threadIdx.x == 0) strength[blockIdx.x] = sum;
}

template <typename Real>
__global__ void __launch_bounds__(kEdgeThreads)
    weigh_edges(const __grid_constant__ EdgeInputs<Real> p, const __grid_constant__ Extremes<Real> e, Real* edge) {
  const int64_t at = int64_t(blockIdx.x) * kEdgeThreads + threadIdx.x;
  if (at < p.pixels()) edge[at] = Jump<Real>(e, at, p.strength[at / p.plane()]).weight();
}

template <typename Real>
struct EdgeTask {
  EdgeInputs<Real> p;
  Extremes<Real> extremes;
  const Real* edge;                        // (B, 1, H, W)
  Real falloff[kReach * kReach + 1] = {};  // by the squared distance
};

// What the pixel of an edge makes of its neighbours: totals of what they count and means, of the near side and the far.
template <typename Real>
struct SideTotals {
  Real total[2], mean[2][kSideValues];
};

// What the neighbours of an edge's pixel must know of it: the gradients to their values, and to what they count, that
// is near . values - offset[0] for the near side.
template <typename Real>
struct SideGrads {
  Real low, per_span, side[2][kSideValues], offset[2];
};

// A pixel of an edge and its surroundings.
template <typename Real>
struct EdgePixel {
  const EdgeTask<Real>& task;
  int64_t picture, where;  // in its picture
  int row, column;
  Real low, high, per_span;

  __device__ EdgePixel(const EdgeTask<Real>& task_, int64_t at)
      : task(task_),
        picture(at / task.p.plane()),
        where(at % task.p.plane()),
        row(static_cast<int>(where / task.p.width)),
        column(static_cast<int>(where % task.p.width)),
        low(task.extremes.lowest[at]),
        high(task.extremes.highest[at]),
        per_span(1 / not_zero(high - low)) {}

  // Calls visit(tap, values, falloff, edge) for all neighbours; those at the border count again for the ones beyond it.
  template <typename Visit>
  __device__ void for_each_tap(const Visit& visit) const {
    const EdgeInputs<Real>& p = task.p;
#pragma unroll
    for (int dy = -kReach; dy <= kReach; ++dy)
#pragma unroll
      for (int dx = -kReach; dx <= kReach; ++dx) {
        if (std::abs(dy) + std::abs(dx) > kReach) continue;
        const int y = larger(0, smaller(row + dy, p.height - 1)), x = larger(0, smaller(column + dx, p.width - 1));
        Real values[kSideValues];
        const Real edge = read(int64_t(y) * p.width + x, values);
        const Real falloff = task.falloff[dy * dy + dx * dx];
        visit(weigh_tap(values[0], values[1], values[2], values[kDisparity], edge, low, per_span, falloff), values,
              falloff, edge);
      }
  }

  // What is at a pixel of the picture; returns how far that is one of an edge.
  __device__ Real read(int64_t there, Real (&values)[kSideValues]) const {
    const EdgeInputs<Real>& p = task.p;
    const int64_t at = picture * p.plane() + there;
    for (int c = 0; c < 3; ++c) values[c] = p.color[(3 * picture + c) * p.plane() + there];
    values[kDisparity] = p.disparity[at];
    values[kMask] = p.mask ? p.mask[at] : 0;
    return task.edge[at];
  }

  __device__ SideTotals<Real> add_up() const {
    SideTotals<Real> found = {};
    for_each_tap([&](const Tap<Real>& tap, const Real(&values)[kSideValues], Real, Real) {
      for (int side = 0; side < 2; ++side) {
        const Real weight = tap.counts * tap.share_of(side);
        found.total[side] += weight;
        for (int c = 0; c < kSideValues; ++c) found.mean[side][c] += weight * values[c];
      }
    });
    for (int side = 0; side < 2; ++side) {
      found.total[side] = not_zero(found.total[side]);
      for (int c = 0; c < kSideValues; ++c) found.mean[side][c] /= found.total[side];
    }
    return found;
  }

  // Both sides and the pixel itself.
  __device__ void list_sides(const SideTotals<Real>& found, Real (&sides)[3 * kSideValues]) const {
    Real own[kSideValues];
    read(where, own);
    for (int c = 0; c < kSideValues; ++c) {
      sides[c] = found.mean[0][c];
      sides[kSideValues + c] = found.mean[1][c];
      sides[2 * kSideValues + c] = own[c];
    }
  }
};

// The gradient to what a neighbour counts for one side.
template <typename Real>
DEPTHBOKEH_INLINE Real grad_of_weight(const SideGrads<Real>& grads, int side, const Real (&values)[kSideValues]) {
  Real grad = -grads.offset[side];
  for (int c = 0; c < kSideValues; ++c) grad += grads.side[side][c] * values[c];
  return grad;
}

template <typename Real>
__global__ void __launch_bounds__(kEdgeThreads)
    separate_pixels(const __grid_constant__ EdgeTask<Real> task, const __grid_constant__ SurfacePlanes<Real> to) {
  const EdgeInputs<Real>& p = task.p;
  const int64_t at = int64_t(blockIdx.x) * kEdgeThreads + threadIdx.x, plane = p.plane();
  if (at >= p.pixels()) return;
  const EdgePixel<Real> pixel(task, at);
  if (task.edge[at] > 0) {
    Real sides[3 * kSideValues], becomes[kSurfaceValues];
    pixel.list_sides(pixel.add_up(), sides);
    Mixture<Real>(sides, pixel.low, pixel.high, task.edge[at], p.mask).write(becomes);
    for (int i = 0; i < kSurfaceValues; ++i) to.at(i, pixel.picture, pixel.where) = becomes[i];
    return;
  }
  const auto put = [&](int value, Real as) { to.at(value, pixel.picture, pixel.where) = as; };
  put(kCoverage, 1), put(kCoverage + 1, 1);
  for (int c = 0; c < 3; ++c) {
    const Real light = p.color[at + (2 * pixel.picture + c) * plane];
    put(kFarColor + c, light), put(kNearColor + c, light);
  }
  put(kFarDisparity, p.disparity[at]), put(kNearDisparity, p.disparity[at]);
}

// What is kept of the pixels of edges on the way back: what their neighbours must know of them, and the gradients to
// how far there is an edge and to its sides' disparities.
template <typename Real>
struct EdgeMaps {
  SideGrads<Real>* sides;
  Real* weight;
  Extremes<Real> extremes;
};

// `grad`: of the surfaces. What there is to every pixel itself is written to `to`.
template <typename Real>
__global__ void __launch_bounds__(kEdgeThreads)
    differentiate_sides(const __grid_constant__ EdgeTask<Real> task, const __grid_constant__ SurfacePlanes<Real> grad,
                        const __grid_constant__ EdgeMaps<Real> maps, const __grid_constant__ SeparateGrads<Real> to) {
  const EdgeInputs<Real>& p = task.p;
  const int64_t at = int64_t(blockIdx.x) * kEdgeThreads + threadIdx.x, plane = p.plane();
  if (at >= p.pixels()) return;
  const EdgePixel<Real> pixel(task, at);
  Real becoming[kSurfaceValues], to_sides[3 * kSideValues] = {}, low = 0, high = 0, weight = 0;
  for (int i = 0; i < kSurfaceValues; ++i) becoming[i] = grad.at(i, pixel.picture, pixel.where);
  Real* own = to_sides + 2 * kSideValues;
  if (task.edge[at] > 0) {
    const SideTotals<Real> found = pixel.add_up();
    Real sides[3 * kSideValues];
    pixel.list_sides(found, sides);
    Mixture<Real>(sides, pixel.low, pixel.high, task.edge[at], p.mask)
        .differentiate(becoming, to_sides, low, high, weight);
    SideGrads<Real> grads = {pixel.low, pixel.per_span, {}, {}};
    for (int side = 0; side < 2; ++side)
      for (int c = 0; c < kSideValues; ++c) {
        grads.side[side][c] = to_sides[side * kSideValues + c] / found.total[side];
        grads.offset[side] += grads.side[side][c] * found.mean[side][c];
      }
    pixel.for_each_tap([&](const Tap<Real>& tap, const Real(&values)[kSideValues], Real falloff, Real edge) {
      const Real near = grad_of_weight(grads, 0, values), far = grad_of_weight(grads, 1, values);
      const Real moved =
          differentiate_tap(tap, values[0], values[1], values[2], edge, pixel.per_span, falloff, near, far).moved;
      low += moved * (tap.height - 1);
      high -= moved * tap.height;
    });
    maps.sides[at] = grads;
  } else {
    for (int c = 0; c < 3; ++c) own[c] = becoming[kFarColor + c] + becoming[kNearColor + c];
    own[kDisparity] = becoming[kFarDisparity] + becoming[kNearDisparity];
  }
  for (int c = 0; c < 3; ++c) to.color[at + (2 * pixel.picture + c) * plane] = own[c];
  to.disparity[at] = own[kDisparity];
  if (to.mask) to.mask[at] = own[kMask];
  maps.weight[at] = weight;
  maps.extremes.lowest[at] = low, maps.extremes.highest[at] = high;
}

// One pixel of the picture, which gathers what the pixels of edges around have to say to it.
template <typename Real>
struct Neighbour {
  const EdgeTask<Real>& task;
  int row, column;
  Real values[kSideValues], edge;
  Real grad[kSideValues] = {}, grad_edge = 0;

  // How much a pixel dy rows and dx columns away counts this one: at the border perhaps several times.
  __device__ Real falloff_from(int dy, int dx) const {
    Real sum = 0;
    for (int step_y = -kReach; step_y <= kReach; ++step_y) {
      if (larger(0, smaller(row + dy + step_y, task.p.height - 1)) != row) continue;
      const int left = kReach - std::abs(step_y);
      for (int step_x = -left; step_x <= left; ++step_x)
        if (larger(0, smaller(column + dx + step_x, task.p.width - 1)) == column)
          sum += task.falloff[step_y * step_y + step_x * step_x];
    }
    return sum;
  }

  __device__ void hear(const SideGrads<Real>& from, Real falloff) {
    const Tap<Real> tap =
        weigh_tap(values[0], values[1], values[2], values[kDisparity], edge, from.low, from.per_span, falloff);
    const TapGrads<Real> found = differentiate_tap(tap, values[0], values[1], values[2], edge, from.per_span, falloff,
                                                   grad_of_weight(from, 0, values), grad_of_weight(from, 1, values));
    for (int c = 0; c < kSideValues; ++c)
      grad[c] += tap.counts * (tap.share * from.side[0][c] + (1 - tap.share) * from.side[1][c]);
    grad[0] += found.red;
    grad[1] += found.green;
    grad[2] += found.blue;
    grad[kDisparity] += found.moved;
    grad_edge += found.edge;
  }
};

// `grad`: of where there are edges. Adds to `to`, and to the gradients of the extremes.
template <typename Real>
__global__ void __launch_bounds__(kEdgeThreads)
    gather_sides(const __grid_constant__ EdgeTask<Real> task, const Real* grad,
                 const __grid_constant__ EdgeMaps<Real> maps, const __grid_constant__ SeparateGrads<Real> to,
                 NumberSums<1>* strength) {
  DEPTHBOKEH_SHARED(SharedNumbers<1>, shared);
  const EdgeInputs<Real>& p = task.p;
  const Pixel pixel(p.plane());
  NumberSums<1> sum = {};
  if (pixel.at < p.plane()) {
    const int64_t plane = p.plane(), at = pixel.picture * plane + pixel.at;
    Neighbour<Real> own{task, static_cast<int>(pixel.at / p.width), static_cast<int>(pixel.at % p.width)};
    for (int c = 0; c < 3; ++c) own.values[c] = p.color[at + (2 * pixel.picture + c) * plane];
    own.values[kDisparity] = p.disparity[at];
    own.values[kMask] = p.mask ? p.mask[at] : 0;
    own.edge = task.edge[at];
    for (int dy = -kReach; dy <= kReach; ++dy)
      for (int dx = -kReach; dx <= kReach; ++dx) {
        const int y = own.row + dy, x = own.column + dx;
        if (y < 0 || y >= p.height || x < 0 || x >= p.width) continue;
        const int64_t there = pixel.picture * plane + int64_t(y) * p.width + x;
        if (!(task.edge[there] > 0)) continue;
        const Real falloff = own.falloff_from(dy, dx);
        if (falloff > 0) own.hear(maps.sides[there], falloff);
      }
    for (int c = 0; c < 3; ++c) to.color[at + (2 * pixel.picture + c) * plane] += own.grad[c];
    to.disparity[at] += own.grad[kDisparity];
    if (to.mask) to.mask[at] += own.grad[kMask];
    const Jump<Real> jump(task.extremes, at, p.strength[pixel.picture]);
    const JumpGrads<Real> grads(jump, maps.weight[at] + own.grad_edge + grad[at]);
    maps.extremes.highest[at] += grads.high, maps.extremes.lowest[at] += grads.low;
    maps.extremes.higher[at] = grads.higher, maps.extremes.lower[at] = grads.lower;
    sum.value[0] = grads.strength;
  }
  sum = reduce_block(shared, sum);
  if (threadIdx.x == 0) strength[blockIdx.x] = sum;
}

}  // namespace depthbokeh::cuda
