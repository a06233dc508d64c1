// scatter_blur on the CPU. Every source adds [v, v part] at the left end of each of its rows and takes it away at
// the right end; one running sum along x then makes rows out of ends. With S the sum of the first halves up to and
// including pixel x, and b the second half there, S - b is the light that arrives at x.
#include "gaussian.h"
#include "kernels.h"
#include "tiles.h"

namespace depthbokeh {
namespace {

template <typename Acc, bool kSlope, typename Real>
struct ScatterTile {
  using Pair = typename Vec<Acc>::Pair;
  using One = typename Vec<Acc>::One;

  const Problem<Real>& p;
  const Tile& t;
  Pair* ends;  // (band, pitch), zero before and after
  RowEnds<Real> rows;

  DEPTHBOKEH_INLINE static One load(const Real* v) {
    typename Vec<Real>::One light;
    std::memcpy(&light, v, sizeof(light));
    return __builtin_convertvector(light, One);
  }
  DEPTHBOKEH_INLINE static Pair pair(One first, One second) {
    return __builtin_shufflevector(first, second, 0, 1, 2, 3, 4, 5, 6, 7);
  }

  // Rows first..last (offsets from the source's row) of one source, at `home` in the tile. `v` is its light, `dv`
  // the light that its derivative moves along with the ends.
  DEPTHBOKEH_INLINE void deposit(Pair* home, int lane, const Real* v, const Real* dv, int first, int last) const {
    const One light = load(v), none{};
    const Pair whole = pair(light, none), split = pair(none, light), moved = kSlope ? pair(none, load(dv)) : Pair{};
    const ptrdiff_t pitch = t.pitch();
    Pair* row = home + first * pitch;
    for (ptrdiff_t k = ptrdiff_t(first - rows.first) * kLanes + lane; first <= last;
         ++first, k += kLanes, row += pitch) {
      Pair right = whole + split * Acc(rows.right_part[k]), left = whole + split * Acc(rows.left_part[k]);
      if (kSlope) {
        right += moved * Acc(rows.right_slope[k]);
        left += moved * Acc(rows.left_slope[k]);
      }
      row[rows.right_at[k]] -= right;
      row[rows.left_at[k]] += left;
    }
  }

  // The same for rows that mirror each other: `above` and `below` say how many there are room for.
  DEPTHBOKEH_INLINE void deposit_mirrored(Pair* home, int lane, const Real* v, const Real* dv, int first, int above,
                                          int below) const {
    const One light = load(v), none{};
    const Pair whole = pair(light, none), split = pair(none, light), moved = kSlope ? pair(none, load(dv)) : Pair{};
    const Pair both = pair(light + light, light);
    const ptrdiff_t pitch = t.pitch();
    ptrdiff_t k = ptrdiff_t(first - rows.first) * kLanes + lane;
    const auto right_of = [&]() __attribute__((always_inline)) {
      Pair right = whole + split * Acc(rows.right_part[k]);
      if (kSlope) right += moved * Acc(rows.right_slope[k]);
      return right;
    };
    if (first == 0 && above >= 0 && below >= 0) {
      const Pair right = right_of();
      home[rows.right_at[k]] -= right;
      home[rows.left_at[k]] += both - right;
    }
    if (first == 0) ++first, k += kLanes;
    Pair *up = home - first * pitch, *down = home + first * pitch;
    const int paired = std::min(above, below);
    for (; first <= paired; ++first, k += kLanes, up -= pitch, down += pitch) {
      const Pair right = right_of(), left = both - right;
      const ptrdiff_t r = rows.right_at[k], l = rows.left_at[k];
      up[r] -= right;
      up[l] += left;
      down[r] -= right;
      down[l] += left;
    }
    const int last = std::max(above, below);
    const ptrdiff_t step = above > below ? -pitch : pitch;
    for (Pair* row = above > below ? up : down; first <= last; ++first, k += kLanes, row += step) {
      const Pair right = right_of();
      row[rows.right_at[k]] -= right;
      row[rows.left_at[k]] += both - right;
    }
  }

