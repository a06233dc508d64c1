// How scatter_blur and gather_blur cut an image into tiles, and what both ask of it.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>
#include <type_traits>
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

// The values of kLanes pixels, or of fewer at the end of a row.
template <typename Real>
DEPTHBOKEH_INLINE void load_lanes(const Real* __restrict from, int lanes, Real* __restrict to) {
  if (lanes == kLanes)
    for (int i = 0; i < kLanes; ++i) to[i] = from[i];
  else
    std::copy(from, from + lanes, to);
}

// Asks for the values of kLanes pixels, to be there when they are loaded.
template <typename Real>
DEPTHBOKEH_INLINE void prefetch(const Real* from) {
  constexpr int kLine = 64 / sizeof(Real);
  for (int i = 0; i < kLanes; i += kLine) __builtin_prefetch(from + i, 0, 2);
}

// Running sums in float lose what is 1e-7 of the brightest value in a tile. That is seen only where a light far above
// white shines into the dark (an HDR lamp at night): tiles with values above `dazzling` are summed in double. The
// squared mean of roots stands for the common brightness, which a few bright pixels hardly move. Found when it is first
// asked for: most images have nothing above white.
template <typename Real>
class Lights {
 public:
  Lights(const Real* values, int64_t count) : values_(values), count_(count) {}

  // Whether a tile with a value that large needs double. Any thread may ask.
  bool dazzle(Real largest) {
    if (largest <= kWhite) return false;
    std::call_once(once_, [this] { find_dazzling(); });
    return !(largest <= dazzling_);  // nor is NaN
  }
  // Whether anything was above white so far.
  bool found() const { return found_; }

 private:
  static constexpr Real kWhite = 4;  // pictures lie within 0..1, with some headroom for recovered highlights

  void find_dazzling() {
    const int64_t step = count_ < 1 << 16 ? 1 : 61;  // a thousand of them will do
    double sum = 0;
    for (int64_t i = 0; i < count_; i += step) sum += std::sqrt(std::abs(values_[i]));
    const double mean = sum / ((count_ + step - 1) / step);
    dazzling_ = std::max(kWhite, Real(32 * mean * mean));
    found_ = true;
  }

  const Real* values_;
  int64_t count_;
  std::once_flag once_;
  Real dazzling_ = kWhite;
  std::atomic<bool> found_{false};
};

// The largest magnitude of many values, kCount at a time. Magnitudes are ordered as their bits are.
template <typename Real, int kCount>
class Brightest {
 public:
  DEPTHBOKEH_INLINE void add(const Real* values) {
    Bits bits;
    std::memcpy(&bits, values, sizeof(bits));
    bits &= std::numeric_limits<Bit>::max();
    largest_ = largest_ > bits ? largest_ : bits;
  }
  DEPTHBOKEH_INLINE Real get() const {
    Bit most = 0;
    for (int i = 0; i < kCount; ++i) most = std::max(most, Bit(largest_[i]));
    Real value;
    std::memcpy(&value, &most, sizeof(value));
    return value;
  }

 private:
  using Bit = std::conditional_t<sizeof(Real) == sizeof(int32_t), int32_t, int64_t>;
  typedef Bit Bits __attribute__((vector_size(kCount * sizeof(Bit))));
  Bits largest_{};
};

template <typename Real>
struct Problem {
  const Real* image;   // (B, C, H, W)
  const Real* radius;  // (B, 1, H, W)
  Real* out;           // (B, C, H, W)
  int64_t batch, channels;
  int height, width;
  const Aperture<Real>* aperture;
  Real largest;  // radius
  Lights<Real>* lights;

  size_t plane() const { return size_t(height) * width; }
  int rows_of(Real r) const { return static_cast<int>(std::min(aperture->reach() * r + Real(0.5), Real(height))); }
  int max_rows() const { return rows_of(largest); }
  int max_columns() const {
    return static_cast<int>(std::min(aperture->extent * largest + Real(0.5), Real(width))) + 1;
  }
  bool sharp(Real r) const { return r * aperture->extent <= Real(0.5); }
  // Radii of neighbouring pixels, kLanes of them, all positive: those that blur nothing are alike.
  DEPTHBOKEH_INLINE void load_radii(const Real* from, int lanes, Real* __restrict to) const {
    const Real least = Real(0.25) / aperture->extent;
    for (int i = 0; i < kLanes; ++i) to[i] = least;
    load_lanes(from, lanes, to);
    for (int i = 0; i < kLanes; ++i) to[i] = to[i] > least ? to[i] : least;
  }
  // Rows of a tile. Depends on the image alone, so that results do not change with the number of threads.
  int band() const { return std::min(128, std::max(16, height / 8)); }
};

