// A mixed pixel at a depth edge taken apart: shared by the CPU and CUDA kernels. It is defined by unmix in
// depthbokeh/edges.py.
#pragma once

#include "edge.h"

namespace depthbokeh {

// What becomes of a pixel: the coverage of the far and of the near surface, their colours, their disparities.
constexpr int kSurfaceValues = 10;
constexpr int kCoverage = 0, kFarColor = 2, kNearColor = 5, kFarDisparity = 8, kNearDisparity = 9;

// How far colours tell what is seen of the near side: see the constants of the same names in edges.py.
constexpr double kContrast = 2e-2, kOutshines = 2, kBeyond = 0.7, kRamp = 0.5, kLeastSeen = 0.1;
// The mask follows the edge from this difference between both sides on, and has all the say after as much more.
constexpr double kFollowsFrom = 0.05, kFollowsPass = 0.2;

// One pixel: the near side, the far side and the pixel itself, kSideValues each, and all that its two surfaces are made
// of.
template <typename Real>
struct Mixture {
  const Real *near, *far, *here;
  Real low, high, weight;
  bool masked;

  Real per_span, height, under, ratio, by_color, subject, follows, inside, alpha;
  Real missed[3], squares, most, brightest, lamp, seen, back[3], front[3];

  DEPTHBOKEH_INLINE Mixture(const Real* sides, Real low_, Real high_, Real weight_, bool masked_)
      : near(sides),
        far(sides + kSideValues),
        here(sides + 2 * kSideValues),
        low(low_),
        high(high_),
        weight(weight_),
        masked(masked_) {
    per_span = 1 / not_zero(high - low);
    height = (here[kDisparity] - low) * per_span;
    Real over = Real(kContrast) * step_smoothly((height - Real(kBegin)) * Real(1 / kPass));
    under = Real(kContrast);
    for (int c = 0; c < 3; ++c) {
      const Real contrast = near[c] - far[c];
      over += (here[c] - far[c]) * contrast;
      under += contrast * contrast;
    }
    ratio = over / under;
    by_color = alpha = ratio < 0 ? 0 : ratio > 1 ? 1 : ratio;
    if (masked) {
      subject = near[kMask] - far[kMask];
      follows = step_smoothly((std::abs(subject) - Real(kFollowsFrom)) * Real(1 / kFollowsPass));
      inside = subject > 0 ? here[kMask] : 1 - here[kMask];
      alpha += follows * (inside - alpha);
    }
    squares = alpha * alpha + (1 - alpha) * (1 - alpha);
    for (int c = 0; c < 3; ++c) {
      missed[c] = here[c] - alpha * near[c] - (1 - alpha) * far[c];
      const Real bright = near[c] > far[c] ? near[c] : far[c];
      most = c && most > missed[c] ? most : missed[c];
      brightest = c && brightest > bright ? brightest : bright;
    }
    lamp = step_smoothly(beyond_bright());
    seen = 1 - alpha > Real(kLeastSeen) ? 1 - alpha : Real(kLeastSeen);
    for (int c = 0; c < 3; ++c) {
      const Real shared = missed[c] / squares, behind = (1 - alpha) * shared;
      front[c] = near[c] + (1 - lamp) * alpha * shared;
      back[c] = far[c] + behind + lamp * (missed[c] / seen - behind);
    }
  }

  DEPTHBOKEH_INLINE Real beyond_bright() const {
    return (most - Real(kOutshines) * brightest - Real(kBeyond)) * Real(1 / kRamp);
  }

  DEPTHBOKEH_INLINE static Real positive(Real value) { return value < 0 ? 0 : value; }

  // Where an edge only begins to count, so does what is put in its place.
  DEPTHBOKEH_INLINE Real mix(Real was, Real becomes) const { return was + weight * (becomes - was); }

  DEPTHBOKEH_INLINE void write(Real* to) const {
    to[kCoverage] = 1;
    to[kCoverage + 1] = mix(1, alpha);
    for (int c = 0; c < 3; ++c) {
      to[kFarColor + c] = mix(here[c], positive(back[c]));
      to[kNearColor + c] = mix(here[c], positive(front[c]));
    }
    to[kFarDisparity] = mix(here[kDisparity], far[kDisparity]);
    to[kNearDisparity] = mix(here[kDisparity], near[kDisparity]);
  }

