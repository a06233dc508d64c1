// scatter_blur on the CPU. Every source adds [v, v part] at the left end of each of its rows and takes it away at
// the right end; one running sum along x then makes rows out of ends. With S the sum of the first halves up to and
// including pixel x, and b the second half there, S - b is the light that arrives at x.
#include "gaussian.h"
#include "kernels.h"
#include "tiles.h"

namespace depthbokeh {
namespace {

// Columns of a tile. Wide ones read and write long stretches of a row and reach over each other less.
constexpr int kTileWidth = 256;

template <typename Real>
int tile_width(const Problem<Real>& p) {
  return std::min(kTileWidth, (p.width + kLanes - 1) / kLanes * kLanes);
}

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

  // One row of a source: its left end adds, its right end takes away.
  struct Ends {
    Pair right, left;
    ptrdiff_t right_at, left_at;

    DEPTHBOKEH_INLINE void add_to(Pair* row) const {
      row[right_at] -= right;
      row[left_at] += left;
    }
  };

  // The rows of one source at `home` in the tile, from row `nearest` on or, unless they are the same after half a turn,
  // from the first there is room for: `above` and `below` say how many there are. `v` is its light, `dv` the light
  // that its derivative moves along with the ends.
  template <bool kMirrored, bool kTurned>
  DEPTHBOKEH_INLINE void deposit(Pair* home, int lane, const Real* v, const Real* dv, int nearest, int above,
                                 int below) const {
    const One light = load(v), none{};
    const Pair whole = pair(light, none), split = pair(none, light), moved = kSlope ? pair(none, load(dv)) : Pair{};
    const Pair both = pair(light + light, light);  // an end's mirror image is this less the end
    const ptrdiff_t pitch = t.pitch();
    int dy = kTurned ? nearest : -above;
    ptrdiff_t k = ptrdiff_t(dy - rows.first) * kLanes + lane;
    const auto find = [&]() __attribute__((always_inline)) {
      Ends ends;
      ends.right = whole + split * Acc(rows.right_part[k]);
      if (kSlope) ends.right += moved * Acc(rows.right_slope[k]);
      ends.right_at = rows.right_at[k];
      if (kMirrored) {
        ends.left = both - ends.right;
        ends.left_at = -ends.right_at;
      } else {
        ends.left = whole + split * Acc(rows.left_part[k]);
        if (kSlope) ends.left += moved * Acc(rows.left_slope[k]);
        ends.left_at = rows.left_at[k];
      }
      return ends;
    };
    if (!kTurned) {
      for (Pair* row = home + dy * pitch; dy <= below; ++dy, k += kLanes, row += pitch) find().add_to(row);
      return;
    }
    const auto turn = [&](const Ends& ends) __attribute__((always_inline)) {
      return kMirrored ? ends : Ends{both - ends.left, both - ends.right, -ends.left_at, -ends.right_at};
    };
    if (dy == 0 && above >= 0 && below >= 0) find().add_to(home);
    if (dy == 0) ++dy, k += kLanes;
    Pair *up = home - dy * pitch, *down = home + dy * pitch;
    for (const int paired = std::min(above, below); dy <= paired; ++dy, k += kLanes, up -= pitch, down += pitch) {
      const Ends ends = find();
      ends.add_to(down);
      turn(ends).add_to(up);
    }
    for (; dy <= above; ++dy, k += kLanes, up -= pitch) turn(find()).add_to(up);
    for (; dy <= below; ++dy, k += kLanes, down += pitch) find().add_to(down);
  }

  // One row of sources.
  template <bool kMirrored, bool kTurned>
  DEPTHBOKEH_INLINE void source_row(int y, int x, int lanes, const Real* radius, const Real (*light)[kLanes],
                                    Real weight, const Ellipse<Real>* ellipse) {
    const Aperture<Real>& a = *p.aperture;
    alignas(64) Real v[kLanes][kChannels], dv[kLanes][kChannels];
    const RowCounts count(p, lanes, radius, ellipse);
    if (count.most_above < 0) return;
    for (int i = 0; i < kLanes; ++i) {
      const Real inverse = 1 / radius[i], scale = weight * inverse * inverse * Real(1 / kPi);
      const Real slope = -2 * inverse * scale;
      for (int c = 0; c < kChannels; ++c) {
        v[i][c] = light[c][i] * (kSlope ? slope : scale);
        if (kSlope) dv[i][c] = light[c][i] * scale;
      }
    }
    // Rows of the tile, as offsets from this one, and those of them that are within reach.
    const int top = t.y0 - y, bottom = t.y1 - 1 - y;
    const int first = std::max(-count.most_above, top), last = std::min(count.most_below, bottom);
    if (first > last) return;
    Pair* home = ends + (y - t.y0) * ptrdiff_t(t.pitch()) + (x - t.lo);
    const int nearest = kTurned ? std::max({0, first, -last}) : first;
    find_rows<kSlope, kMirrored, kTurned>(a, ellipse, radius, nearest, kTurned ? std::max(-first, last) : last,
                                          Real(p.max_columns()), rows);
    for (int i = 0; i < kLanes; ++i)
      if (count.above[i] >= (kTurned ? nearest : 0))
        deposit<kMirrored, kTurned>(home + i, i, v[i], dv[i], nearest, std::min(count.above[i], -top),
                                    std::min(count.below[i], bottom));
  }

