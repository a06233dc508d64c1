// gather_blur in CUDA. With P the running sum of a row of the image, the light between two ends is P there minus P
// here, P taken between its values at the pixels on either side of the end. A thread owns a pixel: no two write to one
// place.
#pragma once

#include "shape.cuh"

namespace depthbokeh::cuda {

constexpr int kGatherWidth = 32, kGatherHeight = 8;  // pixels of a block
constexpr int kSumWarps = 4;

// Running sums of a few channels up to a pixel. In double: a row has thousands of pixels, and an HDR lamp in it must
// leave no trail.
template <int kChannels>
struct alignas(kChannels == 1 ? 8 : 16) Sums {
  double of[kChannels];

  DEPTHBOKEH_INLINE static Sums zero() {
    Sums sums;
    for (int c = 0; c < kChannels; ++c) sums.of[c] = 0;
    return sums;
  }
};

// Where the sums left of every pixel, and left of the frame's right edge, are kept: (B, groups, H, W + 1).
template <int kChannels, typename Real>
DEPTHBOKEH_INLINE int64_t sums_at(const Picture<Real>& p, int64_t image, int64_t group, int y) {
  return ((image * ceil_div<int64_t>(p.channels, kChannels) + group) * p.height + y) * (p.width + 1);
}

// A warp for every row of every group of channels. While some pixels are added up, the next ones are loaded.
template <int kChannels, typename Real>
__global__ void __launch_bounds__(kSumWarps* kWarp) sum_rows(const Picture<Real> p, Sums<kChannels>* to) {
  const int64_t groups = ceil_div<int64_t>(p.channels, kChannels);
  const int64_t index = int64_t(blockIdx.x) * kSumWarps + threadIdx.x / kWarp;
  if (index >= p.batch * groups * p.height) return;
  const int y = static_cast<int>(index % p.height), lane = threadIdx.x % kWarp;
  const int64_t group = index / p.height % groups, image = index / p.height / groups;
  Sums<kChannels>* row = to + sums_at<kChannels>(p, image, group, y);
  const Real* from = p.image + (image * p.channels + group * kChannels) * p.plane() + int64_t(y) * p.width;
  const int channels = static_cast<int>(smaller<int64_t>(kChannels, p.channels - group * kChannels));
  constexpr int kAhead = 4;  // strips of 32 pixels
  Real next[kAhead][kChannels];
  const auto load = [&](int x, Real(&values)[kChannels]) {
#pragma unroll
    for (int c = 0; c < kChannels; ++c) values[c] = c < channels && x < p.width ? from[c * p.plane() + x] : 0;
  };
#pragma unroll
  for (int i = 0; i < kAhead; ++i) load(i * kWarp + lane, next[i]);
  Sums<kChannels> before = Sums<kChannels>::zero();
  if (lane == 0) row[0] = before;
  for (int strip = 0; strip < p.width; strip += kAhead * kWarp) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int x = strip + i * kWarp + lane;
      Sums<kChannels> sums;
#pragma unroll
      for (int c = 0; c < kChannels; ++c) {
        double sum = next[i][c];
        for (int step = 1; step < kWarp; step *= 2) {
          const double left = __shfl_up_sync(kWholeWarp, sum, step);
          if (lane >= step) sum += left;
        }
        sums.of[c] = before.of[c] + sum;
        before.of[c] += __shfl_sync(kWholeWarp, sum, kWarp - 1);
      }
      load(x + kAhead * kWarp, next[i]);
      if (x < p.width) row[x + 1] = sums;
    }
  }
}

template <typename Real, int kChannels>
struct GatherTask {
  Picture<Real> picture;
  Shape<Real> shape;
  const Sums<kChannels>* sums;
  Real* slope;         // (B, C, H, W): the derivative to the radius, or null
  const Real* weight;  // (B, C, H, W), for:
  Real* slope_sum;     // (B, 1, H, W): the derivative times weight, summed over channels, or null
};

// The means of one pixel and their derivatives to its radius.
template <int kChannels>
struct Means {
  Sums<kChannels> blur, slope;
};

