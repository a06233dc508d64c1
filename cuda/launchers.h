// The launchers, each compiled for float and for double.
#pragma once

#include "launch.h"

namespace depthbokeh::cuda {

// out = the light of every pixel spread over its shape; `slope`: over its shape's derivative to the radius.
template <typename Real>
void scatter_blur(Launcher& launcher, const Picture<Real>& picture, const Shape<Real>& shape, bool slope);

// What gather_blur makes of a picture besides picture.out; null pointers are left out.
template <typename Real>
struct GatherTargets {
  Real* slope;         // (B, C, H, W): the derivative to the radius
  const Real* weight;  // (B, C, H, W), for:
  Real* slope_sum;     // (B, 1, H, W): the derivative times weight, summed over channels
};

template <typename Real>
void gather_blur(Launcher& launcher, const Picture<Real>& picture, const Shape<Real>& shape,
                 const GatherTargets<Real>& to);

// Both of them with a Gaussian. `slope`: picture.out takes the derivative.
template <typename Real>
void gaussian_blur(Launcher& launcher, const Picture<Real>& picture, const Shape<Real>& shape, bool scatter, bool slope,
                   const Real* weight, Real* slope_sum);

}  // namespace depthbokeh::cuda
