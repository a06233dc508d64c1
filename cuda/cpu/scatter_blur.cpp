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

// Which lanes have a row at all, for every distance from their own.
class Reaching {
 public:
  static size_t size(int rows) { return size_t(rows + 2) * kBanks; }

  explicit Reaching(uint64_t* lanes) : lanes_(lanes) {}
  // `count`: how many rows every lane has, -1 for none. Distances 0..farthest.
  DEPTHBOKEH_INLINE void find(const int* count, int farthest) {
    alignas(64) int32_t slot[kLanes];
    for (int i = 0; i < kLanes; ++i) slot[i] = ((count[i] < farthest ? count[i] : farthest) + 1) * kBanks + i % kBanks;
    for (int i = 0; i < (farthest + 2) * kBanks; ++i) lanes_[i] = 0;
    uint64_t lane = 1;
    for (int i = 0; i < kLanes; i += kBanks)
      for (int j = 0; j < kBanks; ++j, lane += lane) lanes_[slot[i + j]] |= lane;
    for (uint64_t* row = lanes_ + farthest * kBanks; row != lanes_; row -= kBanks)
      for (int j = 0; j < kBanks; ++j) row[j] |= row[kBanks + j];
  }
  DEPTHBOKEH_INLINE uint64_t operator[](int dy) const {
    const uint64_t* banks = lanes_ + (dy + 1) * kBanks;
    return (banks[0] | banks[1]) | (banks[2] | banks[3]);
  }

 private:
  static constexpr int kBanks = 4;  // neighbours mostly have as many rows, they would wait for each other
  uint64_t* lanes_;                 // one row of banks for every count, from -1 on
};

template <typename Acc, bool kSlope, typename Real>
struct ScatterTile {
  using Pair = typename Vec<Acc>::Pair;
  using One = typename Vec<Acc>::One;

  const Problem<Real>& p;
  const Tile& t;
  Pair* ends;  // (band, pitch), zero before and after
  RowTable<Real> rows;
  Reaching reaching;

  DEPTHBOKEH_INLINE static Pair pair(One first, One second) {
    return __builtin_shufflevector(first, second, 0, 1, 2, 3, 4, 5, 6, 7);
  }

  // Of an end's weights the first half is 1 and the second its part; those of its mirror image are kBoth less its own.
  static constexpr Pair kFirst = {1, 1, 1, 1}, kSecond = {0, 0, 0, 0, 1, 1, 1, 1}, kBoth = {2, 2, 2, 2, 1, 1, 1, 1};

  // Row dy below the sources at `home`, the same turned above them, or both: of those lanes that are in `active`, whose
  // light `v` is taken away; `dv` is the light that the derivative moves along with the ends.
  template <bool kMirrored, bool kBelow, bool kAbove>
  DEPTHBOKEH_INLINE void deposit(Pair* home, uint64_t active, int dy, const Pair* v, const Pair* dv) const {
    Pair *const down = home + dy * ptrdiff_t(t.pitch()), *const up = home - dy * ptrdiff_t(t.pitch());
    const RowEnds<Real>& row = rows[dy];
    const auto add = [&](ptrdiff_t lane) __attribute__((always_inline)) {
      const ptrdiff_t from = lane * ptrdiff_t(sizeof(Pair));  // in bytes: both rows then share their offsets
      const auto at = [from](Pair* to, ptrdiff_t by) __attribute__((always_inline)) -> Pair& {
        return *reinterpret_cast<Pair*>(reinterpret_cast<char*>(to) + (from + by));
      };
      const Pair& whole = v[lane];
      const ptrdiff_t right_at = row.right_at[lane] * ptrdiff_t(sizeof(Pair));
      Pair right = whole * (kFirst + kSecond * Acc(row.right_part[lane])), left;
      if (kSlope) right += dv[lane] * Acc(row.right_slope[lane]);
      if (kMirrored) {
        left = right - whole * kBoth;
        if (kBelow) at(down, right_at) += right;
        if (kAbove) at(up, right_at) += right;
        if (kBelow) at(down, -right_at) += left;
        if (kAbove) at(up, -right_at) += left;
      } else {
        const ptrdiff_t left_at = row.left_at[lane] * ptrdiff_t(sizeof(Pair));
        left = whole * -(kFirst + kSecond * Acc(row.left_part[lane]));
        if (kSlope) left -= dv[lane] * Acc(row.left_slope[lane]);
        if (kBelow) at(down, right_at) += right;
        if (kBelow) at(down, left_at) += left;
        if (kAbove) {
          const Pair both = whole * kBoth;
          at(up, -left_at) += both + left;
          at(up, -right_at) += right - both;
        }
      }
    };
    if (active == ~uint64_t(0)) {
#pragma GCC unroll 4
      for (ptrdiff_t lane = 0; lane < kLanes; ++lane) add(lane);
    } else {
      for (; active; active &= active - 1) add(__builtin_ctzll(active));
    }
  }

