// The Gaussian's levels, shared by the CPU and CUDA kernels: fixed widths in a geometric series, and the weights by
// which every pixel is spread over its four nearest (cubic in log sigma).
#pragma once

#include <cmath>

#include "disk.h"

namespace depthbokeh {

constexpr double kSigma0 = 1.0 / 6, kRatio = 1.2;

// The integral from the middle to `edge`, doubled, of a Gaussian cut at three sigma.
DEPTHBOKEH_INLINE double gaussian_integral(double edge, double sigma) {
  const double cut = 3 * sigma;
  return std::erf((edge < cut ? edge : cut) / (sigma * std::sqrt(2.0))) / std::erf(3 / std::sqrt(2.0));
}

// Tap i of the even kernel, whose sum over all i is 1.
DEPTHBOKEH_INLINE double gaussian_tap(int i, double sigma) {
  if (i == 0) return gaussian_integral(0.5, sigma);
  return (gaussian_integral(i + 0.5, sigma) - gaussian_integral(i - 0.5, sigma)) / 2;
}

// The last tap, or `most` if there are more.
DEPTHBOKEH_INLINE int gaussian_reach(double sigma, int most) {
  const double reach = std::ceil(3 * sigma - 0.5);
  return reach <= 0 ? 0 : reach < most ? static_cast<int>(reach) : most;
}

// The weight of `level` at a pixel whose own width is `position` levels, or its derivative to the position: the
// cubic through the four nearest levels.
template <typename Real>
DEPTHBOKEH_INLINE Real level_weight(Real position, Real level, bool slope) {
  const Real u = position - level, a = std::abs(u);
  if (slope) {
    const Real near = (3 * a * a - 4 * a - 1) / 2, far = -(3 * a * a - 12 * a + 11) / 6;
    const Real w = a < 1 ? near : far;
    return (a < 2 ? w : 0) * (u < 0 ? Real(-1) : Real(1));
  }
  const Real near = (1 - a * a) * (2 - a) / 2, far = (1 - a) * (2 - a) * (3 - a) / 6;
  const Real w = a < 1 ? near : far;
  return a < 2 ? w : 0;
}

}  // namespace depthbokeh