  // One row of sources.
  DEPTHBOKEH_INLINE void source_row(int y, const Real* radius, const Real (*light)[kLanes], Real weight,
                                    const Ellipse<Real>* ellipse) {
    const Aperture<Real>& a = *p.aperture;
    alignas(64) Real v[kLanes][kChannels], dv[kLanes][kChannels];
    alignas(64) int count[kLanes];
    const Real reach = ellipse ? ellipse->height * ellipse->top() : a.reach, tallest = p.height;
    int most = -1;
    for (int i = 0; i < kLanes; ++i) {
      const Real rows_above = reach * radius[i] + Real(0.5);
      const int n = static_cast<int>(rows_above < tallest ? rows_above : tallest);
      count[i] = p.sharp(radius[i]) || i >= t.x1 - t.x0 ? -1 : n;
      most = most > count[i] ? most : count[i];
    }
    if (most < 0) return;
    for (int i = 0; i < kLanes; ++i) {
      const Real inverse = 1 / radius[i], scale = weight * inverse * inverse * Real(1 / kPi);
      const Real slope = -2 * inverse * scale;
      for (int c = 0; c < kChannels; ++c) {
        v[i][c] = light[c][i] * (kSlope ? slope : scale);
        if (kSlope) dv[i][c] = light[c][i] * scale;
      }
    }
    // Rows of the tile that lie within reach, as offsets from this one.
    const int first = std::max(-most, t.y0 - y), last = std::min(most, t.y1 - 1 - y);
    if (first > last) return;
    Pair* home = ends + (y - t.y0) * ptrdiff_t(t.pitch()) + (t.x0 - t.lo);
    const int lo = t.lo - t.x0, hi = t.hi - t.x0;
    if (a.symmetric()) {
      const int nearest = std::max({0, first, -last});
      symmetric_rows<kSlope>(radius, a, ellipse, nearest, std::max(-first, last), lo, hi, rows);
      for (int i = 0; i < kLanes; ++i)
        if (count[i] >= nearest)
          deposit_mirrored(home + i, i, v[i], dv[i], nearest, std::min(count[i], y - t.y0),
                           std::min(count[i], t.y1 - 1 - y));
    } else {
      if (ellipse)
        sheared_rows<kSlope>(radius, *ellipse, first, last, lo, hi, rows);
      else
        table_rows<kSlope>(radius, a, first, last, lo, hi, rows);
      for (int i = 0; i < kLanes; ++i)
        if (count[i] >= 0) deposit(home + i, i, v[i], dv[i], std::max(first, -count[i]), std::min(last, count[i]));
    }
  }

