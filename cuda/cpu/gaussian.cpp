// The Gaussian on the CPU: levels of fixed width in a geometric series, each a separable convolution, and every pixel
// spread over its four nearest levels (cubic in log sigma). The same scheme as depthbokeh/gaussian.py.
#include "gaussian.h"

#include <vector>

#include "kernels.h"
#include "tiles.h"

namespace depthbokeh {
namespace {

constexpr double kSigma0 = 1.0 / 6, kRatio = 1.2;

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
    for (int j = 0; j < kVectors; ++j) v[j] += tap * load(from + j * kEach);
  }
  DEPTHBOKEH_INLINE void add(Real tap, const Real* from, const Real* other) {
    for (int j = 0; j < kVectors; ++j) v[j] += tap * (load(from + j * kEach) + load(other + j * kEach));
  }
  DEPTHBOKEH_INLINE void store(Real* to, int count) const {
    if (count == kSize)
      std::memcpy(to, v, sizeof(v));
    else
      std::memcpy(to, v, size_t(count) * sizeof(Real));
  }
};

// Integrals over pixels of a Gaussian cut at three sigma: taps 0..n of the even kernel, of sum 1 over all.
std::vector<double> sample_gaussian(double sigma, int most) {
  const int count = static_cast<int>(std::min(std::max(0.0, std::ceil(3 * sigma - 0.5)), double(most)));
  const auto integral = [sigma](double edge) {
    return std::erf(std::min(edge, 3 * sigma) / (sigma * std::sqrt(2.0))) / std::erf(3 / std::sqrt(2.0));
  };
  std::vector<double> taps{integral(0.5)};
  for (int i = 1; i <= count; ++i) taps.push_back((integral(i + 0.5) - integral(i - 0.5)) / 2);
  return taps;
}

// The weight of `level` at a pixel whose own width is `position` levels, or its derivative to the position.
template <typename Real>
DEPTHBOKEH_INLINE Real level_weight(Real position, Real level, bool slope) {
  const Real below = std::floor(position), t = position - below, node = level - below;
  const Real before = slope ? -(3 * t * t - 6 * t + 2) / 6 : -t * (t - 1) * (t - 2) / 6;
  const Real here = slope ? (3 * t * t - 4 * t - 1) / 2 : (t + 1) * (t - 1) * (t - 2) / 2;
  const Real next = slope ? -(3 * t * t - 2 * t - 2) / 2 : -(t + 1) * t * (t - 2) / 2;
  const Real after = slope ? (3 * t * t - 1) / 6 : (t + 1) * t * (t - 1) / 6;
  return node == -1 ? before : node == 0 ? here : node == 1 ? next : node == 2 ? after : 0;
}

template <typename Real>
struct Level {
  Real number;
  std::vector<Real> taps;
};

