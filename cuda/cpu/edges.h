// Depth edges: soft ones made sharp, and mixed pixels taken apart.
#pragma once

#include "../edge.h"
#include "../unmix.h"

namespace depthbokeh {

// `to`: (B, 1, H, W).
template <typename Real>
void sharpen(const EdgeInputs<Real>& p, int64_t reach, Real* to);

template <typename Real>
void sharpen_backward(const EdgeInputs<Real>& p, int64_t reach, const Real* grad, Real* to_disparity,
                      Real* to_strength);

// Where there are edges, (B, 1, H, W), and both surfaces of every pixel.
template <typename Real>
void separate(const EdgeInputs<Real>& p, Real* edge, const SurfacePlanes<Real>& surfaces);

template <typename Real>
void separate_backward(const EdgeInputs<Real>& p, const Real* grad_edge, const SurfacePlanes<Real>& grad_surfaces,
                       const SeparateGrads<Real>& to);

}  // namespace depthbokeh
