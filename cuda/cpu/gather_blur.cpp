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
  RowEnds<Real> rows;

  ptrdiff_t pitch() const { return t.pitch() + 1; }

  DEPTHBOKEH_INLINE void prepare(const Real* image, int channels, int bottom) const {
    using Light = typename Vec<Real>::One;
    for (int y = top; y < bottom; ++y) {
      One* to = sums + (y - top) * pitch();
      const Real* from = image + size_t(y) * p.width;
      One sum{};
      *to++ = sum;  // left of lo nothing counts
      for (int x = t.lo; x <= t.hi;) {
        if (x < 0 || x + 4 > p.width || x + 3 > t.hi) {
          if (x >= 0 && x < p.width)
            for (int c = 0; c < channels; ++c) sum[c] += Acc(from[c * p.plane() + x]);
          *to++ = sum;
          ++x;
        } else {
          Light light[4]{};
          for (int c = 0; c < channels; ++c) std::memcpy(&light[c], from + c * p.plane() + x, sizeof(Light));
          transpose<Real>(light);
          for (int i = 0; i < 4; ++i) *to++ = sum += __builtin_convertvector(light[i], One);
          x += 4;
        }
      }
    }
  }

  DEPTHBOKEH_INLINE static Pair at(const One* home, int32_t end) {
    Pair pair;
    std::memcpy(&pair, home + end, sizeof(Pair));
    return pair;
  }

  DEPTHBOKEH_INLINE void add(Sums& s, const Pair& right, const Pair& left, ptrdiff_t k) const {
    const Pair first{1, 1, 1, 1, 0, 0, 0, 0}, difference{-1, -1, -1, -1, 1, 1, 1, 1};
    s.blur += right * (first + difference * Acc(rows.right_part[k]));
    s.blur -= left * (first + difference * Acc(rows.left_part[k]));
    if (kSlope) {
      s.slope += right * Acc(rows.right_slope[k]);
      s.slope -= left * Acc(rows.left_slope[k]);
    }
  }

  DEPTHBOKEH_INLINE void collect(Sums& s, const One* home, int lane, int first, int last) const {
    const One* row = home + first * pitch();
    for (ptrdiff_t k = ptrdiff_t(first - rows.first) * kLanes + lane; first <= last;
         ++first, k += kLanes, row += pitch())
      add(s, at(row, rows.right_at[k]), at(row, rows.left_at[k]), k);
  }

  DEPTHBOKEH_INLINE void add_mirrored(Sums& s, const Pair& right, const Pair& left, ptrdiff_t k) const {
    const Pair first{1, 1, 1, 1, 0, 0, 0, 0}, difference{-1, -1, -1, -1, 1, 1, 1, 1};
    const Pair weight = difference * Acc(rows.right_part[k]);
    s.blur += right * (first + weight);
    s.blur -= left * (first + difference - weight);
    if (kSlope) s.slope += (right + left) * Acc(rows.right_slope[k]);
  }

  DEPTHBOKEH_INLINE void collect_mirrored(Sums& s, const One* home, int lane, int above, int below) const {
    ptrdiff_t k = lane;
    add_mirrored(s, at(home, rows.right_at[k]), at(home, rows.left_at[k]), k);
    const One *up = home - pitch(), *down = home + pitch();
    k += kLanes;
    int dy = 1;
    for (const int paired = std::min(above, below); dy <= paired; ++dy, k += kLanes, up -= pitch(), down += pitch()) {
      const int32_t r = rows.right_at[k], l = rows.left_at[k];
      add_mirrored(s, at(up, r) + at(down, r), at(up, l) + at(down, l), k);
    }
    const int last = std::max(above, below);
    const ptrdiff_t step = above > below ? -pitch() : pitch();
    for (const One* row = above > below ? up : down; dy <= last; ++dy, k += kLanes, row += step)
      add_mirrored(s, at(row, rows.right_at[k]), at(row, rows.left_at[k]), k);
  }

  // Row y of the tile: the sums of all its pixels, times `weight`, into `blurred` and `sloped`.
  DEPTHBOKEH_INLINE void target_row(int y, const Real* radius, Acc weight, const Ellipse<Real>* ellipse, One* blurred,
                                    One* sloped) {
    const Aperture<Real>& a = *p.aperture;
    int count[kLanes], most = -1;
    for (int i = 0; i < kLanes; ++i) {
      const Real above = (ellipse ? ellipse->height * ellipse->top() : a.reach) * radius[i] + Real(0.5),
                 tallest = p.height;
      const int n = static_cast<int>(above < tallest ? above : tallest);
      count[i] = p.sharp(radius[i]) || i >= t.x1 - t.x0 ? -1 : n;
      most = most > count[i] ? most : count[i];
    }
    if (most < 0) return;
    const int first = std::max(-most, -y), last = std::min(most, p.height - 1 - y);
    const int lo = t.lo - t.x0, hi = t.hi - t.x0;
    if (a.symmetric())
      symmetric_rows<kSlope>(radius, a, ellipse, 0, std::max(-first, last), lo, hi, rows);
    else if (ellipse)
      sheared_rows<kSlope>(radius, *ellipse, first, last, lo, hi, rows);
    else
      table_rows<kSlope>(radius, a, first, last, lo, hi, rows);
    const One* home = sums + (y - top) * pitch() + (t.x0 - t.lo);
    for (int i = 0; i < kLanes; ++i) {
      if (count[i] < 0) continue;
      Sums s{};
      if (a.symmetric())
        collect_mirrored(s, home + i, i, std::min(count[i], y), std::min(count[i], p.height - 1 - y));
      else
        collect(s, home + i, i, std::max(first, -count[i]), std::min(last, count[i]));
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

template <typename Acc, bool kSlope, typename Real>
DEPTHBOKEH_INLINE void gather_tile(const Problem<Real>& p, const Tile& t, const Real* image, const Real* radius,
                                   const Targets<Real>& to, int channels, void* scratch, const RowEnds<Real>& rows) {
  using Tiles = GatherTile<Acc, kSlope, Real>;
  using One = typename Vec<Acc>::One;
  const int reach = p.max_rows(), lanes = t.x1 - t.x0;
  Tiles tile{p, t, static_cast<One*>(scratch), std::max(0, t.y0 - reach), rows};
  tile.prepare(image, channels, std::min(p.height, t.y1 + reach));
  alignas(64) Real r[kLanes];
  for (int y = t.y0; y < t.y1; ++y) {
    const size_t at = size_t(y) * p.width + t.x0;
    p.load_radii(radius + at, lanes, r);
    alignas(64) One blurred[kLanes] = {}, sloped[kLanes] = {};
    if (p.aperture->kind == ApertureKind::kTable)
      tile.target_row(y, r, 1, nullptr, blurred, sloped);
    else
      for (const auto& e : p.aperture->ellipses) tile.target_row(y, r, e.sign, &e, blurred, sloped);
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
}

#define DEPTHBOKEH_GATHER_BAND(Real)                                                                    \
  DEPTHBOKEH_CLONES void gather_band(const Problem<Real>& p, const Real* image, const Real* radius,     \
                                     const Targets<Real>& to, int channels, int y0, void* scratch,      \
                                     const RowEnds<Real>& rows) {                                       \
    const bool slope = to.slope || to.slope_sum;                                                        \
    for (int x0 = 0; x0 < p.width; x0 += kLanes) {                                                      \
      const Tile t = make_tile(p, y0, x0);                                                              \
      const int top = std::max(0, y0 - p.max_rows()), bottom = std::min(p.height, t.y1 + p.max_rows()); \
      const int left = std::max(0, t.lo), right = std::min(p.width, t.hi + 1);                          \
      const bool wide = needs_double(p, image, channels, left, right, top, bottom);                     \
      if (wide && slope)                                                                                \
        gather_tile<double, true>(p, t, image, radius, to, channels, scratch, rows);                    \
      else if (wide)                                                                                    \
        gather_tile<double, false>(p, t, image, radius, to, channels, scratch, rows);                   \
      else if (slope)                                                                                   \
        gather_tile<Real, true>(p, t, image, radius, to, channels, scratch, rows);                      \
      else                                                                                              \
        gather_tile<Real, false>(p, t, image, radius, to, channels, scratch, rows);                     \
    }                                                                                                   \
  }
DEPTHBOKEH_GATHER_BAND(float)
DEPTHBOKEH_GATHER_BAND(double)
#undef DEPTHBOKEH_GATHER_BAND

template <typename Real>
struct GatherWorker {
  const Problem<Real>& p;
  Targets<Real> to;  // of the whole batch
  Buffer<char> scratch;
  RowBuffer<Real> rows;

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
                  static_cast<int>(std::min<int64_t>(kChannels, p.channels - c)), y0, scratch.get(), rows.ends());
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
