// The Gaussian in CUDA: the scheme of cpu/gaussian.cpp, all levels in one kernel. A block owns a tile of the output and
// goes through the levels that occur within reach of it; of each it convolves strips of 32 rows along x into shared
// memory and adds them to its pixels along y.
#pragma once

#include "levels.h"
#include "survey.cuh"

namespace depthbokeh::cuda {

constexpr int kTapStep = 64;  // taps along x at a time
constexpr int kGaussianThreads = 256;
constexpr int kRowsEach = kTile * kTile / kGaussianThreads;     // of the output, below each other
constexpr int kColumnsEach = kTile * kTile / kGaussianThreads;  // of the pass along x, next to each other

// Taps of levels 1..count, each from the middle outwards, and their reach.
template <typename Real>
struct Levels {
  Real* taps;  // (count, most + 1)
  int* reach;  // (count,)
  int count;
  int most;    // taps further out meet zeros only
  Real limit;  // larger radii count as this one, whose light is spread so far that nothing of it is seen

  // Where the width of a pixel of radius r lies among the levels.
  DEPTHBOKEH_INLINE Real position(Real r) const {
    const Real least = Real(2 * kSigma0);
    return r > least ? std::log(smaller(r, limit) / least) / Real(std::log(kRatio)) : 0;
  }
  DEPTHBOKEH_INLINE Real weight(Real r, int level, bool slope) const {
    const Real at = position(r);
    if (!slope) return level_weight(at, Real(level), false);
    return at > 0 && r <= limit ? level_weight(at, Real(level), true) / (r * Real(std::log(kRatio))) : 0;
  }
  DEPTHBOKEH_INLINE int last(Real r) const { return smaller(count, static_cast<int>(std::floor(position(r))) + 2); }
  DEPTHBOKEH_INLINE int reach_of(int level) const { return level > 0 ? reach[level - 1] : 0; }
  // Tap i, on either side of the middle.
  DEPTHBOKEH_INLINE Real tap(int level, int i) const {
    const int distance = i < 0 ? -i : i;
    if (level <= 0) return distance ? 0 : 1;
    return distance > reach[level - 1] ? 0 : taps[(level - 1) * int64_t(most + 1) + distance];
  }
};

// A block for every level.
template <typename Real>
__global__ void __launch_bounds__(kSurveyThreads)
    write_levels(const Levels<Real> levels, const Survey<Real> survey, int64_t images) {
  Real largest = 0;
  for (int64_t i = 0; i < images; ++i) largest = larger(largest, survey.images[i].largest);
  const int level = blockIdx.x + 1;
  if (level > levels.last(largest)) return;
  const double sigma = kSigma0 * std::pow(kRatio, level);
  const int reach = gaussian_reach(sigma, levels.most);
  if (threadIdx.x == 0) levels.reach[level - 1] = reach;
  for (int i = threadIdx.x; i <= reach; i += kSurveyThreads)
    levels.taps[(level - 1) * int64_t(levels.most + 1) + i] = Real(gaussian_tap(i, sigma));
}

template <typename Real>
struct GaussianTask {
  Picture<Real> picture;
  Survey<Real> survey;
  Levels<Real> levels;
  bool weigh_first;    // scatter: weigh, then convolve; gather: convolve, then weigh
  bool slope;          // out takes the derivative to the radius
  const Real* weight;  // (B, C, H, W), for:
  Real* slope_sum;     // (B, 1, H, W): the derivative times weight, summed over channels, or null
};

template <typename Real>
struct GaussianShared {
  Real source[kTile][kTile + kTapStep + 1];
  Real passed[kTile][kTile + 1];  // after the pass along x
  Real along_x[kTapStep];
  Real along_y[2 * kTile];
  int found[2][kGaussianThreads];
  int first, last;  // levels
};

template <typename Real>
struct GaussianTile {
  const GaussianTask<Real>& task;
  GaussianShared<Real>& shared;
  int64_t image;
  int x0, y0;
  int thread;

