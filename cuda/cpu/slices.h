// Depth slices of a picture in layers, and how one slice after the other covers what is behind it.
#pragma once

#include <cstdint>

#include "../slice.h"

namespace depthbokeh {

// What lies in the slice: light, which is colour times alpha and alpha, (4, H, W), and the blur's radius, (1, H, W).
template <typename Real>
void take_slice(const Layers<Real>& layers, Real* light, Real* radius);

template <typename Real>
void take_slice_backward(const Layers<Real>& layers, const Real* grad_light, const Real* grad_radius,
                         const LayerGrads<Real>& grads);

// Lays a blurred slice, (4, H, W), behind what covers `before` of every pixel already, `after` with it; what is seen of
// it is added to `picture`, (3, H, W).
template <typename Real>
void cover(const Real* slice, const Real* before, int64_t pixels, Real* after, Real* picture);

// `grad_total` is the gradient of `after` and becomes that of `before`.
template <typename Real>
void cover_backward(const Real* slice, const Real* before, const Real* after, const Real* grad_picture, int64_t pixels,
                    Real* grad_total, Real* grad_slice);

}  // namespace depthbokeh
