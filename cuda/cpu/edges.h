// The colours on both sides of a depth edge.
#pragma once

#include "../edge.h"

namespace depthbokeh {

// Means of the near side, of the far side, and the pixel itself: (N, 3, kSideValues).
template <typename Real>
void side_means(const EdgePixels<Real>& p, Real* means);

// From the gradient of the means to those of everything else, which are added to.
template <typename Real>
void side_means_backward(const EdgePixels<Real>& p, const Real* grad, const EdgeGrads<Real>& to);

}  // namespace depthbokeh
