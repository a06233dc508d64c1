// The CPU kernels, each compiled for float and for double.
#pragma once

#include <cstdint>

namespace depthbokeh {

template <typename Real>
struct Problem;

// out = the light of every pixel spread over its disk; `slope`: over its disk's derivative to the radius.
template <typename Real>
void scatter_blur(const Problem<Real>& p, bool slope);

// out = every pixel's mean over its own disk; `slope`: over its disk's derivative to the radius.
template <typename Real>
void gather_blur(const Problem<Real>& p, bool slope);

// Both of the latter at once, the second summed over channels with `weight` (B, C, H, W) into `radius_out` (B, 1, H,
// W).
template <typename Real>
void gather_blur_backward(const Problem<Real>& p, const Real* weight, Real* radius_out);

}  // namespace depthbokeh