// A tile: rows y0..y1, columns x0..x1 of the image, reached by or reaching to columns lo..hi, be they in the image or
// not.
struct Tile {
  int y0, y1, x0, x1, lo, hi;
  int pitch() const { return hi - lo + 1; }
};

template <typename Real>
Tile make_tile(const Problem<Real>& p, int y0, int x0, int width) {
  const int reach = p.max_columns();
  return {y0, std::min(p.height, y0 + p.band()), x0, std::min(p.width, x0 + width), x0 - reach, x0 + width + reach};
}

// How many rows the shape of every lane has above and below its own, -1 for those that blur nothing.
struct RowCounts {
  alignas(64) int above[kLanes], below[kLanes];
  int most_above = -1, most_below = -1;

  template <typename Real>
  DEPTHBOKEH_INLINE RowCounts(const Problem<Real>& p, int lanes, const Real* radius, const Ellipse<Real>* ellipse) {
    const Real top = ellipse ? ellipse->height * ellipse->top() : p.aperture->top;
    const Real bottom = ellipse ? -top : p.aperture->bottom;
    const Real tallest = p.max_rows();  // which is rounded otherwise: buffers have as many rows and no more
    for (int i = 0; i < kLanes; ++i) {
      const Real up = Real(0.5) - bottom * radius[i], down = Real(0.5) + top * radius[i];
      const bool none = p.sharp(radius[i]) || i >= lanes;
      above[i] = none ? -1 : count(up, tallest);
      below[i] = none ? -1 : count(down, tallest);
      most_above = most_above > above[i] ? most_above : above[i];
      most_below = most_below > below[i] ? most_below : below[i];
    }
  }

 private:
  template <typename Real>
  DEPTHBOKEH_INLINE static int count(Real rows, Real most) {
    rows = rows > -1 ? rows : -1;
    return static_cast<int>(rows < most ? rows : most);
  }
};

// Calls visit(mirrored, turned, sign, ellipse) with the symmetries that the aperture has, as constants, for each of its
// ellipses or once without one.
template <typename Real, typename Visit>
DEPTHBOKEH_INLINE void for_each_part(const Aperture<Real>& a, const Visit& visit) {
  constexpr std::true_type yes;
  constexpr std::false_type no;
  const size_t parts = std::max<size_t>(a.ellipses.size(), 1);
  for (size_t i = 0; i < parts; ++i) {
    const Ellipse<Real>* ellipse = a.ellipses.empty() ? nullptr : &a.ellipses[i];
    const Real sign = ellipse ? ellipse->sign : 1;
    if (a.mirrored && a.turned)
      visit(yes, yes, sign, ellipse);
    else if (a.turned)
      visit(no, yes, sign, ellipse);
    else if (a.mirrored)
      visit(yes, no, sign, ellipse);
    else
      visit(no, no, sign, ellipse);
  }
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

// The largest magnitude of many numbers; NaN or infinite if one of them is not finite.
template <typename Real>
Real find_largest(const Real* values, int64_t count) {
  constexpr int64_t kChunk = 1 << 14;
  const int64_t chunks = (count + kChunk - 1) / kChunk;
  std::vector<Real> found(chunks);
  torch::stable::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    for (; begin < end; ++begin) {
      alignas(64) Real most[kLanes] = {}, zero[kLanes] = {};  // x * 0 is NaN where x is not finite
      const int64_t last = std::min(count, (begin + 1) * kChunk);
      int64_t i = begin * kChunk;
      for (; i + kLanes <= last; i += kLanes)
        for (int j = 0; j < kLanes; ++j) {
          const Real v = std::abs(values[i + j]);
          most[j] = most[j] > v ? most[j] : v;
          zero[j] += v * 0;
        }
      for (; i < last; ++i) {
        most[0] = std::max(most[0], std::abs(values[i]));
        zero[0] += values[i] * 0;
      }
      for (int j = 0; j < kLanes; ++j) found[begin] = std::max(found[begin], most[j]);
      for (int j = 0; j < kLanes; ++j) found[begin] += zero[j];
    }
  });
  Real largest = 0;
  for (Real value : found) {
    if (!std::isfinite(value)) return value;
    largest = std::max(largest, value);
  }
  return largest;
}

}  // namespace depthbokeh
