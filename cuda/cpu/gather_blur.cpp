// gather_blur on the CPU: the adjoint of scatter_blur. With P the running sum of a row of the image, the light
// between two ends is P there minus P here, P taken between its values at the pixels on either side of the end.
#include "gaussian.h"
#include "kernels.h"
#include "tiles.h"

namespace depthbokeh {
namespace {

template <typename Acc, bool kSlope, typename Real>
struct GatherTile {
  using Pair = typename Vec<Acc>::Pair;
  using One = typename Vec<Acc>::One;
  // Where a row of pixels is gathered to: its means, and the same with the derivative of the disk.
  struct Sums {
    Pair blur, slope;
  };

  const Problem<Real>& p;
  const Tile& t;
  One* sums;  // running sums: (rows of the tile and its reach, pitch + 1)
  int top;    // the row of the image that the first of them is
  RowTable<Real> rows;

  ptrdiff_t pitch() const { return t.pitch() + 1; }

  // False if running sums of Acc would lose what the lights of the tile leave dark.
  DEPTHBOKEH_INLINE bool prepare(const Real* image, int channels, int bottom) const {
    using Light = typename Vec<Real>::One;
    Brightest<Real, kChannels> brightest;
    for (int y = top; y < bottom; ++y) {
      One* to = sums + (y - top) * pitch();
      const Real* from = image + size_t(y) * p.width;
      One sum{};
      *to++ = sum;  // left of lo nothing counts
      for (int x = t.lo; x <= t.hi;) {
        if (x < 0 || x + 4 > p.width || x + 3 > t.hi) {
          Light light{};
          if (x >= 0 && x < p.width)
            for (int c = 0; c < channels; ++c) light[c] = from[c * p.plane() + x];
          brightest.add(reinterpret_cast<const Real*>(&light));
          *to++ = sum += __builtin_convertvector(light, One);
          ++x;
        } else {
          Light light[4]{};
          for (int c = 0; c < channels; ++c) {
            std::memcpy(&light[c], from + c * p.plane() + x, sizeof(Light));
            brightest.add(reinterpret_cast<const Real*>(&light[c]));
          }
          transpose<Real>(light);
          for (int i = 0; i < 4; ++i) *to++ = sum += __builtin_convertvector(light[i], One);
          x += 4;
        }
      }
    }
    return sizeof(Acc) == sizeof(double) || !p.lights->dazzle(brightest.get());
  }

  DEPTHBOKEH_INLINE static Pair at(const One* home, int32_t end) {
    Pair pair;
    std::memcpy(&pair, home + end, sizeof(Pair));
    return pair;
  }

  // The light at both ends of a row.
  struct Ends {
    Pair right, left;
  };

  // The means of one pixel at `home`: its first row is `first`, and `above` and `below` say how many there are.
  template <bool kMirrored, bool kTurned>
  DEPTHBOKEH_INLINE Sums collect(const One* home, int lane, int above, int below) const {
    const Pair begin{1, 1, 1, 1, 0, 0, 0, 0}, difference{-1, -1, -1, -1, 1, 1, 1, 1}, one = begin + begin + difference;
    Sums s{};
    int dy = kTurned ? 0 : -above;
    const RowEnds<Real>* ends_of = &rows[dy];
    const auto right_at = [&]() __attribute__((always_inline)) { return ptrdiff_t(ends_of->right_at[lane]); };
    const auto left_at = [&]() __attribute__((always_inline)) {
      return kMirrored ? -right_at() : ptrdiff_t(ends_of->left_at[lane]);
    };
    const auto row_at = [&](const One* row)
                            __attribute__((always_inline)) { return Ends{at(row, right_at()), at(row, left_at())}; };
    // Of row -dy, which is row dy after half a turn. An end's mirror image has one less its weights.
    const auto turned_at = [&](const One* row) __attribute__((always_inline)) {
      if (kMirrored) return row_at(row);
      const Ends ends{at(row, -right_at()), at(row, -left_at())};
      s.blur += ends.left - ends.right;
      return ends;
    };
    const auto add = [&](const Ends& ends) __attribute__((always_inline)) {
      const Pair right = begin + difference * Acc(ends_of->right_part[lane]);
      s.blur += ends.right * right;
      s.blur -= ends.left * (kMirrored ? one - right : begin + difference * Acc(ends_of->left_part[lane]));
      if (kSlope && kMirrored) s.slope += (ends.right + ends.left) * Acc(ends_of->right_slope[lane]);
      if (kSlope && !kMirrored)
        s.slope += ends.right * Acc(ends_of->right_slope[lane]) - ends.left * Acc(ends_of->left_slope[lane]);
    };
    if (!kTurned) {
      for (const One* row = home + dy * pitch(); dy <= below; ++dy, ++ends_of, row += pitch()) add(row_at(row));
      return s;
    }
    add(row_at(home));
    ++dy, ++ends_of;
    const One *up = home - pitch(), *down = home + pitch();
    for (const int paired = std::min(above, below); dy <= paired; ++dy, ++ends_of, up -= pitch(), down += pitch()) {
      const Ends lower = row_at(down), upper = turned_at(up);
      add({lower.right + upper.right, lower.left + upper.left});
    }
    for (; dy <= above; ++dy, ++ends_of, up -= pitch()) add(turned_at(up));
    for (; dy <= below; ++dy, ++ends_of, down += pitch()) add(row_at(down));
    return s;
  }