// Where the widths of a row lie among the levels, and how fast they move there with the radius.
template <typename Real>
DEPTHBOKEH_INLINE void place_row(const Real* radius, int width, Real* position, Real* rate) {
  const Real least = Real(2 * kSigma0), step = Real(std::log(kRatio));
  for (int x = 0; x < width; ++x) {
    position[x] = radius[x] > least ? std::log(radius[x] / least) / step : 0;
    rate[x] = radius[x] > least ? 1 / (radius[x] * step) : 0;
  }
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
int pitch_of(const Problem<Real>& p) {
  return (p.width + Block<Real>::kSize - 1) / Block<Real>::kSize * Block<Real>::kSize;
}

template <typename Real>
DEPTHBOKEH_INLINE void along_x(const Problem<Real>& p, const GaussianTargets<Real>& to, const Level<Real>& level,
                               int64_t plane, int y, Real* passed) {
  const int reach = static_cast<int>(level.taps.size()) - 1, width = p.width;
  const size_t row = size_t(y) * width;
  const Real* image = p.image + plane * p.plane() + row;
  std::vector<Real> padded(width + 2 * reach + Block<Real>::kSize);
  std::copy(image, image + width, padded.begin() + reach);
  if (to.weigh_first) {
    std::vector<Real> position(width), rate(width);
    place_row(p.radius + plane / p.channels * p.plane() + row, width, position.data(), rate.data());
    for (int x = 0; x < width; ++x)
      padded[reach + x] *= level_weight(position[x], level.number, to.slope) * (to.slope ? rate[x] : 1);
  }
  convolve_row(padded.data(), level.taps, width, passed + (plane * p.height + y) * pitch_of(p));
}

template <typename Real>
DEPTHBOKEH_INLINE void along_y(const Problem<Real>& p, const GaussianTargets<Real>& to, const Level<Real>& level,
                               int64_t image, int y, const Real* passed) {
  const int width = p.width;
  const size_t row = size_t(y) * width;
  const ptrdiff_t pitch = pitch_of(p);
  std::vector<Real> sum(pitch), position(width), rate(width);
  place_row(p.radius + image * p.plane() + row, width, position.data(), rate.data());
  for (int64_t plane = image * p.channels; plane < (image + 1) * p.channels; ++plane) {
    convolve_column(passed + plane * p.height * pitch, level.taps, y, p.height, pitch, sum.data());
    Real* out = p.out + plane * p.plane() + row;
    if (to.weigh_first)
      for (int x = 0; x < width; ++x) out[x] += sum[x];
    else
      for (int x = 0; x < width; ++x)
        out[x] += sum[x] * level_weight(position[x], level.number, to.slope) * (to.slope ? rate[x] : 1);
    if (to.slope_sum)
      for (int x = 0; x < width; ++x)
        to.slope_sum[image * p.plane() + row + x] +=
            sum[x] * level_weight(position[x], level.number, true) * rate[x] * to.weight[plane * p.plane() + row + x];
  }
}

#define DEPTHBOKEH_PASSES(Real)                                                                                       \
  DEPTHBOKEH_CLONES void rows_along_x(const Problem<Real>& p, const GaussianTargets<Real>& to,                        \
                                      const Level<Real>& level, int64_t begin, int64_t end, Real* passed) {           \
    for (; begin < end; ++begin) along_x(p, to, level, begin / p.height, static_cast<int>(begin % p.height), passed); \
  }                                                                                                                   \
  DEPTHBOKEH_CLONES void rows_along_y(const Problem<Real>& p, const GaussianTargets<Real>& to,                        \
                                      const Level<Real>& level, int64_t begin, int64_t end, const Real* passed) {     \
    for (; begin < end; ++begin) along_y(p, to, level, begin / p.height, static_cast<int>(begin % p.height), passed); \
  }
DEPTHBOKEH_PASSES(float)
DEPTHBOKEH_PASSES(double)
#undef DEPTHBOKEH_PASSES

}  // namespace

template <typename Real>
void gaussian_blur(const Problem<Real>& p, const GaussianTargets<Real>& to) {
  const size_t count = size_t(p.batch * p.channels) * p.plane();
  std::fill(p.out, p.out + count, Real(0));
  if (to.slope_sum) std::fill(to.slope_sum, to.slope_sum + size_t(p.batch) * p.plane(), Real(0));
  if (!count) return;
  const size_t scratch = size_t(p.batch * p.channels * p.height) * pitch_of(p);
  Buffer<Real> passed(scratch);
  std::fill(passed.get(), passed.get() + scratch, Real(0));
  const double widest = std::max(1.0, double(p.largest) / (2 * kSigma0));
  const int last = static_cast<int>(std::floor(std::log(widest) / std::log(kRatio))) + 2;
  for (int number = -1; number <= last; ++number) {
    Level<Real> level{Real(number), {Real(1)}};  // up to level 0 nothing is blurred
    if (number > 0) {
      const auto taps = sample_gaussian(kSigma0 * std::pow(kRatio, number), std::max(p.height, p.width));
      level.taps.assign(taps.begin(), taps.end());
    }
    torch::stable::parallel_for(0, p.batch * p.channels * p.height, 8, [&](int64_t begin, int64_t end) {
      rows_along_x(p, to, level, begin, end, passed.get());
    });
    torch::stable::parallel_for(0, p.batch * p.height, 8, [&](int64_t begin, int64_t end) {
      rows_along_y(p, to, level, begin, end, passed.get());
    });
  }
}

template void gaussian_blur(const Problem<float>&, const GaussianTargets<float>&);
template void gaussian_blur(const Problem<double>&, const GaussianTargets<double>&);

}  // namespace depthbokeh