  // The thread's pixels of the output.
  __device__ int x() const { return x0 + thread % kTile; }
  __device__ int y(int i) const { return y0 + thread / kTile * kRowsEach + i; }
  __device__ bool inside(int i) const { return x() < task.picture.width && y(i) < task.picture.height; }
  __device__ int64_t at(int i) const { return int64_t(y(i)) * task.picture.width + x(); }
  __device__ Real radius(int64_t pixel) const {
    const Real r = task.picture.radius[image * task.picture.plane() + pixel];
    return is_finite(r) ? r : 0;
  }

  // Levels that occur in the tile or, where pixels are weighed first, within reach of it.
  __device__ void find_levels() {
    const Survey<Real>& survey = task.survey;
    const int last = task.levels.last(survey.images[image].largest);
    const int reach = task.weigh_first ? task.levels.reach_of(last) : 0;
    const int top = larger(0, y0 - reach) / kTile, bottom = smaller(survey.rows - 1, (y0 + kTile - 1 + reach) / kTile);
    const int left = larger(0, x0 - reach) / kTile;
    const int right = smaller(survey.columns - 1, (x0 + kTile - 1 + reach) / kTile);
    const int across = right - left + 1;
    int first = last, most = -1;
    for (int i = thread; i < (bottom - top + 1) * across; i += kGaussianThreads) {
      const Facts<Real>& facts = survey.tile(image, top + i / across, left + i % across);
      first = smaller(first, static_cast<int>(std::floor(task.levels.position(facts.smallest))) - 1);
      most = larger(most, task.levels.last(facts.largest));
    }
    shared.found[0][thread] = first, shared.found[1][thread] = most;
    __syncthreads();
    if (thread == 0) {
      for (int i = 1; i < kGaussianThreads; ++i)
        first = smaller(first, shared.found[0][i]), most = larger(most, shared.found[1][i]);
      shared.first = first, shared.last = most;
    }
    __syncthreads();
  }

  // What `count` taps from first_tap on meet in rows top..bottom of a plane, weighed if that comes first, and the taps.
  // False if there is nothing but zeros.
  __device__ bool load(const Real* plane, int level, int top, int bottom, int first_tap, int count) {
    const Picture<Real>& p = task.picture;
    bool lit = false;
    for (int row = thread / kTile; row < kTile; row += kGaussianThreads / kTile)
      for (int column = thread % kTile; column < kTile + count - 1; column += kTile) {
        const int from_x = x0 + first_tap + column, from_y = top + row;
        Real light = 0;
        if (from_y < bottom && from_x >= 0 && from_x < p.width) {
          const int64_t pixel = int64_t(from_y) * p.width + from_x;
          light = plane[pixel];
          if (task.weigh_first) light *= task.levels.weight(radius(pixel), level, task.slope);
        }
        shared.source[row][column] = light;
        lit = lit || light != 0;
      }
    for (int i = thread; i < count; i += kGaussianThreads) shared.along_x[i] = task.levels.tap(level, first_tap + i);
    return __syncthreads_or(lit);
  }

  // Rows top..bottom of a plane along x, into shared.passed. False if there is nothing but zeros.
  __device__ bool pass_along_x(const Real* plane, int level, int top, int bottom) {
    const int reach = task.levels.reach_of(level);
    const int row = thread * kColumnsEach / kTile, column = thread * kColumnsEach % kTile;
    Real sum[kColumnsEach] = {};
    bool any = false;
    for (int first = -reach; first <= reach; first += kTapStep) {
      __syncthreads();  // the strip before has been read
      const int count = smaller(kTapStep, reach + 1 - first);
      if (!load(plane, level, top, bottom, first, count)) continue;
      any = true;
      Real light[kColumnsEach];  // a window that moves on with the taps
      for (int j = 0; j < kColumnsEach - 1; ++j) light[j] = shared.source[row][column + j];
      for (int i = 0; i < count; ++i) {
        light[kColumnsEach - 1] = shared.source[row][column + kColumnsEach - 1 + i];
        for (int j = 0; j < kColumnsEach; ++j) sum[j] += shared.along_x[i] * light[j];
        for (int j = 0; j < kColumnsEach - 1; ++j) light[j] = light[j + 1];
      }
    }
    for (int j = 0; j < kColumnsEach; ++j) shared.passed[row][column + j] = sum[j];
    return any;
  }