// Adds `side` times the light left of an end, which lies `end` from the middle of pixel x, and what moves with it.
template <bool kSlope, int kChannels, typename Real>
DEPTHBOKEH_INLINE void add_end(const Sums<kChannels>* row, int width, int x, Real end, Real moved, double side,
                               Means<kChannels>& to) {
  const Real widest = Real(width) + 1;
  const Real edge = larger(-widest, smaller(end + Real(0.5), widest)), floor = std::floor(edge);
  int at = x + static_cast<int>(floor);
  double part = edge - floor;
  if (at < 0) at = 0, part = moved = 0;
  if (at >= width) at = width, part = moved = 0;
  const Sums<kChannels> left = row[at], right = row[smaller(at + 1, width)];
  const double share = side * part, change = side * moved;
  for (int c = 0; c < kChannels; ++c) {
    const double light = right.of[c] - left.of[c];
    to.blur.of[c] += side * left.of[c] + share * light;
    if (kSlope) to.slope.of[c] += change * light;
  }
}

template <bool kSlope, typename Outline, int kChannels, typename Real>
DEPTHBOKEH_INLINE Means<kChannels> gather_pixel(const GatherTask<Real, kChannels>& task, int64_t image, int64_t group,
                                                int x, int y, Real r) {
  const Picture<Real>& p = task.picture;
  Means<kChannels> means{Sums<kChannels>::zero(), Sums<kChannels>::zero()};
  const int first = larger(-task.shape.rows_above(r, p.height), -y);
  const int last = smaller(task.shape.rows_below(r, p.height), p.height - 1 - y);
  const Size<Real> size{r, 1 / r};
  for (int part = 0; part < Outline::parts(task.shape); ++part) {
    const Outline outline(task.shape, part);
    const double sign = outline.sign();
    const Sums<kChannels>* row = task.sums + sums_at<kChannels>(p, image, group, y + first);
    auto lower = outline.level(first - Real(0.5), size, kSlope);
    for (int dy = first; dy <= last; ++dy, row += p.width + 1) {
      const auto upper = outline.level(dy + Real(0.5), size, kSlope);
      const Row<Real> ends = outline.row(dy, size, lower, upper);
      lower = upper;
      add_end<kSlope>(row, p.width, x, ends.right, ends.right_slope, sign, means);
      add_end<kSlope>(row, p.width, x, ends.left, ends.left_slope, -sign, means);
    }
  }
  const double inverse = 1 / double(r), density = inverse * inverse * (1 / kPi);
  for (int c = 0; c < kChannels; ++c) {
    means.blur.of[c] *= density;
    if (kSlope) means.slope.of[c] = means.slope.of[c] * density - 2 * inverse * means.blur.of[c];
  }
  return means;
}

// A thread for every pixel, with all of its channels.
template <bool kSlope, typename Outline, int kChannels, typename Real>
__global__ void __launch_bounds__(kGatherWidth* kGatherHeight)
    gather_pixels(const __grid_constant__ GatherTask<Real, kChannels> task) {
  const Picture<Real>& p = task.picture;
  const unsigned across = ceil_div(p.width, kGatherWidth), down = ceil_div(p.height, kGatherHeight);
  const int x = static_cast<int>(blockIdx.x % across) * kGatherWidth + threadIdx.x % kGatherWidth;
  const int y = static_cast<int>(blockIdx.x / across % down) * kGatherHeight + threadIdx.x / kGatherWidth;
  if (x >= p.width || y >= p.height) return;
  const int64_t image = blockIdx.x / across / down, at = int64_t(y) * p.width + x;
  const Real r = p.radius[image * p.plane() + at];
  const bool blurred = task.shape.blurs(r);
  const Real unknown = is_finite(r) ? Real(0) : Real(NAN);
  Real slope_sum = unknown;
  for (int64_t group = 0; group * kChannels < p.channels; ++group) {
    Means<kChannels> means{Sums<kChannels>::zero(), Sums<kChannels>::zero()};
    if (blurred) means = gather_pixel<kSlope, Outline>(task, image, group, x, y, r);
    for (int c = 0; c < smaller<int64_t>(kChannels, p.channels - group * kChannels); ++c) {
      const int64_t to = (image * p.channels + group * kChannels + c) * p.plane() + at;
      if (p.out) p.out[to] = (blurred ? static_cast<Real>(means.blur.of[c]) : p.image[to]) + unknown;
      if (!kSlope) continue;
      const Real slope = static_cast<Real>(means.slope.of[c]) + unknown;
      if (task.slope) task.slope[to] = slope;
      if (task.slope_sum) slope_sum += slope * task.weight[to];
    }
  }
  if (task.slope_sum) task.slope_sum[image * p.plane() + at] = slope_sum;
}

}  // namespace depthbokeh::cuda