  // `grad`: that of what `write` writes; the gradients of everything else are written.
  DEPTHBOKEH_INLINE void differentiate(const Real* grad, Real* to_sides, Real& to_low, Real& to_high,
                                       Real& to_weight) const {
    Real *to_near = to_sides, *to_far = to_sides + kSideValues, *to_here = to_sides + 2 * kSideValues;
    const Real *grad_back = grad + kFarColor, *grad_front = grad + kNearColor;
    Real to_alpha = weight * grad[kCoverage + 1], to_lamp = 0, to_squares = 0, to_seen = 0;
    Real to_missed[3];
    to_weight = grad[kCoverage + 1] * (alpha - 1);
    for (int c = 0; c < 3; ++c) {
      to_weight += grad_back[c] * (positive(back[c]) - here[c]) + grad_front[c] * (positive(front[c]) - here[c]);
      to_here[c] = (1 - weight) * (grad_back[c] + grad_front[c]);
      const Real shared = missed[c] / squares, unmixed = missed[c] / seen, behind = (1 - alpha) * shared;
      to_near[c] = front[c] >= 0 ? weight * grad_front[c] : 0;
      to_far[c] = back[c] >= 0 ? weight * grad_back[c] : 0;
      to_lamp += to_far[c] * (unmixed - behind) - to_near[c] * alpha * shared;
      to_alpha += (1 - lamp) * shared * (to_near[c] - to_far[c]);
      const Real to_shared = (1 - lamp) * (alpha * to_near[c] + (1 - alpha) * to_far[c]);
      const Real to_unmixed = lamp * to_far[c];
      to_missed[c] = to_shared / squares + to_unmixed / seen;
      to_squares -= to_shared * shared / squares;
      to_seen -= to_unmixed * unmixed / seen;
    }
    if (1 - alpha >= Real(kLeastSeen)) to_alpha -= to_seen;
    to_alpha += to_squares * (4 * alpha - 2);
    add_lamp(to_lamp * step_slope(beyond_bright()) * Real(1 / kRamp), to_missed, to_near, to_far);
    for (int c = 0; c < 3; ++c) {
      to_here[c] += to_missed[c];
      to_near[c] -= alpha * to_missed[c];
      to_far[c] -= (1 - alpha) * to_missed[c];
      to_alpha += to_missed[c] * (far[c] - near[c]);
    }
    to_near[kMask] = to_far[kMask] = to_here[kMask] = 0;
    if (masked) {
      const Real slope = step_slope((std::abs(subject) - Real(kFollowsFrom)) * Real(1 / kFollowsPass));
      const Real sign = Real(subject > 0) - Real(subject < 0);
      to_near[kMask] = to_alpha * (inside - by_color) * slope * Real(1 / kFollowsPass) * sign;
      to_far[kMask] = -to_near[kMask];
      to_here[kMask] = to_alpha * follows * (subject > 0 ? 1 : -1);
      to_alpha *= 1 - follows;
    }
    const Real to_over = ratio >= 0 && ratio <= 1 ? to_alpha / under : 0, to_under = -to_over * ratio;
    for (int c = 0; c < 3; ++c) {
      const Real contrast = near[c] - far[c];
      const Real to_contrast = to_over * (here[c] - far[c]) + 2 * to_under * contrast;
      to_here[c] += to_over * contrast;
      to_near[c] += to_contrast;
      to_far[c] -= to_over * contrast + to_contrast;
    }
    const Real to_height =
        to_over * Real(kContrast) * step_slope((height - Real(kBegin)) * Real(1 / kPass)) * Real(1 / kPass);
    // A span that is next to nothing is not divided by.
    to_high = high - low >= kLeastDivisor<Real> ? -to_height * height * per_span : 0;
    to_low = -to_height * per_span - to_high;
    const Real depth[2] = {grad[kFarDisparity], grad[kNearDisparity]};
    to_weight += depth[0] * (far[kDisparity] - here[kDisparity]) + depth[1] * (near[kDisparity] - here[kDisparity]);
    to_far[kDisparity] = weight * depth[0];
    to_near[kDisparity] = weight * depth[1];
    to_here[kDisparity] = (1 - weight) * (depth[0] + depth[1]) + to_height * per_span;
  }

  // The gradient of how far the brightest missing light outshines both sides. Channels that are equally bright share
  // it, and so do sides.
  DEPTHBOKEH_INLINE void add_lamp(Real grad, Real* to_missed, Real* to_near, Real* to_far) const {
    int missing = 0, bright = 0;
    for (int c = 0; c < 3; ++c) {
      missing += missed[c] == most;
      bright += (near[c] > far[c] ? near[c] : far[c]) == brightest;
    }
    for (int c = 0; c < 3; ++c) {
      if (missed[c] == most) to_missed[c] += grad / missing;
      if ((near[c] > far[c] ? near[c] : far[c]) != brightest) continue;
      const Real each = -Real(kOutshines) * grad / bright;
      to_near[c] += near[c] == far[c] ? each / 2 : near[c] > far[c] ? each : 0;
      to_far[c] += near[c] == far[c] ? each / 2 : far[c] > near[c] ? each : 0;
    }
  }
};

// Both surfaces of pictures: their coverage, colours and disparities, or the gradients to them.
template <typename Real>
struct SurfacePlanes {
  Real *coverage, *color, *depth;  // (B, 2, H, W), (B, 2, 3, H, W), (B, 2, H, W), the far surface first
  int64_t plane;

  // One of the kSurfaceValues.
  DEPTHBOKEH_INLINE Real& at(int value, int64_t picture, int64_t pixel) const {
    if (value < kFarColor) return coverage[(2 * picture + value) * plane + pixel];
    if (value < kFarDisparity) return color[(6 * picture + value - kFarColor) * plane + pixel];
    return depth[(2 * picture + value - kFarDisparity) * plane + pixel];
  }
};

// Gradients to what is taken apart, of the same shapes; `mask` may be null.
template <typename Real>
struct SeparateGrads {
  Real *color, *disparity, *strength, *mask;
};

}  // namespace depthbokeh