  // One row of sources.
  template <bool kMirrored, bool kTurned>
  DEPTHBOKEH_INLINE void source_row(int y, int x, int lanes, const Real* radius, const Real (*light)[kLanes],
                                    Real weight, const Ellipse<Real>* ellipse) {
    const Aperture<Real>& a = *p.aperture;
    const RowCounts count(p, lanes, radius, ellipse);
    if (count.most_above < 0) return;
    // Rows of the tile, as offsets from this one, and those of them that are within reach.
    const int top = t.y0 - y, bottom = t.y1 - 1 - y;
    const int first = std::max(-count.most_above, top), last = std::min(count.most_below, bottom);
    if (first > last) return;
    const int nearest = kTurned ? std::max({0, first, -last}) : first;
    const int farthest = kTurned ? std::max(-first, last) : last;
    find_rows<kSlope, kMirrored, kTurned>(a, ellipse, radius, nearest, farthest, Real(p.max_columns()), rows);
    alignas(64) Real scale[kLanes], slope[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      const Real inverse = 1 / radius[i];
      scale[i] = -weight * inverse * inverse * Real(1 / kPi);
      slope[i] = -2 * inverse * scale[i];
    }
    alignas(64) Pair v[kLanes], dv[kLanes];
    for (int i = 0; i < kLanes; i += 4) {
      typename Vec<Real>::One whole[4], moved[4];
      for (int c = 0; c < kChannels; ++c)
        for (int j = 0; j < 4; ++j) {
          whole[c][j] = light[c][i + j] * (kSlope ? slope : scale)[i + j];
          if (kSlope) moved[c][j] = light[c][i + j] * scale[i + j];
        }
      transpose<Real>(whole);
      if (kSlope) transpose<Real>(moved);
      for (int j = 0; j < 4; ++j) {
        const One all = __builtin_convertvector(whole[j], One);
        v[i + j] = pair(all, all);
        if (kSlope) dv[i + j] = pair(One{}, __builtin_convertvector(moved[j], One));
      }
    }
    Pair* home = ends + (y - t.y0) * ptrdiff_t(t.pitch()) + (x - t.lo);
    if (kTurned) {
      reaching.find(count.above, farthest);
      const int paired = std::min(-first, last);
      int dy = nearest;
      if (dy == 0) deposit<kMirrored, true, false>(home, reaching[dy++], 0, v, dv);
      for (; dy <= paired; ++dy) deposit<kMirrored, true, true>(home, reaching[dy], dy, v, dv);
      for (; dy <= last; ++dy) deposit<kMirrored, true, false>(home, reaching[dy], dy, v, dv);
      for (; dy <= -first; ++dy) deposit<kMirrored, false, true>(home, reaching[dy], dy, v, dv);
    } else {
      int dy = first;
      if (dy < 0) reaching.find(count.above, -dy);
      for (; dy <= std::min(last, -1); ++dy) deposit<kMirrored, true, false>(home, reaching[-dy], dy, v, dv);
      if (dy <= last) reaching.find(count.below, last);
      for (; dy <= last; ++dy) deposit<kMirrored, true, false>(home, reaching[dy], dy, v, dv);
    }
  }

