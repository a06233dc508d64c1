// Depth edges: how far there is one, and the mathematics of one neighbour of its pixels, shared by the CPU and CUDA
// kernels. All of it is defined in depthbokeh/edges.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "windows.h"

namespace depthbokeh {

constexpr int kSideValues = 5;  // red, green, blue, disparity, mask
constexpr int kDisparity = 3, kMask = 4;
constexpr int kReach = 2;  // neighbours are up to two steps along rows and columns away
constexpr double kSigma = 0.8, kMixed = 1e-3;
constexpr double kJump = 1;  // counts fully from so many pixels of blur radius on
// A side begins at this share of the way from low to high and has all of it after as much again.
constexpr double kBegin = 0.35, kPass = 0.3;

// Pictures with depth edges.
template <typename Real>
struct EdgeInputs {
  const Real* color;      // (B, 3, H, W), linear light, or null
  const Real* disparity;  // (B, 1, H, W)
  const Real* strength;   // (B,): pixels of blur radius for every unit of disparity
  const Real* mask;       // (B, 1, H, W) or null
  int64_t batch;
  int height, width;

  DEPTHBOKEH_INLINE int64_t plane() const { return int64_t(height) * width; }
  DEPTHBOKEH_INLINE int64_t pixels() const { return batch * plane(); }
};

// The squares of 2 reach + 1 pixels around all of the disparity.
template <typename Real>
inline Windows<Real> windows_of(const EdgeInputs<Real>& p, int64_t reach) {
  const int64_t most = std::max(p.height, p.width);  // wider windows see no more
  return {p.disparity, p.batch, p.height, p.width, static_cast<int>(std::min(reach, most))};
}

template <typename Real>
DEPTHBOKEH_INLINE Real step_smoothly(Real x) {
  const Real t = x < 0 ? 0 : x > 1 ? 1 : x;
  return t * t * (3 - 2 * t);
}

template <typename Real>
DEPTHBOKEH_INLINE Real step_slope(Real x) {
  const Real t = x < 0 ? 0 : x > 1 ? 1 : x;
  return 6 * t * (1 - t);
}

// Totals of weights, and the span between the sides, are at least this where they are divided by.
template <typename Real>
constexpr Real kLeastDivisor = std::numeric_limits<Real>::min();

template <typename Real>
DEPTHBOKEH_INLINE Real not_zero(Real value) {
  return value > kLeastDivisor<Real> ? value : kLeastDivisor<Real>;
}

// How far disparity jumps at a pixel: what it spans within the windows around it and within those twice as wide.
template <typename Real>
struct Jump {
  Real high, low, higher, lower, strength;

  DEPTHBOKEH_INLINE Jump(const Extremes<Real>& e, int64_t at, Real strength_)
      : high(e.highest[at]), low(e.lowest[at]), higher(e.higher[at]), lower(e.lower[at]), strength(strength_) {}

  DEPTHBOKEH_INLINE Real span() const { return high - low; }
  // A slope spans half as much, which makes 0.
  DEPTHBOKEH_INLINE Real size() const { return 2 * span() - (higher - lower); }
  DEPTHBOKEH_INLINE Real position() const { return 2 * std::abs(strength) * size() / Real(kJump) - 1; }
  DEPTHBOKEH_INLINE Real weight() const { return step_smoothly(position()); }
};

template <typename Real>
struct JumpGrads {
  Real high, low, higher, lower, strength;

  // From the gradient to the jump's weight.
  DEPTHBOKEH_INLINE JumpGrads(const Jump<Real>& jump, Real grad) {
    const Real moved = grad * step_slope(jump.position()) * 2 / Real(kJump);
    const Real sized = moved * std::abs(jump.strength);
    high = 2 * sized, low = -2 * sized, higher = -sized, lower = sized;
    strength = moved * jump.size() * (Real(jump.strength > 0) - Real(jump.strength < 0));
  }
};

// What a neighbour counts by its distance, whose square is dy^2 + dx^2.
inline double weigh_distance(int square) { return std::exp(-square / (2 * kSigma * kSigma)); }

// A neighbour as a pixel sees it: 0 at the disparity of the far side and 1 at the near one's, and what it counts.
template <typename Real>
struct Tap {
  Real height, share, belongs, pure, brightest, dimmed, counts;

  DEPTHBOKEH_INLINE Real share_of(bool far) const { return far ? 1 - share : share; }
};

template <typename Real>
DEPTHBOKEH_INLINE Tap<Real> weigh_tap(Real red, Real green, Real blue, Real disparity, Real edge, Real low,
                                      Real per_span, Real falloff) {
  Tap<Real> tap;
  tap.height = (disparity - low) * per_span;
  tap.share = step_smoothly((tap.height - Real(kBegin)) * Real(1 / kPass));
  tap.belongs = step_smoothly(2 - std::abs(tap.height - Real(0.5)));
  const Real pure = 1 - edge;
  tap.pure = (pure < 0 ? 0 : pure > 1 ? 1 : pure) + Real(kMixed);
  const Real most = red > green ? red : green;
  tap.brightest = most > blue ? most : blue;
  tap.dimmed = 1 / (tap.brightest > 1 ? tap.brightest : 1);
  tap.counts = tap.belongs * tap.pure * tap.dimmed * falloff;
  return tap;
}

// The gradients to a neighbour that come from what it counts: to its height over the span, to its edge, to its colour.
template <typename Real>
struct TapGrads {
  Real moved, edge, red, green, blue;
};

// `near`, `far`: the gradients to what it counts for either side.
template <typename Real>
DEPTHBOKEH_INLINE TapGrads<Real> differentiate_tap(const Tap<Real>& tap, Real red, Real green, Real blue, Real edge,
                                                   Real per_span, Real falloff, Real near, Real far) {
  TapGrads<Real> to;
  const Real weight = (near * tap.share + far * (1 - tap.share)) * falloff;
  const Real middle = tap.height - Real(0.5), away = Real(middle < 0) - Real(middle > 0);
  const Real share =
      tap.counts * (near - far) * step_slope((tap.height - Real(kBegin)) * Real(1 / kPass)) * Real(1 / kPass);
  const Real belongs = weight * tap.pure * tap.dimmed * step_slope(2 - std::abs(middle)) * away;
  to.moved = (share + belongs) * per_span;
  to.edge = edge >= 0 && edge <= 1 ? -weight * tap.belongs * tap.dimmed : 0;
  const Real bright = tap.brightest >= 1 ? -weight * tap.belongs * tap.pure * tap.dimmed * tap.dimmed : 0;
  // Channels that are equally bright share it.
  const Real is_red = red == tap.brightest, is_green = green == tap.brightest, is_blue = blue == tap.brightest;
  const Real each = bright / (is_red + is_green + is_blue);
  to.red = each * is_red;
  to.green = each * is_green;
  to.blue = each * is_blue;
  return to;
}

}  // namespace depthbokeh