  // Row y of the tile: the sums of all its pixels, times `weight`, into `blurred` and `sloped`.
  template <bool kMirrored, bool kTurned>
  DEPTHBOKEH_INLINE void target_row(int y, const Real* radius, Acc weight, const Ellipse<Real>* ellipse, One* blurred,
                                    One* sloped) {
    const RowCounts count(p, t.x1 - t.x0, radius, ellipse);
    if (count.most_above < 0) return;
    const int first = std::max(-count.most_above, -y), last = std::min(count.most_below, p.height - 1 - y);
    find_rows<kSlope, kMirrored, kTurned>(*p.aperture, ellipse, radius, kTurned ? 0 : first,
                                          kTurned ? std::max(-first, last) : last, Real(p.max_columns()), rows);
    const One* home = sums + (y - top) * pitch() + (t.x0 - t.lo);
    for (int i = 0; i < kLanes; ++i) {
      if (count.above[i] < 0) continue;
      const Sums s = collect<kMirrored, kTurned>(home + i, i, std::min(count.above[i], y),
                                                 std::min(count.below[i], p.height - 1 - y));
      const Acc inverse = Acc(1) / radius[i], scale = weight * inverse * inverse * Acc(1 / kPi);
      const One blur = low(s.blur) + high(s.blur);
      blurred[i] += blur * scale;
      if (kSlope) sloped[i] += (high(s.slope) - low(s.slope)) * scale - blur * (2 * inverse * scale);
    }
  }

  DEPTHBOKEH_INLINE static One low(const Pair& v) { return __builtin_shufflevector(v, v, 0, 1, 2, 3); }
  DEPTHBOKEH_INLINE static One high(const Pair& v) { return __builtin_shufflevector(v, v, 4, 5, 6, 7); }
};

// What a band is gathered into; null pointers are left out.
template <typename Real>
struct Targets {
  Real* blur;          // (C, H, W)
  Real* slope;         // (C, H, W)
  const Real* weight;  // (C, H, W)
  Real* slope_sum;     // (1, H, W): slope times weight, summed over channels
};

// False, and nothing is done, if the tile needs sums in double.
template <typename Acc, bool kSlope, typename Real>
DEPTHBOKEH_INLINE bool gather_tile(const Problem<Real>& p, const Tile& t, const Real* image, const Real* radius,
                                   const Targets<Real>& to, int channels, void* scratch, RowTable<Real> rows) {
  using Tiles = GatherTile<Acc, kSlope, Real>;
  using One = typename Vec<Acc>::One;
  const int reach = p.max_rows(), lanes = t.x1 - t.x0;
  Tiles tile{p, t, static_cast<One*>(scratch), std::max(0, t.y0 - reach), rows};
  if (!tile.prepare(image, channels, std::min(p.height, t.y1 + reach))) return false;
  alignas(64) Real r[kLanes];
  for (int y = t.y0; y < t.y1; ++y) {
    const size_t at = size_t(y) * p.width + t.x0;
    p.load_radii(radius + at, lanes, r);
    alignas(64) One blurred[kLanes] = {}, sloped[kLanes] = {};
    for_each_part(*p.aperture, [&](auto mirrored, auto turned, Real sign,
                                   const Ellipse<Real>* ellipse) __attribute__((always_inline)) {
      tile.template target_row<mirrored(), turned()>(y, r, sign, ellipse, blurred, sloped);
    });
    for (int c = 0; c < channels; ++c) {
      const size_t plane = c * p.plane() + at;
      if (to.blur)
        for (int i = 0; i < lanes; ++i) to.blur[plane + i] = p.sharp(r[i]) ? image[plane + i] : Real(blurred[i][c]);
      if (to.slope)
        for (int i = 0; i < lanes; ++i) to.slope[plane + i] = Real(sloped[i][c]);
      if (to.slope_sum)
        for (int i = 0; i < lanes; ++i) to.slope_sum[at + i] += Real(sloped[i][c]) * to.weight[plane + i];
    }
  }
  return true;
}

#define DEPTHBOKEH_GATHER_BAND(Real)                                                                        \
  DEPTHBOKEH_CLONES void gather_band(const Problem<Real>& p, const Real* image, const Real* radius,         \
                                     const Targets<Real>& to, int channels, int y0, void* scratch,          \
                                     RowTable<Real> rows) {                                                 \
    const bool slope = to.slope || to.slope_sum;                                                            \
    for (int x0 = 0; x0 < p.width; x0 += kLanes) {                                                          \
      const Tile t = make_tile(p, y0, x0, kLanes);                                                          \
      const bool done = slope ? gather_tile<Real, true>(p, t, image, radius, to, channels, scratch, rows)   \
                              : gather_tile<Real, false>(p, t, image, radius, to, channels, scratch, rows); \
      if (sizeof(Real) == sizeof(double) || done) continue;                                                 \
      if (slope)                                                                                            \
        gather_tile<double, true>(p, t, image, radius, to, channels, scratch, rows);                        \
      else                                                                                                  \
        gather_tile<double, false>(p, t, image, radius, to, channels, scratch, rows);                       \
    }                                                                                                       \
  }
DEPTHBOKEH_GATHER_BAND(float)
DEPTHBOKEH_GATHER_BAND(double)
#undef DEPTHBOKEH_GATHER_BAND

template <typename Real>
struct GatherWorker {
  const Problem<Real>& p;
  Targets<Real> to;  // of the whole batch
  Buffer<char> scratch;
  Buffer<RowEnds<Real>> rows;

