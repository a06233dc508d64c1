// Depth slices, and the mathematics of one pixel of them: shared by the CPU and CUDA kernels.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "disk.h"

namespace depthbokeh {

// Coverage below this counts as none.
constexpr double kLeast = 1e-6;

// What alpha that is not quite 0 is divided by at least.
template <typename Real>
constexpr Real kTiny = std::numeric_limits<Real>::min();

// Layers of one picture, the last one in front. A surface lies in slice `index` with the share
// max(0, 1 - |(defocus - origin) scale - index|), less what nearer surfaces of its pixel hide of it there.
template <typename Real>
struct Layers {
  const Real* color;    // (L, 3, H, W)
  const Real* alpha;    // (L, 1, H, W)
  const Real* defocus;  // (L, 1, H, W)
  int count;
  int64_t pixels;
  Real origin, scale, index;

  DEPTHBOKEH_INLINE Real offset(Real at_defocus) const { return (at_defocus - origin) * scale - index; }
};

template <typename Real>
struct LayerGrads {  // of the same shapes; added to
  Real *color, *alpha, *defocus, *origin, *scale;
};

// The derivative of min(a, b) to a. Where both are the same, each is half of the smaller one.
template <typename Real>
DEPTHBOKEH_INLINE Real smaller_slope(Real a, Real b) {
  return a < b ? Real(1) : a > b ? Real(0) : Real(0.5);
}

// The derivative of a share to its offset, which is 0 outside the slice.
template <typename Real>
DEPTHBOKEH_INLINE Real share_slope(Real offset) {
  return std::abs(offset) <= 1 ? Real(offset < 0) - Real(offset > 0) : 0;
}

// A slice behind what covers a pixel already.
template <typename Real>
struct Covering {
  Real share, inverse, seen;  // coverage, what one divides by instead of dividing by it, the part that is seen

  // `before` and `after`: what is covered without the slice and with it.
  DEPTHBOKEH_INLINE Covering(Real coverage, Real before, Real after)
      : share(positive(coverage)),
        inverse(1 / (share > Real(kLeast) ? share : Real(kLeast))),
        seen(((after < 1 ? after : 1) - (before < 1 ? before : 1)) * inverse) {}

  DEPTHBOKEH_INLINE static Real positive(Real coverage) { return coverage > 0 ? coverage : 0; }
};

// The gradients to a slice's coverage and to what is covered before it, from those to `seen` and to what is covered
// after it.
template <typename Real>
DEPTHBOKEH_INLINE void uncover(const Covering<Real>& covering, Real coverage, Real before, Real after, Real grad_seen,
                               Real grad_after, Real& grad_coverage, Real& grad_before) {
  const Real grad = grad_seen * covering.inverse;
  const Real total = grad_after + (after <= 1 ? grad : 0);
  const Real own = total - (covering.share >= Real(kLeast) ? grad * covering.seen : 0);
  grad_coverage = coverage >= 0 ? own : 0;
  grad_before = total - (before <= 1 ? grad : 0);
}

}  // namespace depthbokeh
