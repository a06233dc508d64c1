// Carrying surfaces on beneath what is nearer, in CUDA; depthbokeh/pyramid.py defines it. A thread owns what it writes:
// a mean of the next coarser level, a pixel of the pictures with all levels around it, or what comes back to a pixel of
// one level. Nobody else adds to that, so no atomics are needed.
#pragma once

#include "device.cuh"
#include "edge.h"

namespace depthbokeh::cuda {

constexpr int kBehindThreads = 256;
constexpr int kMostCoarser = 24;  // levels beside the pictures, whose sides are below 2^24

// Values and defocus, or the gradients to them.
template <typename T>
struct SurfaceMaps {
  T* values;   // (B, C, h, w)
  T* defocus;  // (B, 1, h, w)
};

// The pictures, or the means of their squares of 2^level pixels. What the backward alone needs is null in the forward;
// at the pictures so is what belongs to means.
template <typename Real>
struct SurfaceLevel {
  int height, width;
  SurfaceMaps<const Real> from;
  SurfaceMaps<Real> to;  // at coarser levels the same memory
  Real* total;           // (B, 1, h, w): what a mean was divided by
  Real* parts;           // (B, 3, H, W): what every pixel of the pictures has of the gradient to its totals around
  Real* columns;         // (B, C + 2, h, W): the gradient to the totals, gathered along columns
  Real* grad;            // (B, C + 2, h, w): the gradient to the totals that the means were made of

  DEPTHBOKEH_INLINE int64_t plane() const { return int64_t(height) * width; }
};

// All levels. Totals have C + 2 channels: values times weight, defocus times weight, and weight.
template <typename Real>
struct SurfacePyramid {
  int64_t batch, channels;  // C, of values
  const Real* lowest;       // (B, 1, 1, 1), the least defocus of every picture
  int coarsest;
  SurfaceLevel<Real> levels[kMostCoarser + 1];

  // Of one picture; the last of C + 1 channels is defocus.
  template <typename T>
  DEPTHBOKEH_INLINE T* find_plane(const SurfaceMaps<T>& surfaces, int level, int64_t picture, int64_t channel) const {
    const int64_t plane = levels[level].plane();
    return channel < channels ? surfaces.values + (picture * channels + channel) * plane
                              : surfaces.defocus + picture * plane;
  }

  DEPTHBOKEH_INLINE const Real* find_plane(int level, int64_t picture, int64_t channel) const {
    return find_plane(levels[level].from, level, picture, channel);
  }
};

// Far surfaces weigh more by e for every pixel of defocus; float holds about 80 of these steps.
constexpr int kMostSteps = 80;

template <typename Real>
DEPTHBOKEH_INLINE Real favour_far(Real defocus, Real lowest) {
  const Real steps = lowest - defocus;
  return std::exp(steps < -kMostSteps ? Real(-kMostSteps) : steps);
}

// Between which two squares' middles a pixel lies, along one axis: its own square's and that of the next one or the one
// before it, which beyond the border is its own again.
template <typename Real>
struct Between {
  int own, other;
  Real share;  // of the other one

  DEPTHBOKEH_INLINE Between(int at, int level, int count) : own(at >> level) {
    const int size = 1 << level;
    const Real offset = (Real(at & (size - 1)) + Real(0.5)) / size - Real(0.5);
    other = smaller(larger(own + (offset < 0 ? -1 : 1), 0), count - 1);
    share = std::abs(offset);
  }

  DEPTHBOKEH_INLINE Real share_of(int square) const {
    return (1 - share) * (own == square) + share * (other == square);
  }
};

// The mean of a level around one pixel of the pictures.
template <typename Real>
struct Around {
  int64_t where[4];
  Real share[4];
  Real total;  // what the shares were divided by

