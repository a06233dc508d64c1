// The pyramid that fills in what is not known, and the mathematics of one pixel of it: shared by the CPU and CUDA
// kernels. It is defined in depthbokeh/pyramid.py.
#pragma once

#include <cstdint>

#include "disk.h"

namespace depthbokeh {

// A weight below this counts as nothing known.
constexpr double kLeastKnown = 1e-6;

template <typename T>
struct Planes {  // of several pictures; gradients are null in the forward
  T* values;     // (B, C, h, w)
  T* weight;     // (B, 1, h, w)
  T* grad;       // (B, C, h, w)
};

// A level of the pyramid. The pull goes from fine to coarse and makes means of `from`; the gradient of what is filled
// in at a coarser level comes the same way. The push goes back and makes, in `to`, the filled values and the gradients
// to weight and values. At coarser levels both are the same memory: the pull writes it, the push replaces it.
template <typename Real>
struct Level {
  int height, width;
  // The pictures themselves. At coarser levels weights are totals of four, of which at most 1 counts, and gradients
  // are what each of the four finer pixels has of them.
  bool full;
  Planes<const Real> from;
  Planes<Real> to;

  DEPTHBOKEH_INLINE int64_t plane() const { return int64_t(height) * width; }
};

// The pixel whose mean counts for a quarter between the middles of squares of two pixels; the other three quarters are
// the pixel's own square's, at / 2.
DEPTHBOKEH_INLINE int find_neighbour(int at, int coarse_count) {
  const int other = at / 2 + (at % 2 ? 1 : -1);
  return other < 0 ? 0 : other < coarse_count ? other : coarse_count - 1;
}

// How much a mean counts at a finer pixel.
template <typename Real>
DEPTHBOKEH_INLINE Real share_of_mean(int at, int coarse, int coarse_count) {
  return Real(0.75) * (at / 2 == coarse) + Real(0.25) * (find_neighbour(at, coarse_count) == coarse);
}

template <typename Real>
DEPTHBOKEH_INLINE Real count_weight(Real weight, bool full) {
  return !full && weight > 1 ? Real(1) : weight;
}

// What a total of values times weight is divided by.
template <typename Real>
DEPTHBOKEH_INLINE Real divisor_of_mean(Real total) {
  const Real least = Real(4 * kLeastKnown);
  return total < least ? least : total;
}

// What each of the four finer pixels has of the gradient to a coarser one's weight. `means` is the sum over channels of
// the mean times what they have of its gradient.
template <typename Real>
DEPTHBOKEH_INLINE Real hand_down(Real total, Real grad_weight, Real means) {
  return (total > 1 ? 0 : grad_weight) - (total < Real(4 * kLeastKnown) ? 0 : means);
}

// The coarsest level, a single pixel: what is known of it is all that there is.
template <typename Real>
DEPTHBOKEH_INLINE void settle(const Level<Real>& top, int64_t channels, int64_t picture) {
  const Real total = top.from.weight[picture], weight = count_weight(total, top.full);
  const Real least = Real(kLeastKnown), divisor = weight < least ? least : weight, share = weight / divisor;
  const bool back = top.from.grad != nullptr;
  Real grad_weight = 0, means = 0;
  for (int64_t at = picture * channels; at < (picture + 1) * channels; ++at) {
    const Real value = top.from.values[at];
    if (back) {
      const Real grad = top.from.grad[at];
      // A weight that is not next to nothing does not change what is filled in.
      grad_weight += weight < least ? grad * value / divisor : 0;
      const Real to_value = top.full ? grad * share : grad * share / divisor_of_mean(total);
      means += to_value * value;
      top.to.grad[at] = to_value;
    }
    if (top.to.values) top.to.values[at] = value * share;
  }
  if (back) top.to.weight[picture] = top.full ? grad_weight : hand_down(total, grad_weight, means);
}

}  // namespace depthbokeh
