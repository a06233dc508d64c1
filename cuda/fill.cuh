// Filling in what is not known, in CUDA. A thread owns a pixel: a mean in the pull, which it makes from the finer
// pixels around it, and one of the finer level in the push. All channels are its own, so nobody else adds to what it
// writes. Once a level is small, one block for every picture does the rest of the way down and back.
#pragma once

#include "device.cuh"
#include "fill.h"

namespace depthbokeh::cuda {

constexpr int kFillThreads = 256;
constexpr int kSmallThreads = 512;
constexpr int64_t kSmallPixels = 2048;  // that a block takes alone
constexpr int kSmallLevels = 12;        // from 2048 x 1 pixels on

template <typename Real>
struct SmallPyramid {
  int count;
  Level<Real> levels[kSmallLevels];  // the last one is a single pixel
};

// The mean of a square of two pixels, at one pixel of the coarser level.
template <typename Real>
__device__ void pull_mean(const Level<Real>& fine, const Level<Real>& coarse, int64_t channels, int64_t picture,
                          int64_t at) {
  const int y = static_cast<int>(at / coarse.width) * 2, x = static_cast<int>(at % coarse.width) * 2;
  const int64_t first = int64_t(y) * fine.width + x;
  const int64_t where[4] = {first, first + 1, first + fine.width, first + fine.width + 1};
  const bool right = x + 1 < fine.width, below = y + 1 < fine.height, inside[4] = {true, right, below, right && below};
  Real weight[4], total = 0;
  for (int i = 0; i < 4; ++i) {
    weight[i] = inside[i] ? count_weight(fine.from.weight[picture * fine.plane() + where[i]], fine.full) : Real(0);
    total += weight[i];
  }
  coarse.to.weight[picture * coarse.plane() + at] = total;
  const Real divisor = divisor_of_mean(total);
  for (int64_t plane = picture * channels; plane < (picture + 1) * channels; ++plane) {
    const Real* value = fine.from.values + plane * fine.plane();
    Real sum = 0;
    for (int i = 0; i < 4; ++i)
      if (inside[i]) sum += value[where[i]] * weight[i];
    coarse.to.values[plane * coarse.plane() + at] = sum / divisor;
  }
}

// The gradient to what is filled in at one pixel of the coarser level, from the finer ones that lie between it and the
// next ones.
template <typename Real>
__device__ void pull_grad(const Level<Real>& fine, const Level<Real>& coarse, int64_t channels, int64_t picture,
                          int64_t at) {
  const int row = static_cast<int>(at / coarse.width), column = static_cast<int>(at % coarse.width);
  const int top = larger(0, 2 * row - 1), bottom = smaller(2 * row + 2, fine.height - 1);
  const int left = larger(0, 2 * column - 1), right = smaller(2 * column + 2, fine.width - 1);
  const Real* known = fine.from.weight + picture * fine.plane();
  for (int64_t plane = picture * channels; plane < (picture + 1) * channels; ++plane) {
    const Real* outer = fine.from.grad + plane * fine.plane();
    Real grad = 0;
    for (int y = top; y <= bottom; ++y) {
      const Real share = share_of_mean<Real>(y, row, coarse.height);
      for (int x = left; x <= right; ++x) {
        const int64_t there = int64_t(y) * fine.width + x;
        const Real free = 1 - count_weight(known[there], fine.full);
        grad += share * share_of_mean<Real>(x, column, coarse.width) * free * outer[there];
      }
    }
    coarse.to.grad[plane * coarse.plane() + at] = grad;
  }
}

// One pixel of the finer level.
template <typename Real>
__device__ void push_pixel(const Level<Real>& fine, const Level<Real>& coarse, int64_t channels, int64_t picture,
                           int64_t at) {
  const int y = static_cast<int>(at / fine.width), x = static_cast<int>(at % fine.width);
  const int64_t own_row = int64_t(y / 2) * coarse.width,
                other_row = int64_t(find_neighbour(y, coarse.height)) * coarse.width;
  const int own = x / 2, other = find_neighbour(x, coarse.width);
  const bool back = fine.from.grad != nullptr;
  const Real total = fine.from.weight[picture * fine.plane() + at], weight = count_weight(total, fine.full);
  const Real divisor = fine.full ? Real(1) : divisor_of_mean(total);
  Real grad_weight = 0, means = 0;
  for (int64_t plane = picture * channels; plane < (picture + 1) * channels; ++plane) {
    const Real* mean = coarse.from.values + plane * coarse.plane();
    const Real around = Real(0.75) * (Real(0.75) * mean[own_row + own] + Real(0.25) * mean[own_row + other]) +
                        Real(0.25) * (Real(0.75) * mean[other_row + own] + Real(0.25) * mean[other_row + other]);
    const int64_t here = plane * fine.plane() + at;
    const Real value = fine.from.values[here];
    if (back) {
      const Real outer = fine.from.grad[here], whole = outer + coarse.from.grad[plane * coarse.plane() + own_row + own];
      const Real grad = weight * whole / divisor;
      grad_weight += whole * value - outer * around;
      means += grad * value;
      fine.to.grad[here] = grad;
    }
    if (fine.to.values) fine.to.values[here] = value * weight + (1 - weight) * around;
  }
  if (!back) return;
  grad_weight += coarse.from.weight[picture * coarse.plane() + own_row + own];
  fine.to.weight[picture * fine.plane() + at] = fine.full ? grad_weight : hand_down(total, grad_weight, means);
}

// A thread for every pixel of the coarser level of all pictures.
template <typename Real>
__global__ void __launch_bounds__(kFillThreads)
    pull(const __grid_constant__ Level<Real> fine, const __grid_constant__ Level<Real> coarse, int64_t channels,
         int64_t pixels) {
  const int64_t at = int64_t(blockIdx.x) * kFillThreads + threadIdx.x;
  if (at >= pixels) return;
  const int64_t picture = at / coarse.plane(), where = at % coarse.plane();
  pull_mean(fine, coarse, channels, picture, where);
  if (fine.from.grad) pull_grad(fine, coarse, channels, picture, where);
}

// A thread for every pixel of the finer level of all pictures.
template <typename Real>
__global__ void __launch_bounds__(kFillThreads)
    push(const __grid_constant__ Level<Real> fine, const __grid_constant__ Level<Real> coarse, int64_t channels,
         int64_t pixels) {
  const int64_t at = int64_t(blockIdx.x) * kFillThreads + threadIdx.x;
  if (at >= pixels) return;
  push_pixel(fine, coarse, channels, at / fine.plane(), at % fine.plane());
}

// A block for every picture: from a small level down to a single pixel, and back.
template <typename Real>
__global__ void __launch_bounds__(kSmallThreads)
    fill_small(const __grid_constant__ SmallPyramid<Real> small, int64_t channels) {
  const int64_t picture = blockIdx.x;
  for (int i = 1; i < small.count; ++i) {
    const Level<Real>& coarse = small.levels[i];
    for (int64_t at = threadIdx.x; at < coarse.plane(); at += kSmallThreads) {
      pull_mean(small.levels[i - 1], coarse, channels, picture, at);
      if (small.levels[0].from.grad) pull_grad(small.levels[i - 1], coarse, channels, picture, at);
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) settle(small.levels[small.count - 1], channels, picture);
  for (int i = small.count - 2; i >= 0; --i) {
    __syncthreads();
    const Level<Real>& fine = small.levels[i];
    for (int64_t at = threadIdx.x; at < fine.plane(); at += kSmallThreads)
      push_pixel(fine, small.levels[i + 1], channels, picture, at);
  }
}

}  // namespace depthbokeh::cuda