  GatherWorker(const Problem<Real>& problem, const Targets<Real>& targets)
      : p(problem), to(targets), scratch(bytes(problem)), rows(2 * problem.max_rows() + 2) {}
  static size_t bytes(const Problem<Real>& p) {
    const size_t height = std::min(p.height, p.band() + 2 * p.max_rows());
    return height * (kLanes + 2 * p.max_columns() + 3) * kChannels * sizeof(double);
  }
  // All groups of channels of a band in turn: they share slope_sum.
  void operator()(int64_t b, int y0) {
    for (int64_t c = 0; c < p.channels; c += kChannels) {
      const size_t offset = (b * p.channels + c) * p.plane();
      const auto from = [offset](auto* base) { return base ? base + offset : nullptr; };
      const Targets<Real> group{from(to.blur), from(to.slope), from(to.weight),
                                to.slope_sum ? to.slope_sum + b * p.plane() : nullptr};
      gather_band(p, p.image + offset, p.radius + b * p.plane(), group,
                  static_cast<int>(std::min<int64_t>(kChannels, p.channels - c)), y0, scratch.get(), {rows.get(), 0});
    }
  }
};

template <typename Real>
void gather(const Problem<Real>& p, const Targets<Real>& to) {
  for_each_band(p, [&] { return GatherWorker<Real>(p, to); });
}

}  // namespace

template <typename Real>
void gather_blur(const Problem<Real>& p, bool slope) {
  if (p.aperture->kind == ApertureKind::kGaussian) return gaussian_blur<Real>(p, {false, slope, nullptr, nullptr});
  gather(p, slope ? Targets<Real>{nullptr, p.out, nullptr, nullptr} : Targets<Real>{p.out, nullptr, nullptr, nullptr});
}

template <typename Real>
void gather_blur_backward(const Problem<Real>& p, const Real* weight, Real* radius_out) {
  if (p.aperture->kind == ApertureKind::kGaussian) return gaussian_blur<Real>(p, {false, false, weight, radius_out});
  std::memset(radius_out, 0, size_t(p.batch) * p.plane() * sizeof(Real));
  gather(p, Targets<Real>{p.out, nullptr, weight, radius_out});
}

#define DEPTHBOKEH_INSTANTIATE(Real)                     \
  template void gather_blur(const Problem<Real>&, bool); \
  template void gather_blur_backward(const Problem<Real>&, const Real*, Real*);
DEPTHBOKEH_INSTANTIATE(float)
DEPTHBOKEH_INSTANTIATE(double)
#undef DEPTHBOKEH_INSTANTIATE

}  // namespace depthbokeh