  DEPTHBOKEH_INLINE void clear() const {
    std::memset(static_cast<void*>(ends), 0, sizeof(Pair) * t.pitch() * (t.y1 - t.y0));
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

template <typename Real>
struct Scratch {
  void* ends;
  RowTable<Real> rows;
  Reaching reaching;
};

// Adds a tile to `out`; false, and the tile is as before, if running sums of Acc would lose what its lights leave dark.
// Then `written` says that `out` holds already what is not blurred.
template <typename Acc, bool kSlope, typename Real>
DEPTHBOKEH_INLINE bool scatter_tile(const Problem<Real>& p, const Tile& t, const Real* image, const Real* radius,
                                    Real* out, int channels, const Scratch<Real>& scratch, bool written) {
  using Tiles = ScatterTile<Acc, kSlope, Real>;
  Tiles tile{p, t, static_cast<typename Tiles::Pair*>(scratch.ends), scratch.rows, scratch.reaching};
  const int reach = p.max_rows();
  const int reached = t.x0 ? 2 * t.x0 - t.lo + 1 : 0;  // columns that the tiles before have written
  alignas(64) Real r[kLanes], light[kChannels][kLanes] = {};
  Brightest<Real, kLanes> brightest;
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
      for (int c = 0; c < channels; ++c) {
        load_lanes(image + c * p.plane() + from, lanes, light[c]);
        brightest.add(light[c]);
      }
      if (y >= t.y0 && y < t.y1 && !written)
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
  if (sizeof(Acc) < sizeof(double) && p.lights->dazzle(brightest.get())) {
    tile.clear();
    return false;
  }
  tile.resolve(out, channels, std::max(reached, t.x1));
  return true;
}

// Whether the tile needs sums in double, before it is begun.
template <typename Real>
DEPTHBOKEH_INLINE bool needs_double(const Problem<Real>& p, const Tile& t, const Real* image, int channels) {
  const int reach = p.max_rows();
  Brightest<Real, kLanes> brightest;
  alignas(64) Real light[kLanes] = {};
  for (int c = 0; c < channels; ++c)
    for (int y = std::max(0, t.y0 - reach); y < std::min(p.height, t.y1 + reach); ++y)
      for (int x = t.x0; x < t.x1; x += kLanes) {
        load_lanes(image + c * p.plane() + size_t(y) * p.width + x, std::min(kLanes, t.x1 - x), light);
        brightest.add(light);
      }
  return p.lights->dazzle(brightest.get());
}

#define DEPTHBOKEH_SCATTER_BAND(Real)                                                                            \
  DEPTHBOKEH_CLONES void scatter_band(const Problem<Real>& p, bool slope, const Real* image, const Real* radius, \
                                      Real* out, int channels, int y0, const Scratch<Real>& scratch) {           \
    for (int x0 = 0; x0 < p.width; x0 += kTileWidth) {                                                           \
      const Tile t = make_tile(p, y0, x0, tile_width(p));                                                        \
      bool written = false, wide = p.lights->found() && needs_double(p, t, image, channels);                     \
      if (!wide) {                                                                                               \
        wide = slope ? !scatter_tile<Real, true>(p, t, image, radius, out, channels, scratch, false)             \
                     : !scatter_tile<Real, false>(p, t, image, radius, out, channels, scratch, false);           \
        written = true;                                                                                          \
      }                                                                                                          \
      if (sizeof(Real) == sizeof(double) || !wide) continue;                                                     \
      if (slope)                                                                                                 \
        scatter_tile<double, true>(p, t, image, radius, out, channels, scratch, written);                        \
      else                                                                                                       \
        scatter_tile<double, false>(p, t, image, radius, out, channels, scratch, written);                       \
    }                                                                                                            \
  }
DEPTHBOKEH_SCATTER_BAND(float)
DEPTHBOKEH_SCATTER_BAND(double)
#undef DEPTHBOKEH_SCATTER_BAND

template <typename Real>
struct ScatterWorker {
  const Problem<Real>& p;
  bool slope;
  Buffer<char> scratch;
  Buffer<RowEnds<Real>> rows;
  Buffer<uint64_t> reaching;

  ScatterWorker(const Problem<Real>& problem, bool slope_)
      : p(problem),
        slope(slope_),
        scratch(bytes(problem)),
        rows(2 * problem.max_rows() + 2),
        reaching(Reaching::size(problem.max_rows())) {
    std::memset(scratch.get(), 0, bytes(problem));
  }
  static size_t bytes(const Problem<Real>& p) {
    return size_t(p.band()) * (tile_width(p) + 2 * p.max_columns() + 2) * 2 * kChannels * sizeof(double);
  }
  void operator()(int64_t b, int y0) {
    for (int64_t c = 0; c < p.channels; c += kChannels) {
      const size_t offset = (b * p.channels + c) * p.plane();
      const int channels = static_cast<int>(std::min<int64_t>(kChannels, p.channels - c));
      scatter_band(p, slope, p.image + offset, p.radius + b * p.plane(), p.out + offset, channels, y0,
                   Scratch<Real>{scratch.get(), {rows.get(), 0}, Reaching(reaching.get())});
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
