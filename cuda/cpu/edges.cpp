// Every pixel of an edge looks at the thirteen within two steps, all of them at once.
#include "edges.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "rows.h"

namespace depthbokeh {
namespace {

constexpr int kSteps = 13, kTaps = 16;  // the last three count nothing
constexpr int kDy[kSteps] = {-2, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 2};
constexpr int kDx[kSteps] = {0, -1, 0, 1, -2, -1, 0, 1, 2, -1, 0, 1, 0};
constexpr int kCentre = 6;
constexpr int64_t kChunk = 2048;       // pixels that a thread takes at a time
constexpr int kStripe = 16;            // rows whose gradients are added up in turn
static_assert(kStripe >= 2 * kReach);  // so far they reach into the next stripe

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
DEPTHBOKEH_INLINE void look_around(const EdgePixels<Real>& p, const Falloff<Real>& falloff, int64_t n, Taps<Real>& t) {
  const int64_t plane = int64_t(p.height) * p.width, pixel = p.at[n] % plane;
  t.picture = p.at[n] / plane;
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
    const int64_t at = t.picture * plane + t.where[j];
    t.values[kDisparity][j] = p.disparity[at];
    t.values[kMask][j] = p.mask ? p.mask[at] : 0;
    t.edge[j] = p.edge[at];
  }
  const Real low = p.low[n];
  t.per_span = 1 / not_zero(p.high[n] - low);
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

template <typename Real>
DEPTHBOKEH_INLINE void look_back(const EdgePixels<Real>& p, const Falloff<Real>& falloff, int64_t n, const Real* grad,
                                 const EdgeGrads<Real>& to, Taps<Real>& t) {
  look_around(p, falloff, n, t);
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
  to.low[n] = low;
  to.high[n] = high;
  for (int c = 0; c < kSideValues; ++c) values[c][kCentre] += grad[2 * kSideValues + c];
  const int64_t plane = int64_t(p.height) * p.width;
  for (int j = 0; j < kSteps; ++j) {
    for (int c = 0; c < 3; ++c) to.color[(3 * t.picture + c) * plane + t.where[j]] += values[c][j];
    const int64_t at = t.picture * plane + t.where[j];
    to.disparity[at] += values[kDisparity][j];
    to.edge[at] += edge[j];
    if (to.mask) to.mask[at] += values[kMask][j];
  }
}

#define DEPTHBOKEH_EDGE_CHUNKS(Real)                                                                         \
  DEPTHBOKEH_CLONES void means_chunk(const EdgePixels<Real>& p, int64_t begin, int64_t end, Real* means) {   \
    const Falloff<Real> falloff;                                                                             \
    Taps<Real> taps;                                                                                         \
    for (int64_t n = begin; n < end; ++n) {                                                                  \
      look_around(p, falloff, n, taps);                                                                      \
      Real* to = means + n * 3 * kSideValues;                                                                \
      for (int c = 0; c < kSideValues; ++c) {                                                                \
        to[c] = taps.mean[0][c];                                                                             \
        to[kSideValues + c] = taps.mean[1][c];                                                               \
        to[2 * kSideValues + c] = taps.values[c][kCentre];                                                   \
      }                                                                                                      \
    }                                                                                                        \
  }                                                                                                          \
  DEPTHBOKEH_CLONES void back_chunk(const EdgePixels<Real>& p, int64_t begin, int64_t end, const Real* grad, \
                                    const EdgeGrads<Real>& to) {                                             \
    const Falloff<Real> falloff;                                                                             \
    Taps<Real> taps;                                                                                         \
    for (int64_t n = begin; n < end; ++n) look_back(p, falloff, n, grad + n * 3 * kSideValues, to, taps);    \
  }
DEPTHBOKEH_EDGE_CHUNKS(float)
DEPTHBOKEH_EDGE_CHUNKS(double)
#undef DEPTHBOKEH_EDGE_CHUNKS

}  // namespace

template <typename Real>
void side_means(const EdgePixels<Real>& p, Real* means) {
  torch::stable::parallel_for(0, (p.count + kChunk - 1) / kChunk, 1, [&](int64_t chunk, int64_t last) {
    means_chunk(p, chunk * kChunk, std::min(p.count, last * kChunk), means);
  });
}

template <typename Real>
void side_means_backward(const EdgePixels<Real>& p, const Real* grad, const EdgeGrads<Real>& to) {
  // Stripes of rows, every other one at a time: no two threads add to one pixel, and none adds in another order.
  const int64_t plane = int64_t(p.height) * p.width, stripes = (p.height + kStripe - 1) / kStripe;
  const int64_t pictures = p.count ? p.at[p.count - 1] / plane + 1 : 0;
  for (int64_t parity = 0; parity < 2; ++parity) {
    const int64_t each = (stripes + 1 - parity) / 2;
    torch::stable::parallel_for(0, pictures * each, 1, [&](int64_t task, int64_t last) {
      for (; task < last; ++task) {
        const int64_t picture = task / each, top = (2 * (task % each) + parity) * kStripe;
        const int64_t first = picture * plane + top * p.width;
        const int64_t bottom = std::min<int64_t>(p.height, top + kStripe);
        const int64_t* begin = std::lower_bound(p.at, p.at + p.count, first);
        const int64_t* end = std::lower_bound(begin, p.at + p.count, picture * plane + bottom * p.width);
        back_chunk(p, begin - p.at, end - p.at, grad, to);
      }
    });
  }
}

#define DEPTHBOKEH_EDGES(Real)                              \
  template void side_means(const EdgePixels<Real>&, Real*); \
  template void side_means_backward(const EdgePixels<Real>&, const Real*, const EdgeGrads<Real>&);
DEPTHBOKEH_EDGES(float)
DEPTHBOKEH_EDGES(double)
#undef DEPTHBOKEH_EDGES

}  // namespace depthbokeh
