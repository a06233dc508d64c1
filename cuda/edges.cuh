// The colours on both sides of depth edges in CUDA. A thread owns a pixel of an edge and looks at those around it. For
// the gradient a thread owns a pixel of the picture and looks for the pixels of edges that have looked at it: no two
// threads add to one place.
#pragma once

#include "device.cuh"
#include "edge.h"

namespace depthbokeh::cuda {

constexpr int kEdgeThreads = 256;

template <typename Real>
struct EdgeTask {
  EdgePixels<Real> p;
  int64_t pixels;                          // of all pictures
  Real falloff[kReach * kReach + 1] = {};  // by the squared distance

  // `at` is not checked for what lies beyond the pictures, as that would mean waiting for the device: it gets NaN.
  DEPTHBOKEH_INLINE bool exists(int64_t n) const { return p.at[n] >= 0 && p.at[n] < pixels; }
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
  int64_t picture;
  int row, column;
  Real low, per_span;

  __device__ EdgePixel(const EdgeTask<Real>& task_, int64_t n)
      : task(task_),
        picture(task.p.at[n] / task.p.plane()),
        row(static_cast<int>(task.p.at[n] % task.p.plane() / task.p.width)),
        column(static_cast<int>(task.p.at[n] % task.p.width)),
        low(task.p.low[n]),
        per_span(1 / not_zero(task.p.high[n] - low)) {}

  // Calls visit(tap, values, falloff, edge) for all neighbours; those at the border count again for the ones beyond it.
  template <typename Visit>
  __device__ void for_each_tap(const Visit& visit) const {
    const EdgePixels<Real>& p = task.p;
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
  __device__ Real read(int64_t where, Real (&values)[kSideValues]) const {
    const EdgePixels<Real>& p = task.p;
    const int64_t at = picture * p.plane() + where;
    for (int c = 0; c < 3; ++c) values[c] = p.color[(3 * picture + c) * p.plane() + where];
    values[kDisparity] = p.disparity[at];
    values[kMask] = p.mask ? p.mask[at] : 0;
    return p.edge[at];
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
};

// The gradient to what a neighbour counts for one side.
template <typename Real>
DEPTHBOKEH_INLINE Real grad_of_weight(const SideGrads<Real>& grads, int side, const Real (&values)[kSideValues]) {
  Real grad = -grads.offset[side];
  for (int c = 0; c < kSideValues; ++c) grad += grads.side[side][c] * values[c];
  return grad;
}

// A thread for every pixel of an edge. `means`: (N, 3, kSideValues).
template <typename Real>
__global__ void __launch_bounds__(kEdgeThreads) mean_sides(const __grid_constant__ EdgeTask<Real> task, Real* means) {
  const int64_t n = int64_t(blockIdx.x) * kEdgeThreads + threadIdx.x;
  if (n >= task.p.count) return;
  means += n * 3 * kSideValues;
  if (!task.exists(n)) {
    for (int i = 0; i < 3 * kSideValues; ++i) means[i] = Real(NAN);
    return;
  }
  const EdgePixel<Real> pixel(task, n);
  const SideTotals<Real> found = pixel.add_up();
  Real own[kSideValues];
  pixel.read(task.p.at[n] % task.p.plane(), own);
  for (int c = 0; c < kSideValues; ++c) {
    means[c] = found.mean[0][c];
    means[kSideValues + c] = found.mean[1][c];
    means[2 * kSideValues + c] = own[c];
  }
}

// A thread for every pixel of an edge: its gradients to low and high, and what its neighbours must know of it. `marks`,
// (B, H, W), gets 1 + the number of the first edge pixel that lies there; 0 where none does.
template <typename Real>
__global__ void __launch_bounds__(kEdgeThreads)
    differentiate_sides(const __grid_constant__ EdgeTask<Real> task, const Real* grad, SideGrads<Real>* to, int* marks,
                        Real* low, Real* high) {
  const int64_t n = int64_t(blockIdx.x) * kEdgeThreads + threadIdx.x;
  if (n >= task.p.count) return;
  if (!task.exists(n)) {
    low[n] = high[n] = Real(NAN);
    return;
  }
  const int64_t at = task.p.at[n];
  if (n == 0 || task.p.at[n - 1] != at) marks[at] = static_cast<int>(n) + 1;
  const EdgePixel<Real> pixel(task, n);
  const SideTotals<Real> found = pixel.add_up();
  SideGrads<Real> grads = {pixel.low, pixel.per_span, {}, {}};
  for (int side = 0; side < 2; ++side)
    for (int c = 0; c < kSideValues; ++c) {
      grads.side[side][c] = grad[(n * 3 + side) * kSideValues + c] / found.total[side];
      grads.offset[side] += grads.side[side][c] * found.mean[side][c];
    }
  Real low_sum = 0, high_sum = 0;
  pixel.for_each_tap([&](const Tap<Real>& tap, const Real(&values)[kSideValues], Real falloff, Real edge) {
    const Real near = grad_of_weight(grads, 0, values), far = grad_of_weight(grads, 1, values);
    const Real moved =
        differentiate_tap(tap, values[0], values[1], values[2], edge, pixel.per_span, falloff, near, far).moved;
    low_sum += moved * (tap.height - 1);
    high_sum -= moved * tap.height;
  });
  to[n] = grads;
  low[n] = low_sum;
  high[n] = high_sum;
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

// A thread for every pixel of the pictures.
template <typename Real>
__global__ void __launch_bounds__(kEdgeThreads)
    gather_sides(const __grid_constant__ EdgeTask<Real> task, const Real* grad, const SideGrads<Real>* from,
                 const int* marks, const __grid_constant__ EdgeGrads<Real> to) {
  const EdgePixels<Real>& p = task.p;
  const int64_t at = int64_t(blockIdx.x) * kEdgeThreads + threadIdx.x;
  if (at >= task.pixels) return;
  const int64_t plane = p.plane(), picture = at / plane, where = at % plane;
  Neighbour<Real> own{task, static_cast<int>(where / p.width), static_cast<int>(where % p.width)};
  bool heard = false;
  for (int dy = -kReach; dy <= kReach; ++dy)
    for (int dx = -kReach; dx <= kReach; ++dx) {
      const int y = own.row + dy, x = own.column + dx;
      if (y < 0 || y >= p.height || x < 0 || x >= p.width) continue;
      const int64_t there = picture * plane + int64_t(y) * p.width + x;
      const int mark = marks[there];
      if (mark == 0) continue;
      if (!heard) {
        for (int c = 0; c < 3; ++c) own.values[c] = p.color[(3 * picture + c) * plane + where];
        own.values[kDisparity] = p.disparity[at];
        own.values[kMask] = p.mask ? p.mask[at] : 0;
        own.edge = p.edge[at];
        heard = true;
      }
      const Real falloff = own.falloff_from(dy, dx);
      for (int64_t n = mark - 1; n < p.count && p.at[n] == there; ++n) {
        if (falloff > 0) own.hear(from[n], falloff);
        if (there != at) continue;
        for (int c = 0; c < kSideValues; ++c) own.grad[c] += grad[(n * 3 + 2) * kSideValues + c];
      }
    }
  for (int c = 0; c < 3; ++c) to.color[(3 * picture + c) * plane + where] = own.grad[c];
  to.disparity[at] = own.grad[kDisparity];
  to.edge[at] = own.grad_edge;
  to.mask[at] = p.mask ? own.grad[kMask] : 0;
}

}  // namespace depthbokeh::cuda