  __device__ Around(const SurfacePyramid<Real>& p, int level, int64_t picture, int y, int x) : total(0) {
    const SurfaceLevel<Real>& coarse = p.levels[level];
    const Between<Real> row(y, level, coarse.height), column(x, level, coarse.width);
    const Real* defocus = p.find_plane(level, picture, p.channels);
    for (int i = 0; i < 4; ++i) {
      where[i] = int64_t(i < 2 ? row.own : row.other) * coarse.width + (i % 2 ? column.other : column.own);
      share[i] = (i < 2 ? 1 - row.share : row.share) * (i % 2 ? column.share : 1 - column.share) *
                 favour_far(defocus[where[i]], p.lowest[picture]);
      total += share[i];
    }
    for (int i = 0; i < 4; ++i) share[i] /= total;
  }

  __device__ Real mean(const Real* plane) const {
    Real sum = 0;
    for (int i = 0; i < 4; ++i) sum += share[i] * plane[where[i]];
    return sum;
  }
};

// How far a pixel is the surface that is around it, and not one before it, from 0 to 1 before it is cut.
template <typename Real>
DEPTHBOKEH_INLINE Real find_kept(Real defocus, Real around) {
  return (3 - (defocus - around)) / 2;
}

// A thread for every mean of `level`, of the four finer pixels; beyond an odd border the last ones count again.
template <typename Real>
__global__ void __launch_bounds__(kBehindThreads)
    average_surfaces(const __grid_constant__ SurfacePyramid<Real> p, int level) {
  const SurfaceLevel<Real>&fine = p.levels[level - 1], &coarse = p.levels[level];
  const int64_t at = int64_t(blockIdx.x) * kBehindThreads + threadIdx.x;
  if (at >= p.batch * coarse.plane()) return;
  const int64_t picture = at / coarse.plane(), here = at % coarse.plane();
  const int y = static_cast<int>(here / coarse.width) * 2, x = static_cast<int>(here % coarse.width) * 2;
  const int64_t first = int64_t(y) * fine.width + x, right = x + 1 < fine.width;
  const int64_t below = y + 1 < fine.height ? fine.width : 0;
  const int64_t where[4] = {first, first + right, first + below, first + below + right};
  const Real* defocus = p.find_plane(level - 1, picture, p.channels);
  Real weight[4], total = 0;
  for (int i = 0; i < 4; ++i) {
    weight[i] = favour_far(defocus[where[i]], p.lowest[picture]) / 4;
    total += weight[i];
  }
  if (coarse.total) coarse.total[at] = total;
  for (int64_t channel = 0; channel <= p.channels; ++channel) {
    const Real* values = p.find_plane(level - 1, picture, channel);
    Real sum = 0;
    for (int i = 0; i < 4; ++i) sum += values[where[i]] * weight[i];
    p.find_plane(coarse.to, level, picture, channel)[here] = sum / total;
  }
}

// A thread for every pixel of the pictures. From the coarsest level on, what is kept of a pixel takes the place of what
// the coarser ones say.
template <typename Real>
__global__ void __launch_bounds__(kBehindThreads)
    fill_pixels(const __grid_constant__ SurfacePyramid<Real> p, Real* filled) {
  const SurfaceLevel<Real>& finest = p.levels[0];
  const int64_t at = int64_t(blockIdx.x) * kBehindThreads + threadIdx.x;
  if (at >= p.batch * finest.plane()) return;
  const int64_t picture = at / finest.plane(), here = at % finest.plane();
  const int y = static_cast<int>(here / finest.width), x = static_cast<int>(here % finest.width);
  const Real defocus = finest.from.defocus[at];
  Real* to = filled + picture * (p.channels + 1) * finest.plane() + here;
  for (int64_t channel = 0; channel <= p.channels; ++channel)
    to[channel * finest.plane()] = p.find_plane(0, picture, channel)[here];
  for (int level = p.coarsest; level > 0; --level) {
    const Around<Real> around(p, level, picture, y, x);
    const Real mean = around.mean(p.find_plane(level, picture, p.channels));
    const Real kept = step_smoothly(find_kept(defocus, mean));
    for (int64_t channel = 0; channel <= p.channels; ++channel) {
      Real& value = to[channel * finest.plane()];
      value = kept * value + (1 - kept) * around.mean(p.find_plane(level, picture, channel));
    }
  }
}

// A thread for every pixel of the pictures: the gradients to its values and to the totals around it, of which three
// numbers for every level say all: what the gradient's channels are multiplied by, what is added for defocus, and the
// gradient to the total of weights.
template <typename Real>
__global__ void __launch_bounds__(kBehindThreads)
    differentiate_pixels(const __grid_constant__ SurfacePyramid<Real> p, const Real* grad) {
  const SurfaceLevel<Real>& finest = p.levels[0];
  const int64_t plane = finest.plane(), at = int64_t(blockIdx.x) * kBehindThreads + threadIdx.x;
  if (at >= p.batch * plane) return;
  const int64_t picture = at / plane, here = at % plane;
  const int y = static_cast<int>(here / finest.width), x = static_cast<int>(here % finest.width);
  const Real defocus = finest.from.defocus[at];
  const Real* outer = grad + picture * (p.channels + 1) * plane + here;
  Real left[kMostCoarser + 1];  // of the pixel, after every level
  left[0] = 1;
  for (int level = 1; level <= p.coarsest; ++level) {
    const Around<Real> around(p, level, picture, y, x);
    const Real mean = around.mean(p.find_plane(level, picture, p.channels));
    left[level] = left[level - 1] * step_smoothly(find_kept(defocus, mean));
  }
  Real grad_left = 0;  // to the last of them, then to the one before it, and so on
  for (int64_t channel = 0; channel <= p.channels; ++channel) {
    const Real value = outer[channel * plane];
    grad_left += value * p.find_plane(0, picture, channel)[here];
    p.find_plane(finest.to, 0, picture, channel)[here] = left[p.coarsest] * value;
  }
  Real grad_defocus = 0;
  for (int level = p.coarsest; level > 0; --level) {
    const Around<Real> around(p, level, picture, y, x);
    const Real mean = around.mean(p.find_plane(level, picture, p.channels));
    const Real position = find_kept(defocus, mean), kept = step_smoothly(position);
    Real sum = 0;
    for (int64_t channel = 0; channel <= p.channels; ++channel)
      sum += outer[channel * plane] * around.mean(p.find_plane(level, picture, channel));
    const Real to_mean = left[level - 1] * (grad_left - sum) * step_slope(position) / 2;
    const Real seen = left[level - 1] * (1 - kept);
    grad_defocus -= to_mean;
    grad_left = kept * grad_left + (1 - kept) * sum;
    Real* parts = p.levels[level].parts + 3 * picture * plane + here;
    parts[0] = seen / around.total;
    parts[plane] = to_mean / around.total;
    parts[2 * plane] = -(seen * sum + to_mean * mean) / around.total;
  }
  finest.to.defocus[at] += grad_defocus;
}

// A thread for every value of `columns`, of all levels one after the other: each has the same work in all.
template <typename Real>
__global__ void __launch_bounds__(kBehindThreads)
    gather_columns(const __grid_constant__ SurfacePyramid<Real> p, const Real* grad) {
  const SurfaceLevel<Real>& finest = p.levels[0];
  const int64_t totals = p.channels + 2;
  int64_t at = int64_t(blockIdx.x) * kBehindThreads + threadIdx.x;
  int level = 1;
  for (; level <= p.coarsest; ++level) {
    const int64_t count = p.batch * totals * p.levels[level].height * finest.width;
    if (at < count) break;
    at -= count;
  }
  if (level > p.coarsest) return;
  const SurfaceLevel<Real>& coarse = p.levels[level];
  const int x = static_cast<int>(at % finest.width), row = static_cast<int>(at / finest.width % coarse.height);
  const int64_t channel = at / finest.width / coarse.height % totals,
                picture = at / finest.width / coarse.height / totals;
  const Real* parts = coarse.parts + 3 * picture * finest.plane();
  const Real* outer = grad + (picture * (p.channels + 1) + channel) * finest.plane();
  const int half = 1 << (level - 1), begin = larger(2 * half * row - half, 0);
  const int end = smaller(2 * half * (row + 1) + half, finest.height);
  Real sum = 0;
  for (int y = begin; y < end; ++y) {
    const int64_t there = int64_t(y) * finest.width + x;
    Real part = parts[channel > p.channels ? there + 2 * finest.plane() : there];
    if (channel <= p.channels) part *= outer[there];
    if (channel == p.channels) part += parts[there + finest.plane()];
    sum += Between<Real>(y, level, coarse.height).share_of(row) * part;
  }
  coarse.columns[at] = sum;
}

// A thread for every pixel of `level`, after all coarser ones: the gradient to what it was made of or, at the pictures,
// the rest of the gradient to it.
template <typename Real>
__global__ void __launch_bounds__(kBehindThreads)
    differentiate_level(const __grid_constant__ SurfacePyramid<Real> p, int level) {
  const SurfaceLevel<Real>& fine = p.levels[level];
  const int64_t at = int64_t(blockIdx.x) * kBehindThreads + threadIdx.x;
  if (at >= p.batch * fine.plane()) return;
  const int64_t picture = at / fine.plane(), here = at % fine.plane(), totals = p.channels + 2;
  const int y = static_cast<int>(here / fine.width), x = static_cast<int>(here % fine.width);
  const int half = (1 << level) / 2, begin = larger(2 * half * x - half, 0);
  const int end = smaller(2 * half * (x + 1) + half, p.levels[0].width);

  const auto find_grad = [&](int64_t channel) {  // to values times weight, or to weight
    Real grad = 0;
    if (level > 0) {
      const Real* row = fine.columns + ((picture * totals + channel) * fine.height + y) * p.levels[0].width;
      for (int i = begin; i < end; ++i) grad += Between<Real>(i, level, fine.width).share_of(x) * row[i];
    }
    if (level < p.coarsest) {
      const SurfaceLevel<Real>& coarse = p.levels[level + 1];
      // Beyond an odd border the last pixel counted again.
      const bool twice_down = y % 2 == 0 && y + 1 == fine.height, twice_across = x % 2 == 0 && x + 1 == fine.width;
      const int64_t there = (picture * totals + channel) * coarse.plane() + int64_t(y / 2) * coarse.width + x / 2;
      grad += coarse.grad[there] * Real((1 + twice_down) * (1 + twice_across)) / 4;
    }
    return grad;
  };

  Real* to_total = level > 0 ? fine.grad + picture * totals * fine.plane() + here : nullptr;
  const Real divisor = level > 0 ? fine.total[at] : Real(1);
  const auto add = [&](int64_t channel, Real grad) {
    if (level > 0)
      to_total[channel * fine.plane()] = grad / divisor;
    else
      p.find_plane(fine.to, 0, picture, channel)[here] += grad;
  };

  const Real defocus = fine.from.defocus[at], steps = p.lowest[picture] - defocus;
  const Real weight = favour_far(defocus, p.lowest[picture]);
  Real sum = 0, to_defocus = 0;
  for (int64_t channel = 0; channel <= p.channels; ++channel) {
    const Real grad = find_grad(channel);
    sum += grad * p.find_plane(level, picture, channel)[here];
    if (channel < p.channels)
      add(channel, weight * grad);
    else
      to_defocus = weight * grad;
  }
  const Real slope = steps < -kMostSteps ? Real(0) : weight * (sum + find_grad(p.channels + 1));
  add(p.channels, to_defocus - slope);
  if (level > 0) add(p.channels + 1, slope * defocus - weight * sum);
}

}  // namespace depthbokeh::cuda
