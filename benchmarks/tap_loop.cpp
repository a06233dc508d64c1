// The yardstick: variable-radius scatter the direct way, one multiplication per tap of every pixel's disk, O(r^2).
//
// Every source pixel spreads over the pixels whose centre lies in its disk, with an edge one pixel wide:
//   weight = clamp(r + 1/2 - distance, 0, 1) / (pi r^2)
// Written as a gather with the sources' radii, so that no two threads write the same pixel. Speed is its purpose:
// it has no gradient, one kind of aperture and sums that are 1 only approximately.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <vector>

#ifdef TAP_LOOP_SIMD
#define VECTORIZE _Pragma("omp simd")
#else
#define VECTORIZE
#endif

namespace {

struct Tap {
  int64_t dx;
  float distance;
};

struct Picture {
  const float* planes;  // (C, H, W)
  const float* radius;  // (H, W)
  const float* share;   // (H, W) what one full tap of a source weighs
  float* blurred;       // (C, H, W)
  int64_t height, width;
};

// Sums of a stretch of this many pixels and the rows that they read fit into the first-level cache.
constexpr int64_t kStretch = 512;

template <int C>
inline void add_tap(float* __restrict sums, const float* __restrict radius, const float* __restrict share,
                    const float* __restrict source, int64_t plane, int64_t count, float edge) {
  VECTORIZE
  for (int64_t i = 0; i < count; ++i) {
    const float weight = std::clamp(radius[i] + edge, 0.f, 1.f) * share[i];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sums[c * kStretch + i] += weight * source[c * plane + i];
  }
}

template <int C>
void blur_stretch(const Picture& p, const std::vector<std::vector<Tap>>& taps, int64_t y, int64_t left) {
  const int64_t plane = p.height * p.width, right = std::min(left + kStretch, p.width);
  const int64_t reach = static_cast<int64_t>(taps.size()) - 1;
  float sums[C * kStretch] = {};
  for (int64_t row = std::max<int64_t>(0, y - reach); row <= std::min(p.height - 1, y + reach); ++row) {
    for (const Tap tap : taps[std::abs(row - y)]) {
      const int64_t begin = std::max(left, -tap.dx), end = std::min(right, p.width - tap.dx);
      const int64_t source = row * p.width + begin + tap.dx;
      add_tap<C>(sums + (begin - left), p.radius + source, p.share + source, p.planes + source, plane, end - begin,
                 0.5f - tap.distance);
    }
  }
  for (int c = 0; c < C; ++c)
    std::copy_n(sums + c * kStretch, right - left, p.blurred + c * plane + y * p.width + left);
}

// The taps of a row by its distance |dy| from the centre, for a disk of the largest radius.
std::vector<std::vector<Tap>> list_taps(float largest) {
  const auto reach = static_cast<int64_t>(largest + 0.5f);
  std::vector<std::vector<Tap>> taps(reach + 1);
  for (int64_t dy = 0; dy <= reach; ++dy) {
    for (int64_t dx = -reach; dx <= reach; ++dx) {
      const auto distance = static_cast<float>(std::sqrt(double(dx * dx + dy * dy)));
      if (distance < largest + 0.5f) taps[dy].push_back({dx, distance});
    }
  }
  return taps;
}

template <int C>
void blur_planes(const Picture& p, const std::vector<std::vector<Tap>>& taps, int threads) {
#pragma omp parallel for schedule(dynamic, 4) num_threads(threads)
  for (int64_t y = 0; y < p.height; ++y)
    for (int64_t left = 0; left < p.width; left += kStretch) blur_stretch<C>(p, taps, y, left);
}

}  // namespace

// image and out: (C, H, W), radius: (H, W), all contiguous.
extern "C" void tap_loop(const float* image, const float* radius, float* out, int64_t channels, int64_t height,
                         int64_t width, int threads) {
  const int64_t plane = height * width;
  std::vector<float> share(plane);
  float largest = 0;
  for (int64_t i = 0; i < plane; ++i) {
    const float r = radius[i];
    largest = std::max(largest, r);
    // Below half a pixel there is one tap of weight r + 1/2 alone: it keeps all light.
    share[i] = 1 / std::max(3.14159265f * r * r, std::min(r + 0.5f, 1.f));
  }
  const auto taps = list_taps(largest);
  for (int64_t c = 0; c < channels; c += 4) {
    const Picture p{image + c * plane, radius, share.data(), out + c * plane, height, width};
    switch (std::min<int64_t>(4, channels - c)) {
      case 1:
        blur_planes<1>(p, taps, threads);
        break;
      case 2:
        blur_planes<2>(p, taps, threads);
        break;
      case 3:
        blur_planes<3>(p, taps, threads);
        break;
      default:
        blur_planes<4>(p, taps, threads);
    }
  }
}
