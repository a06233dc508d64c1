// The Gaussian on the CPU: levels of fixed width in a geometric series, each a separable convolution, and every pixel
// spread over its four nearest levels (cubic in log sigma). The same scheme as depthbokeh/gaussian.py.
#include "gaussian.h"

#include <vector>

#include "../levels.h"
#include "kernels.h"
#include "tiles.h"

namespace depthbokeh {
namespace {

// Thirty-two sums, held in registers.
template <typename Real>
struct Block {
  static constexpr int kVectors = 4, kEach = 8, kSize = kVectors * kEach;
  typedef Real Vector __attribute__((vector_size(kEach * sizeof(Real))));
  Vector v[kVectors] = {};

  DEPTHBOKEH_INLINE static Vector load(const Real* from) {
    Vector v;
    std::memcpy(&v, from, sizeof(Vector));
    return v;
  }
  DEPTHBOKEH_INLINE void add(Real tap, const Real* from) {
    v[0] += tap * load(from), v[1] += tap * load(from + kEach);
    v[2] += tap * load(from + 2 * kEach), v[3] += tap * load(from + 3 * kEach);
  }
  DEPTHBOKEH_INLINE void add(Real tap, const Real* from, const Real* other) {
    v[0] += tap * (load(from) + load(other));
    v[1] += tap * (load(from + kEach) + load(other + kEach));
    v[2] += tap * (load(from + 2 * kEach) + load(other + 2 * kEach));
    v[3] += tap * (load(from + 3 * kEach) + load(other + 3 * kEach));
  }
  DEPTHBOKEH_INLINE void store(Real* to, int count) const {
    if (count == kSize)
      std::memcpy(to, v, sizeof(v));
    else
      std::memcpy(to, v, size_t(count) * sizeof(Real));
  }
};

// Taps 0..n of the even kernel.
std::vector<double> sample_gaussian(double sigma, int most) {
  std::vector<double> taps;
  for (int i = 0; i <= gaussian_reach(sigma, most); ++i) taps.push_back(gaussian_tap(i, sigma));
  return taps;
}

template <typename Real>
struct Level {
  Real number;
  std::vector<Real> taps;
  int reach() const { return static_cast<int>(taps.size()) - 1; }
};

// What the levels share.
template <typename Real>
struct Work {
  Real* position;   // (B, H, W): where a pixel's width lies among the levels
  Real* passed;     // (B, C, H, pitch): a level after its pass along x
  uint8_t* active;  // (B, H): whether the level has any weight in a row
  ptrdiff_t pitch;
};

// Weights of a level along a row, or their derivative to the radius; false if all are zero.
template <typename Real>
DEPTHBOKEH_INLINE bool weigh_row(const Real* __restrict position, const Real* __restrict radius, int width, Real level,
                                 bool slope, Real* __restrict weight) {
  const Real step = Real(std::log(kRatio));
  if (slope)
    for (int x = 0; x < width; ++x) {
      const Real rate = 1 / (radius[x] * step);
      weight[x] = level_weight(position[x], level, true) * (position[x] > 0 ? rate : 0);
    }
  else
    for (int x = 0; x < width; ++x) weight[x] = level_weight(position[x], level, false);
  int any = 0;
  for (int x = 0; x < width; ++x) any |= weight[x] != 0;
  return any != 0;
}

// One row along x; `padded` has taps.size() - 1 zeros on either side of the row and a block more after it.
template <typename Real>
DEPTHBOKEH_INLINE void convolve_row(const Real* padded, const std::vector<Real>& taps, int width, Real* out) {
  const int reach = static_cast<int>(taps.size()) - 1;
  for (int x = 0; x < width; x += Block<Real>::kSize) {
    const Real* centre = padded + x + reach;
    Block<Real> sum;
    sum.add(taps[0], centre);
    for (int k = 1; k <= reach; ++k) sum.add(taps[k], centre - k, centre + k);
    sum.store(out + x, std::min(Block<Real>::kSize, width - x));
  }
}

// Row y of a column-wise convolution, rows beyond the image being zero. `plane` has rows of `pitch`, a whole number
// of blocks.
template <typename Real>
DEPTHBOKEH_INLINE void convolve_column(const Real* plane, const std::vector<Real>& taps, int y, int height,
                                       ptrdiff_t pitch, Real* out) {
  const int reach = static_cast<int>(taps.size()) - 1;
  const int paired = std::min({reach, y, height - 1 - y});
  for (ptrdiff_t x = 0; x < pitch; x += Block<Real>::kSize) {
    const Real* centre = plane + y * pitch + x;
    Block<Real> sum;
    sum.add(taps[0], centre);
    for (int k = 1; k <= paired; ++k) sum.add(taps[k], centre - k * pitch, centre + k * pitch);
    for (int k = paired + 1; k <= std::min(reach, y); ++k) sum.add(taps[k], centre - k * pitch);
    for (int k = paired + 1; k <= std::min(reach, height - 1 - y); ++k) sum.add(taps[k], centre + k * pitch);
    sum.store(out + x, Block<Real>::kSize);
  }
}

template <typename Real>
DEPTHBOKEH_INLINE void along_x(const Problem<Real>& p, const GaussianTargets<Real>& to, const Level<Real>& level,
                               int64_t row, const Work<Real>& work) {
  const int width = p.width, reach = level.reach();
  const int64_t image = row / p.height, y = row % p.height;
  std::vector<Real> weight(width, Real(1)), padded(width + 2 * reach + Block<Real>::kSize);
  if (to.weigh_first)
    work.active[row] =
        weigh_row(work.position + row * width, p.radius + row * width, width, level.number, to.slope, weight.data());
  for (int64_t plane = image * p.channels; plane < (image + 1) * p.channels; ++plane) {
    Real* passed = work.passed + (plane * p.height + y) * work.pitch;
    if (to.weigh_first && !work.active[row]) {
      std::fill(passed, passed + width, Real(0));
      continue;
    }
    const Real* __restrict from = p.image + plane * p.plane() + y * width, * __restrict weights = weight.data();
    Real* __restrict centre = padded.data() + reach;
    for (int x = 0; x < width; ++x) centre[x] = from[x] * weights[x];
    convolve_row(padded.data(), level.taps, width, passed);
  }
}

template <typename Real>
DEPTHBOKEH_INLINE void along_y(const Problem<Real>& p, const GaussianTargets<Real>& to, const Level<Real>& level,
                               int64_t row, const Work<Real>& work) {
  const int width = p.width, reach = level.reach();
  const int64_t image = row / p.height, y = row % p.height;
  const Real *position = work.position + row * width, *radius = p.radius + row * width;
  std::vector<Real> sum(work.pitch), weight(width, Real(1)), slope(to.slope_sum ? width : 0);
  bool active = false;
  if (to.weigh_first)
    for (int64_t from = std::max<int64_t>(y - reach, 0); from <= std::min<int64_t>(y + reach, p.height - 1); ++from)
      active = active || work.active[image * p.height + from];
  else
    active = weigh_row(position, radius, width, level.number, to.slope, weight.data());
  if (to.slope_sum) active = weigh_row(position, radius, width, level.number, true, slope.data()) || active;
  if (!active) return;
  for (int64_t plane = image * p.channels; plane < (image + 1) * p.channels; ++plane) {
    convolve_column(work.passed + plane * p.height * work.pitch, level.taps, static_cast<int>(y), p.height, work.pitch,
                    sum.data());
    Real* out = p.out + plane * p.plane() + y * width;
    for (int x = 0; x < width; ++x) out[x] += sum[x] * weight[x];
    if (to.slope_sum) {
      const Real* other = to.weight + plane * p.plane() + y * width;
      Real* slope_sum = to.slope_sum + row * width;
      for (int x = 0; x < width; ++x) slope_sum[x] += sum[x] * slope[x] * other[x];
    }
  }
}

#define DEPTHBOKEH_PASSES(Real)                                                                                       \
  DEPTHBOKEH_CLONES void pass_along_x(const Problem<Real>& p, const GaussianTargets<Real>& to,                        \
                                      const Level<Real>& level, int64_t begin, int64_t end, const Work<Real>& work) { \
    for (; begin < end; ++begin) along_x(p, to, level, begin, work);                                                  \
  }                                                                                                                   \
  DEPTHBOKEH_CLONES void pass_along_y(const Problem<Real>& p, const GaussianTargets<Real>& to,                        \
                                      const Level<Real>& level, int64_t begin, int64_t end, const Work<Real>& work) { \
    for (; begin < end; ++begin) along_y(p, to, level, begin, work);                                                  \
  }
DEPTHBOKEH_PASSES(float)
DEPTHBOKEH_PASSES(double)
#undef DEPTHBOKEH_PASSES

}  // namespace

template <typename Real>
void gaussian_blur(const Problem<Real>& p, const GaussianTargets<Real>& to) {
  const int64_t rows = p.batch * p.height, pixels = rows * p.width;
  std::fill(p.out, p.out + pixels * p.channels, Real(0));
  if (to.slope_sum) std::fill(to.slope_sum, to.slope_sum + pixels, Real(0));
  if (!pixels || !p.channels) return;
  const ptrdiff_t pitch = (p.width + Block<Real>::kSize - 1) / Block<Real>::kSize * Block<Real>::kSize;
  const size_t passed_size = size_t(rows * p.channels) * pitch;
  Buffer<Real> position(pixels), passed(passed_size);
  std::vector<uint8_t> active(rows);
  std::fill(passed.get(), passed.get() + passed_size, Real(0));
  const Work<Real> work{position.get(), passed.get(), active.data(), pitch};
  const Real least = Real(2 * kSigma0), step = Real(std::log(kRatio));
  torch::stable::parallel_for(0, pixels, 1 << 12, [&](int64_t begin, int64_t end) {
    for (; begin < end; ++begin)
      work.position[begin] = p.radius[begin] > least ? std::log(p.radius[begin] / least) / step : 0;
  });
  const double widest = std::max(1.0, double(p.largest) / (2 * kSigma0));
  const int last = static_cast<int>(std::floor(std::log(widest) / std::log(kRatio))) + 2;
  for (int number = -1; number <= last; ++number) {
    Level<Real> level{Real(number), {Real(1)}};  // up to level 0 nothing is blurred
    if (number > 0) {
      const auto taps = sample_gaussian(kSigma0 * std::pow(kRatio, number), std::max(p.height, p.width));
      level.taps.assign(taps.begin(), taps.end());
    }
    torch::stable::parallel_for(0, rows, 8,
                                [&](int64_t begin, int64_t end) { pass_along_x(p, to, level, begin, end, work); });
    torch::stable::parallel_for(0, rows, 8,
                                [&](int64_t begin, int64_t end) { pass_along_y(p, to, level, begin, end, work); });
  }
}

template void gaussian_blur(const Problem<float>&, const GaussianTargets<float>&);
template void gaussian_blur(const Problem<double>&, const GaussianTargets<double>&);

}  // namespace depthbokeh