  // A whole level of a plane, added to the thread's pixels.
  __device__ void convolve(const Real* plane, int level, Real (&sum)[kRowsEach]) {
    const int reach = task.levels.reach_of(level);
    const int end = smaller(task.picture.height, y0 + kTile + reach);
    for (int top = larger(0, y0 - reach); top < end; top += kTile) {
      if (!pass_along_x(plane, level, top, end)) continue;
      // Tap i is that of the output row i - (kTile - 1) below the strip's first.
      for (int i = thread; i < 2 * kTile; i += kGaussianThreads)
        shared.along_y[i] = task.levels.tap(level, y0 - top + i - (kTile - 1));
      __syncthreads();
      const int row = thread / kTile * kRowsEach;
      for (int i = 0; i < kTile; ++i) {
        const Real light = shared.passed[i][thread % kTile];
        for (int j = 0; j < kRowsEach; ++j) sum[j] += shared.along_y[row + j - i + kTile - 1] * light;
      }
    }
  }

  // One channel, and its part in slope_sum.
  __device__ void blur_channel(int64_t channel, Real (&slope_sum)[kRowsEach]) {
    const Picture<Real>& p = task.picture;
    const int64_t offset = (image * p.channels + channel) * p.plane();
    Real out[kRowsEach] = {};
    for (int level = shared.first; level <= shared.last; ++level) {
      if (task.weigh_first) {
        convolve(p.image + offset, level, out);
        continue;
      }
      Real weight[kRowsEach] = {}, slope[kRowsEach] = {}, sum[kRowsEach] = {};
      bool any = false;
      for (int i = 0; i < kRowsEach; ++i) {
        if (!inside(i)) continue;
        weight[i] = task.levels.weight(radius(at(i)), level, task.slope);
        if (task.slope_sum) slope[i] = task.levels.weight(radius(at(i)), level, true) * task.weight[offset + at(i)];
        any = any || weight[i] != 0 || slope[i] != 0;
      }
      if (!__syncthreads_or(any)) continue;
      convolve(p.image + offset, level, sum);
      for (int i = 0; i < kRowsEach; ++i) {
        out[i] += weight[i] * sum[i];
        slope_sum[i] += slope[i] * sum[i];
      }
    }
    for (int i = 0; i < kRowsEach; ++i)
      if (inside(i)) p.out[offset + at(i)] = finite_radius(i) ? out[i] : Real(NAN);
  }

  __device__ bool finite_radius(int i) const {
    return is_finite(task.picture.radius[image * task.picture.plane() + at(i)]);
  }
};

// A block for every tile and channel or, with slope_sum, for all channels of a tile.
template <typename Real>
__global__ void __launch_bounds__(kGaussianThreads) blur_gaussian(const __grid_constant__ GaussianTask<Real> task) {
  DEPTHBOKEH_SHARED(GaussianShared<Real>, shared);
  const Picture<Real>& p = task.picture;
  const int64_t across = task.survey.columns, down = task.survey.rows;
  const int64_t plane = blockIdx.x / (across * down);
  const int64_t count = task.slope_sum ? p.channels : 1;
  const int64_t image = task.slope_sum ? plane : plane / p.channels, first = task.slope_sum ? 0 : plane % p.channels;
  GaussianTile<Real> tile{task,
                          shared,
                          image,
                          static_cast<int>(blockIdx.x % across) * kTile,
                          static_cast<int>(blockIdx.x / across % down) * kTile,
                          static_cast<int>(threadIdx.x)};
  tile.find_levels();
  Real slope_sum[kRowsEach] = {};
  for (int64_t channel = first; channel < first + count; ++channel) tile.blur_channel(channel, slope_sum);
  if (!task.slope_sum) return;
  for (int i = 0; i < kRowsEach; ++i)
    if (tile.inside(i))
      task.slope_sum[image * p.plane() + tile.at(i)] = tile.finite_radius(i) ? slope_sum[i] : Real(NAN);
}

}  // namespace depthbokeh::cuda
