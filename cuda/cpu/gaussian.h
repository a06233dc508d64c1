#pragma once

namespace depthbokeh {

template <typename Real>
struct Problem;

// What gaussian_blur makes of the levels besides p.out.
template <typename Real>
struct GaussianTargets {
  bool weigh_first;    // scatter: weigh, then convolve; gather: convolve, then weigh
  bool slope;          // p.out takes the derivative to the radius
  const Real* weight;  // (B, C, H, W), for:
  Real* slope_sum;     // (B, 1, H, W): the derivative times weight, summed over channels; may be null
};

template <typename Real>
void gaussian_blur(const Problem<Real>& p, const GaussianTargets<Real>& to);

}  // namespace depthbokeh
