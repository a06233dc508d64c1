// Mixed pixels at depth edges, taken apart.
#pragma once

#include "../unmix.h"

namespace depthbokeh {

// Both surfaces of every pixel: (N, kSurfaceValues).
template <typename Real>
void unmix(const Mixtures<Real>& p, Real* surfaces);

// From the gradient of the surfaces to those of everything else.
template <typename Real>
void unmix_backward(const Mixtures<Real>& p, const Real* grad, const MixtureGrads<Real>& to);

}  // namespace depthbokeh