  // Running sums of all rows, added to the image up to column `fresh` and from there on written. Clears the tile for
  // the next one.
  DEPTHBOKEH_INLINE void resolve(Real* out, int channels, int fresh) const {
    int y = t.y0;
    for (; y + 2 <= t.y1; y += 2) resolve_rows<2>(out, channels, y, fresh);
    if (y < t.y1) resolve_rows<1>(out, channels, y, fresh);
  }

  // Some rows side by side: every running sum waits for its last step.
  template <int kRows>
  DEPTHBOKEH_INLINE void resolve_rows(Real* out, int channels, int y, int fresh) const {
    using Light = typename Vec<Real>::One;
    const ptrdiff_t pitch = t.pitch();
    Pair* const rows = ends + (y - t.y0) * pitch;
    const One* half = reinterpret_cast<const One*>(rows);
    One sum[kRows] = {};
    const auto next = [&](int row) __attribute__((always_inline)) {
      const One* at = half + row * 2 * pitch;
      sum[row] += at[0];
      return __builtin_convertvector(sum[row] - at[1], Light);
    };
    const auto to = [&](int row, int c, int x)
                        __attribute__((always_inline)) { return out + c * p.plane() + size_t(y + row) * p.width + x; };
    int x = t.lo;
    for (; x < 0; ++x, half += 2)
      for (int row = 0; row < kRows; ++row) next(row);
    const auto put = [&](int last, auto add) __attribute__((always_inline)) {
      for (; x + 4 <= last; x += 4) {
        Light light[kRows][4];
        for (int i = 0; i < 4; ++i, half += 2)
          for (int row = 0; row < kRows; ++row) light[row][i] = next(row);
        for (int row = 0; row < kRows; ++row) {
          transpose<Real>(light[row]);
          for (int c = 0; c < channels; ++c) {
            Light before{};
            if (add()) std::memcpy(&before, to(row, c, x), sizeof(Light));
            before += light[row][c];
            std::memcpy(to(row, c, x), &before, sizeof(Light));
          }
        }
      }
      for (; x < last; ++x, half += 2)
        for (int row = 0; row < kRows; ++row) {
          const Light light = next(row);
          for (int c = 0; c < channels; ++c) *to(row, c, x) = light[c] + (add() ? *to(row, c, x) : 0);
        }
    };
    const int end = std::min(t.hi + 1, p.width);
    put(std::min(fresh, end), std::true_type());
    put(end, std::false_type());
    std::memset(static_cast<void*>(rows), 0, sizeof(Pair) * pitch * kRows);
  }
};

template <typename Acc, bool kSlope, typename Real>
DEPTHBOKEH_INLINE void scatter_tile(const Problem<Real>& p, const Tile& t, const Real* image, const Real* radius,
                                    Real* out, int channels, void* scratch, const RowEnds<Real>& rows) {
  ScatterTile<Acc, kSlope, Real> tile{p, t, static_cast<typename Vec<Acc>::Pair*>(scratch), rows};
  const int reach = p.max_rows();
  const int reached = t.x0 ? 2 * t.x0 - t.lo + 1 : 0;  // columns that the tiles before have written
  alignas(64) Real r[kLanes], light[kChannels][kLanes] = {};
  for (int y = std::max(0, t.y0 - reach); y < std::min(p.height, t.y1 + reach); ++y)
    for (int x = t.x0; x < t.x1; x += kLanes) {
      const size_t from = size_t(y) * p.width + x;
      const int lanes = std::min(kLanes, t.x1 - x);
      if (y + 2 < p.height) {  // memory answers about two rows later
        const size_t below = from + 2 * size_t(p.width);
        prefetch(radius + below);
        for (int c = 0; c < channels; ++c) prefetch(image + c * p.plane() + below);
      }
      p.load_radii(radius + from, lanes, r);
      for (int c = 0; c < channels; ++c) load_lanes(image + c * p.plane() + from, lanes, light[c]);
      if (y >= t.y0 && y < t.y1)
        for (int c = 0; c < channels; ++c) {
          alignas(64) Real sum[kLanes] = {};
          Real* to = out + c * p.plane() + from;
          if (x < reached) load_lanes(to, lanes, sum);  // new memory that is read before it is written costs twice
          for (int i = 0; i < kLanes; ++i)
            sum[i] = (i < reached - x ? sum[i] : 0) + (!kSlope && p.sharp(r[i]) ? light[c][i] : 0);
          std::memcpy(to, sum, lanes * sizeof(Real));
        }
      for_each_part(*p.aperture, [&](auto mirrored, auto turned, Real sign,
                                     const Ellipse<Real>* ellipse) __attribute__((always_inline)) {
        tile.template source_row<mirrored(), turned()>(y, x, lanes, r, light, sign, ellipse);
      });
    }
  tile.resolve(out, channels, std::max(reached, t.x1));
}

#define DEPTHBOKEH_SCATTER_BAND(Real)                                                                              \
  DEPTHBOKEH_CLONES void scatter_band(const Problem<Real>& p, bool slope, const Real* image, const Real* radius,   \
                                      Real* out, int channels, int y0, void* scratch, const RowEnds<Real>& rows) { \
    for (int x0 = 0; x0 < p.width; x0 += kTileWidth) {                                                             \
      const Tile t = make_tile(p, y0, x0, tile_width(p));                                                          \
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
    return size_t(p.band()) * (tile_width(p) + 2 * p.max_columns() + 2) * 2 * kChannels * sizeof(double);
  }
  void operator()(int64_t b, int y0) {
    for (int64_t c = 0; c < p.channels; c += kChannels) {
      const size_t offset = (b * p.channels + c) * p.plane();
      const int channels = static_cast<int>(std::min<int64_t>(kChannels, p.channels - c));
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
