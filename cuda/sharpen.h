// A pixel of a soft depth edge, and the side that it goes to: shared by the CPU and CUDA kernels. It is defined by
// move_to_sides in depthbokeh/edges.py.
#pragma once

#include "edge.h"

namespace depthbokeh {

// What of a jump counts: the outermost part of the way from side to side does not, nor does what passes over slowly.
constexpr double kOuter = 0.1, kFlat = 0.15, kSteep = 0.25;
// See the constants of the same names in edges.py.
constexpr double kSoftContrast = 0.5, kOffLine = 1. / 16;

template <typename Real>
struct SoftGrads {
  Real own, largest, smallest;
  JumpGrads<Real> jump;
};

// One pixel between two sides.
template <typename Real>
struct SoftPixel {
  Jump<Real> jump;
  Real own, largest, smallest;  // the last two: within a pixel around it
  bool is_near;

  Real per_span, share, steepness;

  DEPTHBOKEH_INLINE SoftPixel(const Jump<Real>& jump_, Real own_)
      : jump(jump_),
        own(own_),
        largest(own_),
        smallest(own_),
        per_span(1 / not_zero(jump.span())),
        share((own - jump.low) / not_zero(jump.span())) {}

  DEPTHBOKEH_INLINE bool is_between() const { return std::abs(share - Real(0.5)) < Real(0.45) && jump.weight() > 0; }

  // Of everything that sharpening looks at around a pixel that is between two sides.
  DEPTHBOKEH_INLINE void look_around(const EdgeInputs<Real>& p, const Windows<Real>& w, int64_t at) {
    Windows<Real> next = w;
    next.reach = 1;
    const int64_t line = at / w.width, row = line % w.height, column = at % w.width;
    for (int y = next.first(int(row)); y <= next.last(int(row), w.height); ++y)
      for (int x = next.first(int(column)); x <= next.last(int(column), w.width); ++x) {
        const Real value = w.values[at + (y - row) * w.width + x - column];
        largest = pick_larger(largest, value);
        smallest = pick_smaller(smallest, value);
      }
    steepness = (largest - smallest) * per_span;
    is_near = (p.color ? share_by_color(p, w, at) : share) > Real(0.5);
  }

  DEPTHBOKEH_INLINE Real share_by_color(const EdgeInputs<Real>& p, const Windows<Real>& w, int64_t at) const {
    const int64_t plane = p.plane(), places[3] = {at, find_value(w, at, jump.high), find_value(w, at, jump.low)};
    Real color[3][3];
    for (int i = 0; i < 3; ++i)
      for (int c = 0; c < 3; ++c) {
        const int64_t picture = places[i] / plane;
        const Real light = p.color[(3 * picture + c) * plane + places[i] - picture * plane];
        color[i][c] = light < 0 ? 0 : light > 1 ? 1 : light;
      }
    Real squared = 0, along = 0, off = 0;
    for (int c = 0; c < 3; ++c) {
      const Real contrast = color[1][c] - color[2][c];
      squared += contrast * contrast;
      along += (color[0][c] - color[2][c]) * contrast;
    }
    const Real ratio = along / not_zero(squared), mixture = ratio < 0 ? 0 : ratio > 1 ? 1 : ratio;
    for (int c = 0; c < 3; ++c) {
      const Real rest = color[0][c] - color[2][c] - mixture * (color[1][c] - color[2][c]);
      off += rest * rest;
    }
    const Real doubt = Real(kSoftContrast) + off * Real(1 / (kOffLine * kOffLine));
    return (along + doubt * share) / (squared + doubt);
  }

  DEPTHBOKEH_INLINE Real inner() const {
    return (share < Real(0.5) ? share : 1 - share) * Real(1 / kOuter) - Real(0.5);
  }
  DEPTHBOKEH_INLINE Real steep() const { return (steepness - Real(kFlat)) * Real(1 / kSteep); }
  DEPTHBOKEH_INLINE Real way() const { return (is_near ? jump.high : jump.low) - own; }
  DEPTHBOKEH_INLINE Real change() const {
    return step_smoothly(inner()) * jump.weight() * step_smoothly(steep()) * way();
  }

  // From the gradient to what the pixel becomes, which is its own value and the change.
  DEPTHBOKEH_INLINE SoftGrads<Real> differentiate(Real grad) const {
    const Real within = step_smoothly(inner()), weight = jump.weight(), steeply = step_smoothly(steep());
    SoftGrads<Real> to = {grad, 0, 0, {jump, grad * within * steeply * way()}};
    const Real moved = grad * within * weight * steeply;
    (is_near ? to.jump.high : to.jump.low) += moved;
    to.own -= moved;
    const Real to_share = grad * weight * steeply * way() * step_slope(inner()) * Real(1 / kOuter) *
                          (share < Real(0.5) ? 1 : -1) * per_span;
    const Real to_steepness = grad * within * weight * way() * step_slope(steep()) * Real(1 / kSteep) * per_span;
    to.own += to_share;
    to.jump.low -= to_share;
    to.largest = to_steepness;
    to.smallest = -to_steepness;
    if (jump.span() >= kLeastDivisor<Real>) {  // a span that is next to nothing is not divided by
      const Real to_span = to_share * share + to_steepness * steepness;
      to.jump.high -= to_span;
      to.jump.low += to_span;
    }
    return to;
  }
};

}  // namespace depthbokeh
