// How scatter_blur and gather_blur cut an image into tiles, and what both ask of it beforehand.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "rows.h"

namespace depthbokeh {

template <typename T>
struct Vec {  // GCC and Clang vectors: kChannels values, or kChannels pairs of values
  typedef T One __attribute__((vector_size(kChannels * sizeof(T))));
  typedef T Pair __attribute__((vector_size(2 * kChannels * sizeof(T))));
};

// Four pixels of kChannels values to kChannels rows of four pixels, and back.
template <typename T>
DEPTHBOKEH_INLINE void transpose(typename Vec<T>::One v[4]) {
  const auto a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5), b = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
  const auto c = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5), d = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
  v[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  v[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  v[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  v[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

template <typename Real>
struct Problem {
  const Real* image;   // (B, C, H, W)
  const Real* radius;  // (B, 1, H, W)
  Real* out;           // (B, C, H, W)
  int64_t batch, channels;
  int height, width;
  const Aperture<Real>* aperture;
  Real largest;  // radius

  size_t plane() const { return size_t(height) * width; }
  int rows_of(Real r) const { return static_cast<int>(std::min(aperture->reach * r + Real(0.5), Real(height))); }
  int max_rows() const { return rows_of(largest); }
  int max_columns() const {
    return static_cast<int>(std::min(aperture->extent * largest + Real(0.5), Real(width))) + 1;
  }
  bool sharp(Real r) const { return r * aperture->extent <= Real(0.5); }
  // Rows of a tile. Depends on the image alone, so that results do not change with the number of threads.
  int band() const { return std::min(128, std::max(16, height / 8)); }
};

// A tile: rows y0..y1, columns x0..x1 of the image, reached by or reaching to columns lo..hi. One column on either
// side of the image stands for all that is beyond it.
struct Tile {
  int y0, y1, x0, x1, lo, hi;
  int pitch() const { return hi - lo + 1; }
};

template <typename Real>
Tile make_tile(const Problem<Real>& p, int y0, int x0) {
  const int reach = p.max_columns();
  return {y0,
          std::min(p.height, y0 + p.band()),
          x0,
          std::min(p.width, x0 + kLanes),
          std::max(-1, x0 - reach),
          std::min(p.width, x0 + kLanes + reach)};
}

// Calls worker(b, y0) for every image and band of rows, threads taking the next that is free. `make` gives
// each thread its own worker with its own scratch memory.
template <typename Real, typename Make>
void for_each_band(const Problem<Real>& p, const Make& make) {
  const int64_t bands = (p.height + p.band() - 1) / p.band();
  const int64_t count = p.batch * bands;
  if (count == 0 || p.channels == 0 || p.width == 0) return;
  std::atomic<int64_t> next{0};
  const int64_t threads = std::min<int64_t>(torch::stable::get_num_threads(), count);
  torch::stable::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    for (; begin < end; ++begin) {
      auto worker = make();
      for (int64_t task = next++; task < count; task = next++)
        worker(task / bands, static_cast<int>(task % bands) * p.band());
    }
  });
}

// The largest of many numbers, at least 0; false if one of them is not finite.
template <typename Real>
bool find_largest(const Real* values, int64_t count, Real& largest) {
  constexpr int64_t kChunk = 1 << 14;
  const int64_t chunks = (count + kChunk - 1) / kChunk;
  std::vector<Real> found(chunks);
  std::atomic<bool> finite{true};
  torch::stable::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    for (; begin < end; ++begin) {
      const Real* from = values + begin * kChunk;
      const int64_t n = std::min(kChunk, count - begin * kChunk);
      Real most[kLanes] = {}, zero[kLanes] = {};  // x * 0 is NaN where x is not finite
      for (int64_t i = 0; i < n; i += kLanes)
        for (int64_t j = 0; j < std::min<int64_t>(kLanes, n - i); ++j) {
          most[j] = most[j] > from[i + j] ? most[j] : from[i + j];
          zero[j] += from[i + j] * 0;
        }
      Real nothing = 0;
      for (int j = 0; j < kLanes; ++j) {
        found[begin] = std::max(found[begin], most[j]);
        nothing += zero[j];
      }
      if (!(nothing == 0)) finite = false;
    }
  });
  for (Real value : found) largest = std::max(largest, value);
  return finite;
}

// Running sums in float lose what is 1e-7 of the brightest value beside it. Where the light of a tile spans so much
// that this could be seen (an HDR lamp at night), the tile is done in double. The squared mean of roots stands for
// the common brightness: a few bright pixels hardly move it, and black ones do not count. Every fourth row is enough.
template <typename Real>
DEPTHBOKEH_INLINE bool needs_double(const Problem<Real>& p, const Real* image, int channels, int x0, int x1, int y0,
                                    int y1) {
  if (sizeof(Real) == sizeof(double)) return true;
  for (int c = 0; c < channels; ++c) {
    Real largest[kLanes] = {}, roots[kLanes] = {}, counts[kLanes] = {};
    for (int y = y0; y < y1; ++y) {
      const Real* from = image + c * p.plane() + size_t(y) * p.width;
      for (int x = x0; x < x1; x += kLanes) {
        const int lanes = std::min(kLanes, x1 - x);
        for (int i = 0; i < lanes; ++i) largest[i] = std::max(largest[i], std::abs(from[x + i]));
        if ((y - y0) % 4 == 0)
          for (int i = 0; i < lanes; ++i) {
            const Real root = std::sqrt(std::abs(from[x + i]));
            roots[i] += root;
            counts[i] += root > 0 ? 1 : 0;
          }
      }
    }
    double most = 0, sum = 0, count = 0;
    for (int i = 0; i < kLanes; ++i) {
      most = std::max(most, double(largest[i]));
      sum += roots[i];
      count += counts[i];
    }
    if (most * count * count > 32 * sum * sum) return true;
  }
  return false;
}

}  // namespace depthbokeh
