// Every pixel of an edge looks at the thirteen within two steps, all of them at once.
#include "edges.h"

#include "contributions.h"
#include "strips.h"

namespace depthbokeh {
namespace {

constexpr int kSteps = 13, kTaps = 16;  // the last three count nothing
constexpr int kDy[kSteps] = {-2, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 2};
constexpr int kDx[kSteps] = {0, -1, 0, 1, -2, -1, 0, 1, 2, -1, 0, 1, 0};
constexpr int kCentre = 6;
static_assert(kStripRows >= 2 * kReach);  // so far gradients reach into the next strip

template <typename Real>
struct Taps {
  alignas(64) Real values[kSideValues][kTaps];
  alignas(64) Real height[kTaps], share[kTaps], belongs[kTaps], pure[kTaps], dimmed[kTaps], brightest[kTaps],
      counts[kTaps];
  int64_t where[kTaps];  // in a plane
  int64_t picture;
  Real edge[kTaps], per_span;
  Real total[2], mean[2][kSideValues];
};

template <typename Real>
struct Falloff {
  alignas(64) Real weight[kTaps] = {};
  Falloff() {
    for (int j = 0; j < kSteps; ++j) weight[j] = Real(weigh_distance(kDy[j] * kDy[j] + kDx[j] * kDx[j]));
  }
};

template <typename Real>
DEPTHBOKEH_INLINE void look_around(const EdgeInputs<Real>& p, const Falloff<Real>& falloff, const Real* edge,
                                   int64_t at, Real low, Real high, Taps<Real>& t) {
  const int64_t plane = p.plane(), pixel = at % plane;
  t.picture = at / plane;
  const int row = static_cast<int>(pixel / p.width), column = static_cast<int>(pixel % p.width);
  for (int j = 0; j < kTaps; ++j) {
    const int step = j < kSteps ? j : kCentre;
    const int y = std::min(std::max(row + kDy[step], 0), p.height - 1);
    const int x = std::min(std::max(column + kDx[step], 0), p.width - 1);
    t.where[j] = int64_t(y) * p.width + x;
  }
  for (int c = 0; c < 3; ++c)
    for (int j = 0; j < kTaps; ++j) t.values[c][j] = p.color[(3 * t.picture + c) * plane + t.where[j]];
  for (int j = 0; j < kTaps; ++j) {
    const int64_t there = t.picture * plane + t.where[j];
    t.values[kDisparity][j] = p.disparity[there];
    t.values[kMask][j] = p.mask ? p.mask[there] : 0;
    t.edge[j] = edge[there];
  }
  t.per_span = 1 / not_zero(high - low);
  for (int j = 0; j < kTaps; ++j) {
    const Tap<Real> tap = weigh_tap(t.values[0][j], t.values[1][j], t.values[2][j], t.values[kDisparity][j], t.edge[j],
                                    low, t.per_span, falloff.weight[j]);
    t.height[j] = tap.height;
    t.share[j] = tap.share;
    t.belongs[j] = tap.belongs;
    t.pure[j] = tap.pure;
    t.brightest[j] = tap.brightest;
    t.dimmed[j] = tap.dimmed;
    t.counts[j] = tap.counts;
  }
  for (int side = 0; side < 2; ++side) {
    alignas(64) Real weight[kTaps];
    Real total = 0;
    for (int j = 0; j < kTaps; ++j) {
      weight[j] = t.counts[j] * (side ? 1 - t.share[j] : t.share[j]);
      total += weight[j];
    }
    t.total[side] = not_zero(total);
    for (int c = 0; c < kSideValues; ++c) {
      Real sum = 0;
      for (int j = 0; j < kTaps; ++j) sum += weight[j] * t.values[c][j];
      t.mean[side][c] = sum / t.total[side];
    }
  }
}

// Both sides and the pixel itself.
template <typename Real>
DEPTHBOKEH_INLINE void list_sides(const Taps<Real>& t, Real* sides) {
  for (int c = 0; c < kSideValues; ++c) {
    sides[c] = t.mean[0][c];
    sides[kSideValues + c] = t.mean[1][c];
    sides[2 * kSideValues + c] = t.values[c][kCentre];
  }
}

// What is kept of a picture's edges on the way back; `weight`, `low` and `high` only where there is an edge.
template <typename Real>
struct EdgeMaps {
  const Real* edge;
  Real *to_edge, *to_weight, *to_low, *to_high;
};

// From the gradient of the sides, and what there is to low and high already.
template <typename Real>
DEPTHBOKEH_INLINE void look_back(const EdgeInputs<Real>& p, const Falloff<Real>& falloff, const Taps<Real>& t,
                                 int64_t pixel, const Real* grad, const SeparateGrads<Real>& to,
                                 const EdgeMaps<Real>& maps) {
  alignas(64) Real values[kSideValues][kTaps], edge[kTaps], near[kTaps], far[kTaps];
  Real side_grad[2][kSideValues], offset[2] = {};  // of the sums that the means are made of
  for (int side = 0; side < 2; ++side)
    for (int c = 0; c < kSideValues; ++c) {
      side_grad[side][c] = grad[side * kSideValues + c] / t.total[side];
      offset[side] += side_grad[side][c] * t.mean[side][c];
    }
  for (int j = 0; j < kTaps; ++j) near[j] = -offset[0], far[j] = -offset[1];
  for (int c = 0; c < kSideValues; ++c)
    for (int j = 0; j < kTaps; ++j) {
      near[j] += side_grad[0][c] * t.values[c][j];
      far[j] += side_grad[1][c] * t.values[c][j];
      values[c][j] = t.counts[j] * (t.share[j] * side_grad[0][c] + (1 - t.share[j]) * side_grad[1][c]);
    }
  Real low = 0, high = 0;
  for (int j = 0; j < kTaps; ++j) {
    const Tap<Real> tap = {t.height[j], t.share[j], t.belongs[j], t.pure[j], t.brightest[j], t.dimmed[j], t.counts[j]};
    const TapGrads<Real> tap_grads = differentiate_tap(tap, t.values[0][j], t.values[1][j], t.values[2][j], t.edge[j],
                                                       t.per_span, falloff.weight[j], near[j], far[j]);
    values[kDisparity][j] += tap_grads.moved;
    low += tap_grads.moved * (t.height[j] - 1);
    high -= tap_grads.moved * t.height[j];
    edge[j] = tap_grads.edge;
    values[0][j] += tap_grads.red;
    values[1][j] += tap_grads.green;
    values[2][j] += tap_grads.blue;
  }
  maps.to_low[pixel] += low;
  maps.to_high[pixel] += high;
  for (int c = 0; c < kSideValues; ++c) values[c][kCentre] += grad[2 * kSideValues + c];
  const int64_t plane = int64_t(p.height) * p.width;
  for (int j = 0; j < kSteps; ++j) {
    for (int c = 0; c < 3; ++c) to.color[(3 * t.picture + c) * plane + t.where[j]] += values[c][j];
    const int64_t at = t.picture * plane + t.where[j];
    to.disparity[at] += values[kDisparity][j];
    maps.to_edge[at] += edge[j];
    if (to.mask) to.mask[at] += values[kMask][j];
  }
}

#define DEPTHBOKEH_EDGE_STRIPS(Real)                                                                                   \
  DEPTHBOKEH_CLONES void weigh_strip(const Extremes<Real>& e, Real strength, int64_t begin, int64_t end, Real* edge) { \
    for (int64_t at = begin; at < end; ++at) edge[at] = Jump<Real>(e, at, strength).weight();                          \
  }                                                                                                                    \
  DEPTHBOKEH_CLONES void separate_strip(const EdgeInputs<Real>& p, const Extremes<Real>& e, const Real* edge,          \
                                        int64_t begin, int64_t end, const SurfacePlanes<Real>& surfaces) {             \
    const Falloff<Real> falloff;                                                                                       \
    Taps<Real> taps;                                                                                                   \
    for (int64_t at = begin; at < end; ++at) {                                                                         \
      if (!(edge[at] > 0)) continue;                                                                                   \
      Real sides[3 * kSideValues], becomes[kSurfaceValues];                                                            \
      look_around(p, falloff, edge, at, e.lowest[at], e.highest[at], taps);                                            \
      list_sides(taps, sides);                                                                                         \
      Mixture<Real>(sides, e.lowest[at], e.highest[at], edge[at], p.mask).write(becomes);                              \
      const int64_t where = at - taps.picture * p.plane();                                                             \
      for (int i = 0; i < kSurfaceValues; ++i) surfaces.at(i, taps.picture, where) = becomes[i];                       \
    }                                                                                                                  \
  }                                                                                                                    \
  DEPTHBOKEH_CLONES void back_strip(const EdgeInputs<Real>& p, const Extremes<Real>& e, int64_t begin, int64_t end,    \
                                    const SurfacePlanes<Real>& grad, const SeparateGrads<Real>& to,                    \
                                    const EdgeMaps<Real>& maps) {                                                      \
    const Falloff<Real> falloff;                                                                                       \
    Taps<Real> taps;                                                                                                   \
    for (int64_t at = begin; at < end; ++at) {                                                                         \
      if (!(maps.edge[at] > 0)) continue;                                                                              \
      Real sides[3 * kSideValues], becoming[kSurfaceValues], to_sides[3 * kSideValues];                                \
      look_around(p, falloff, maps.edge, at, e.lowest[at], e.highest[at], taps);                                       \
      list_sides(taps, sides);                                                                                         \
      const int64_t where = at - taps.picture * p.plane();                                                             \
      for (int i = 0; i < kSurfaceValues; ++i) becoming[i] = grad.at(i, taps.picture, where);                          \
      Mixture<Real>(sides, e.lowest[at], e.highest[at], maps.edge[at], p.mask)                                         \
          .differentiate(becoming, to_sides, maps.to_low[at], maps.to_high[at], maps.to_weight[at]);                   \
      look_back(p, falloff, taps, at, to_sides, to, maps);                                                             \
    }                                                                                                                  \
  }
DEPTHBOKEH_EDGE_STRIPS(float)
DEPTHBOKEH_EDGE_STRIPS(double)
#undef DEPTHBOKEH_EDGE_STRIPS

template <typename Real>
void weigh_edges(const EdgeInputs<Real>& p, const Extremes<Real>& e, Real* edge) {
  for_each_strip(p.batch, p.height, p.width, [&](int64_t, int64_t picture, int64_t begin, int64_t end) {
    weigh_strip(e, p.strength[picture], begin, end, edge);
  });
}

// The gradients of what stays as it is; nothing at edges.
template <typename Real>
void pass_on(const EdgeInputs<Real>& p, const Real* edge, const SurfacePlanes<Real>& grad,
             const SeparateGrads<Real>& to) {
  const int64_t plane = p.plane();
  for_each_strip(p.batch, p.height, p.width, [&](int64_t, int64_t picture, int64_t begin, int64_t end) {
    const int64_t first = begin - picture * plane;
    const auto add = [&](int far, int near, Real* sums) {
      const Real *one = &grad.at(far, picture, first), *other = &grad.at(near, picture, first);
      for (int64_t i = 0; i < end - begin; ++i) sums[i] = edge[begin + i] > 0 ? 0 : one[i] + other[i];
    };
    for (int c = 0; c < 3; ++c) add(kFarColor + c, kNearColor + c, to.color + (3 * picture + c) * plane + first);
    add(kFarDisparity, kNearDisparity, to.disparity + begin);
    if (to.mask) std::fill(to.mask + begin, to.mask + end, Real(0));
  });
}

}  // namespace

template <typename Real>
void separate(const EdgeInputs<Real>& p, Real* edge, const SurfacePlanes<Real>& surfaces) {
  const ExtremeMaps<Real> extremes(p, 1);
  weigh_edges(p, extremes.all, edge);
  const int64_t plane = p.plane();
  for_each_strip(p.batch, p.height, p.width, [&](int64_t, int64_t picture, int64_t begin, int64_t end) {
    const int64_t first = begin - picture * plane, count = end - begin;
    for (int i : {kCoverage, kCoverage + 1}) std::fill_n(&surfaces.at(i, picture, first), count, Real(1));
    for (int i : {kFarColor, kNearColor})
      for (int c = 0; c < 3; ++c)
        std::copy_n(p.color + (3 * picture + c) * plane + first, count, &surfaces.at(i + c, picture, first));
    for (int i : {kFarDisparity, kNearDisparity})
      std::copy_n(p.disparity + begin, count, &surfaces.at(i, picture, first));
    separate_strip(p, extremes.all, edge, begin, end, surfaces);
  });
}

template <typename Real>
void separate_backward(const EdgeInputs<Real>& p, const Real* grad_edge, const SurfacePlanes<Real>& grad_surfaces,
                       const SeparateGrads<Real>& to) {
  const ExtremeMaps<Real> extremes(p, 1);
  const int64_t n = p.pixels();
  Buffer<Real> buffer(5 * n);
  Real* edge = buffer.get();
  const EdgeMaps<Real> maps = {edge, edge + n, edge + 2 * n, edge + 3 * n, edge + 4 * n};
  weigh_edges(p, extremes.all, edge);
  std::fill(maps.to_edge, maps.to_edge + n, Real(0));
  pass_on(p, edge, grad_surfaces, to);
  // Every other strip at a time: no two threads add to one pixel, and none adds in another order.
  for (int64_t parity = 0; parity < 2; ++parity)
    for_each_strip(
        p.batch, p.height, p.width,
        [&](int64_t, int64_t, int64_t begin, int64_t end) {
          back_strip(p, extremes.all, begin, end, grad_surfaces, to, maps);
        },
        parity, 2);
  const Windows<Real> windows = windows_of(p, 1), wide = windows_of(p, 2);
  std::vector<Contributions<Real>> found(p.batch * count_strips(p.height));
  for_each_strip(p.batch, p.height, p.width, [&](int64_t strip, int64_t picture, int64_t begin, int64_t end) {
    Contributions<Real>& own = found[strip];
    for (int64_t at = begin; at < end; ++at) {
      if (!(edge[at] > 0)) continue;
      const Jump<Real> jump(extremes.all, at, p.strength[picture]);
      const JumpGrads<Real> grads(jump, maps.to_weight[at] + maps.to_edge[at] + grad_edge[at]);
      own.add(windows, at, jump.high, maps.to_high[at] + grads.high);
      own.add(windows, at, jump.low, maps.to_low[at] + grads.low);
      own.add(wide, at, jump.higher, grads.higher);
      own.add(wide, at, jump.lower, grads.lower);
      own.strength += grads.strength;
    }
  });
  add_up(found, to.disparity);
  add_up_strength(found, count_strips(p.height), to.strength);
}

#define DEPTHBOKEH_SEPARATE(Real)                                                                   \
  template void separate(const EdgeInputs<Real>&, Real*, const SurfacePlanes<Real>&);               \
  template void separate_backward(const EdgeInputs<Real>&, const Real*, const SurfacePlanes<Real>&, \
                                  const SeparateGrads<Real>&);
DEPTHBOKEH_SEPARATE(float)
DEPTHBOKEH_SEPARATE(double)
#undef DEPTHBOKEH_SEPARATE

}  // namespace depthbokeh