  // Running sums, added to the image; clears the tile for the next one.
  DEPTHBOKEH_INLINE void resolve(Real* out, int channels) const {
    using Light = typename Vec<Real>::One;
    const int begin = std::max(t.lo, 0), end = std::min(t.hi + 1, p.width);
    for (int y = t.y0; y < t.y1; ++y) {
      One* half = reinterpret_cast<One*>(ends + (y - t.y0) * ptrdiff_t(t.pitch()));
      One sum{};
      if (t.lo < 0) sum = half[0], half += 2;
      int x = begin;
      for (; x + 4 <= end; x += 4, half += 8) {
        Light light[4];
        for (int i = 0; i < 4; ++i) {
          sum += half[2 * i];
          light[i] = __builtin_convertvector(sum - half[2 * i + 1], Light);
        }
        transpose<Real>(light);
        for (int c = 0; c < channels; ++c) {
          Real* to = out + c * p.plane() + size_t(y) * p.width + x;
          Light before;
          std::memcpy(&before, to, sizeof(Light));
          before += light[c];
          std::memcpy(to, &before, sizeof(Light));
        }
      }
      for (; x < end; ++x, half += 2) {
        sum += half[0];
        for (int c = 0; c < channels; ++c) out[c * p.plane() + size_t(y) * p.width + x] += Real(sum[c] - half[1][c]);
      }
    }
    std::memset(static_cast<void*>(ends), 0, sizeof(Pair) * t.pitch() * (t.y1 - t.y0));
  }
};

template <typename Acc, bool kSlope, typename Real>
DEPTHBOKEH_INLINE void scatter_tile(const Problem<Real>& p, const Tile& t, const Real* image, const Real* radius,
                                    Real* out, int channels, void* scratch, const RowEnds<Real>& rows) {
  ScatterTile<Acc, kSlope, Real> tile{p, t, static_cast<typename Vec<Acc>::Pair*>(scratch), rows};
  const int reach = p.max_rows(), lanes = t.x1 - t.x0;
  alignas(64) Real r[kLanes], light[kChannels][kLanes] = {};
  for (int y = std::max(0, t.y0 - reach); y < std::min(p.height, t.y1 + reach); ++y) {
    const size_t from = size_t(y) * p.width + t.x0;
    p.load_radii(radius + from, lanes, r);
    for (int c = 0; c < channels; ++c) load_lanes(image + c * p.plane() + from, lanes, light[c]);
    if (!kSlope && y >= t.y0 && y < t.y1)
      for (int c = 0; c < channels; ++c) {
        alignas(64) Real sum[kLanes];
        Real* to = out + c * p.plane() + from;
        load_lanes(to, lanes, sum);
        for (int i = 0; i < kLanes; ++i) sum[i] += p.sharp(r[i]) ? light[c][i] : 0;
        std::memcpy(to, sum, lanes * sizeof(Real));
      }
    if (p.aperture->kind == ApertureKind::kTable)
      tile.source_row(y, r, light, 1, nullptr);
    else
      for (const auto& ellipse : p.aperture->ellipses) tile.source_row(y, r, light, ellipse.sign, &ellipse);
  }
  tile.resolve(out, channels);
}

#define DEPTHBOKEH_SCATTER_BAND(Real)                                                                              \
  DEPTHBOKEH_CLONES void scatter_band(const Problem<Real>& p, bool slope, const Real* image, const Real* radius,   \
                                      Real* out, int channels, int y0, void* scratch, const RowEnds<Real>& rows) { \
    for (int x0 = 0; x0 < p.width; x0 += kLanes) {                                                                 \
      const Tile t = make_tile(p, y0, x0);                                                                         \
      const int top = std::max(0, y0 - p.max_rows()), bottom = std::min(p.height, t.y1 + p.max_rows());            \
      const bool wide = needs_double(p, image, channels, t.x0, t.x1, top, bottom);                                 \
      if (wide && slope)                                                                                           \
        scatter_tile<double, true>(p, t, image, radius, out, channels, scratch, rows);                             \
      else if (wide)                                                                                               \
        scatter_tile<double, false>(p, t, image, radius, out, channels, scratch, rows);                            \
      else if (slope)                                                                                              \
        scatter_tile<Real, true>(p, t, image, radius, out, channels, scratch, rows);                               \
      else                                                                                                         \
        scatter_tile<Real, false>(p, t, image, radius, out, channels, scratch, rows);                              \
    }                                                                                                              \
  }
DEPTHBOKEH_SCATTER_BAND(float)
DEPTHBOKEH_SCATTER_BAND(double)
#undef DEPTHBOKEH_SCATTER_BAND

template <typename Real>
struct ScatterWorker {
  const Problem<Real>& p;
  bool slope;
  Buffer<char> scratch;
  RowBuffer<Real> rows;

  ScatterWorker(const Problem<Real>& problem, bool slope_)
      : p(problem), slope(slope_), scratch(bytes(problem)), rows(2 * problem.max_rows() + 2) {
    std::memset(scratch.get(), 0, bytes(problem));
  }
  static size_t bytes(const Problem<Real>& p) {
    return size_t(p.band()) * (kLanes + 2 * p.max_columns() + 2) * 2 * kChannels * sizeof(double);
  }
  void operator()(int64_t b, int y0) {
    for (int64_t c = 0; c < p.channels; c += kChannels) {
      const size_t offset = (b * p.channels + c) * p.plane();
      const int channels = static_cast<int>(std::min<int64_t>(kChannels, p.channels - c));
      const size_t rows_size = size_t(std::min(p.band(), p.height - y0)) * p.width;
      for (int i = 0; i < channels; ++i) {
        Real* out = p.out + offset + i * p.plane() + size_t(y0) * p.width;
        std::fill(out, out + rows_size, Real(0));
      }
      scatter_band(p, slope, p.image + offset, p.radius + b * p.plane(), p.out + offset, channels, y0, scratch.get(),
                   rows.ends());
    }
  }
};

}  // namespace

template <typename Real>
void scatter_blur(const Problem<Real>& p, bool slope) {
  if (p.aperture->kind == ApertureKind::kGaussian) return gaussian_blur<Real>(p, {true, slope, nullptr, nullptr});
  for_each_band(p, [&] { return ScatterWorker<Real>(p, slope); });
}

template void scatter_blur(const Problem<float>&, bool);
template void scatter_blur(const Problem<double>&, bool);

}  // namespace depthbokeh
