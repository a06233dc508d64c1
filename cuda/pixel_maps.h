// Functions of every pixel for itself: shared by the CPU and CUDA kernels. Each has kIn maps and kNumbers numbers of a
// picture to read, kOut maps to write, and two members:
//   run(in, numbers, out)                            what becomes of a pixel,
//   differentiate(in, numbers, grad, to_in, to_numbers)   from the gradient of `out` to those of the rest.
// depthbokeh/layers.py and depthbokeh/compositing.py define them.
#pragma once

#include "slice.h"
#include "unmix.h"

namespace depthbokeh {

template <typename Real>
constexpr Real kEpsilon = std::numeric_limits<Real>::epsilon();

// One map of every picture, `step` values apart; where there is none all values are 1.
template <typename Real>
struct MapPlane {
  Real* first;
  int64_t step;

  DEPTHBOKEH_INLINE Real* at(int64_t picture, int64_t pixel) const { return first + picture * step + pixel; }
};

template <typename Function, typename Real>
struct MapTask {
  static constexpr int kMost = Function::kIn > Function::kOut ? Function::kIn : Function::kOut;

  MapPlane<const Real> in[Function::kIn];
  const Real* numbers[Function::kNumbers];
  MapPlane<const Real> grad[Function::kOut];  // on the way back
  MapPlane<Real> to[kMost];                   // of what comes out, or of the gradients to `in`
  int64_t batch, pixels;

  DEPTHBOKEH_INLINE void load(int64_t picture, int64_t pixel, Real (&values)[Function::kIn],
                              Real (&own_numbers)[Function::kNumbers]) const {
    for (int i = 0; i < Function::kIn; ++i) values[i] = in[i].first ? *in[i].at(picture, pixel) : Real(1);
    for (int i = 0; i < Function::kNumbers; ++i) own_numbers[i] = numbers[i][picture];
  }

  DEPTHBOKEH_INLINE void run(int64_t picture, int64_t pixel) const {
    Real values[Function::kIn], own_numbers[Function::kNumbers], out[Function::kOut];
    load(picture, pixel, values, own_numbers);
    Function::run(values, own_numbers, out);
    for (int i = 0; i < Function::kOut; ++i) *to[i].at(picture, pixel) = out[i];
  }

  // The gradients to the numbers are added up.
  DEPTHBOKEH_INLINE void differentiate(int64_t picture, int64_t pixel, double (&sums)[Function::kNumbers]) const {
    Real values[Function::kIn], own_numbers[Function::kNumbers], outer[Function::kOut];
    Real to_in[Function::kIn], to_numbers[Function::kNumbers];
    load(picture, pixel, values, own_numbers);
    for (int i = 0; i < Function::kOut; ++i) outer[i] = *grad[i].at(picture, pixel);
    Function::differentiate(values, own_numbers, outer, to_in, to_numbers);
    for (int i = 0; i < Function::kIn; ++i)
      if (in[i].first) *to[i].at(picture, pixel) = to_in[i];
    for (int i = 0; i < Function::kNumbers; ++i) sums[i] += to_numbers[i];
  }
};

// How much the subject and the rest may say at a pixel: see weigh_sides in depthbokeh/layers.py.
struct WeighSides {
  enum In { kOwn, kMask, kInner, kOuter, kSure, kIn };
  enum Number { kLeastContrast, kNumbers };
  enum Out { kSubject, kRest, kOccluder, kOut };

  template <typename Real>
  struct Pixel {
    Real outside, contrast, height, told, belongs[2], as_rest, most, occluder;
    bool floored;

    DEPTHBOKEH_INLINE Pixel(const Real (&in)[kIn], Real least) {
      outside = 1 - in[kMask];
      const Real difference = in[kInner] - in[kOuter];
      floored = std::abs(difference) < least;
      contrast = floored ? least : difference;
      height = (in[kOwn] - in[kOuter]) / contrast;
      belongs[0] = step_smoothly((height - Real(0.5)) * Real(1 / 0.3));
      belongs[1] = step_smoothly((Real(0.5) - height) * Real(1 / 0.3));
      told = step_smoothly(std::abs(contrast) / least - 1);
      as_rest = 1 - told * (1 - belongs[1]);
      most = in[kSure] > as_rest ? in[kSure] : as_rest;
      occluder = contrast > 0 ? step_smoothly((height - Real(1.1)) * Real(1 / 0.15)) : 0;
    }
  };

  template <typename Real>
  DEPTHBOKEH_INLINE static void run(const Real (&in)[kIn], const Real (&numbers)[kNumbers], Real (&out)[kOut]) {
    const Pixel<Real> p(in, numbers[kLeastContrast]);
    out[kSubject] = in[kMask] * in[kMask] * (1 - p.told * (1 - p.belongs[0]));
    out[kOccluder] = p.outside * p.outside * p.occluder;
    out[kRest] = p.outside * p.outside * p.most * (1 - p.occluder);
  }

  template <typename Real>
  DEPTHBOKEH_INLINE static void differentiate(const Real (&in)[kIn], const Real (&numbers)[kNumbers],
                                              const Real (&grad)[kOut], Real (&to)[kIn], Real (&to_numbers)[kNumbers]) {
    const Real least = numbers[kLeastContrast];
    const Pixel<Real> p(in, least);
    const Real within = in[kMask] * in[kMask], without = p.outside * p.outside;
    const Real to_without = grad[kRest] * p.most * (1 - p.occluder) + grad[kOccluder] * p.occluder;
    to[kMask] = 2 * (grad[kSubject] * in[kMask] * (1 - p.told * (1 - p.belongs[0])) - p.outside * to_without);
    const Real to_most = grad[kRest] * without * (1 - p.occluder);
    const Real sure = smaller_slope(p.as_rest, in[kSure]);  // the larger one takes it
    to[kSure] = to_most * sure;
    const Real to_as[2] = {grad[kSubject] * within, to_most * (1 - sure)};
    const Real to_told = -to_as[0] * (1 - p.belongs[0]) - to_as[1] * (1 - p.belongs[1]);
    Real to_height = (to_as[0] * p.told * step_slope((p.height - Real(0.5)) * Real(1 / 0.3)) -
                      to_as[1] * p.told * step_slope((Real(0.5) - p.height) * Real(1 / 0.3))) *
                     Real(1 / 0.3);
    if (p.contrast > 0)
      to_height += (grad[kOccluder] - grad[kRest] * p.most) * without *
                   step_slope((p.height - Real(1.1)) * Real(1 / 0.15)) * Real(1 / 0.15);
    const Real size = std::abs(p.contrast) / least, to_size = to_told * step_slope(size - 1) / least;
    const Real sign = Real(p.contrast > 0) - Real(p.contrast < 0);
    const Real to_contrast = to_size * sign - to_height * p.height / p.contrast;
    to[kOwn] = to_height / p.contrast;
    to[kInner] = p.floored ? 0 : to_contrast;
    to[kOuter] = -to[kOwn] - to[kInner];
    to_numbers[kLeastContrast] = (p.floored ? to_contrast : 0) - to_size * size;
  }
};

// Both surfaces of a pixel and their defocus: see lay_surfaces in depthbokeh/layers.py.
struct LaySurfaces {
  enum In { kSubject, kRest, kMask, kEdge, kCovers, kDepth = kCovers + 2, kIn = kDepth + 2 };
  enum Number { kFocus, kStrength, kSlab, kNumbers };
  enum Out { kAlpha, kDefocus = 2, kOut = 4 };

  // One of both surfaces.
  template <typename Real>
  struct Surface {
    Real own, cover;         // depth and coverage without the edge
    Real was, comes, depth;  // what either counts, and the mean
    Real offset, beyond;     // from the focus, and beyond the slab

    DEPTHBOKEH_INLINE Surface(const Real (&in)[kIn], const Real (&numbers)[kNumbers], int k) {
      const bool in_front = in[kSubject] >= in[kRest];
      own = in_front == (k == 1) ? in[kSubject] : in[kRest];
      cover = in_front == (k == 1) ? in[kMask] : 1 - in[kMask];
      const Real eps = kEpsilon<Real>, edge = in[kEdge];
      was = (1 - edge) * (positive(cover) + eps);
      comes = edge * (positive(in[kCovers + k]) + eps);
      depth = (was * own + comes * in[kDepth + k]) / (was + comes);
      offset = depth - numbers[kFocus];
      beyond = positive(std::abs(offset) - numbers[kSlab]);
    }
    DEPTHBOKEH_INLINE static Real positive(Real value) { return value < 0 ? 0 : value; }
    DEPTHBOKEH_INLINE Real sign() const { return Real(offset > 0) - Real(offset < 0); }
  };

  template <typename Real>
  DEPTHBOKEH_INLINE static void run(const Real (&in)[kIn], const Real (&numbers)[kNumbers], Real (&out)[kOut]) {
    for (int k = 0; k < 2; ++k) {
      const Surface<Real> s(in, numbers, k);
      out[kAlpha + k] = s.cover + in[kEdge] * (in[kCovers + k] - s.cover);
      out[kDefocus + k] = numbers[kStrength] * (s.sign() * s.beyond);
    }
  }

  template <typename Real>
  DEPTHBOKEH_INLINE static void differentiate(const Real (&in)[kIn], const Real (&numbers)[kNumbers],
                                              const Real (&grad)[kOut], Real (&to)[kIn], Real (&to_numbers)[kNumbers]) {
    for (int i = 0; i < kIn; ++i) to[i] = 0;
    for (int i = 0; i < kNumbers; ++i) to_numbers[i] = 0;
    const Real eps = kEpsilon<Real>, edge = in[kEdge];
    const bool in_front = in[kSubject] >= in[kRest];
    for (int k = 0; k < 2; ++k) {
      const Surface<Real> s(in, numbers, k);
      const Real to_alpha = grad[kAlpha + k], to_defocus = grad[kDefocus + k];
      Real to_cover = to_alpha * (1 - edge);
      to[kCovers + k] = to_alpha * edge;
      to[kEdge] += to_alpha * (in[kCovers + k] - s.cover);
      to_numbers[kStrength] += to_defocus * s.sign() * s.beyond;
      const Real outer = to_defocus * numbers[kStrength] * s.sign();
      const Real passed = std::abs(s.offset) >= numbers[kSlab] ? outer : 0;
      to_numbers[kSlab] -= passed;
      const Real to_depth = passed * s.sign(), each = to_depth / (s.was + s.comes);
      to_numbers[kFocus] -= to_depth;
      to[kDepth + k] = each * s.comes;
      const Real to_was = each * (s.own - s.depth), to_comes = each * (in[kDepth + k] - s.depth);
      to[kEdge] += to_comes * (Surface<Real>::positive(in[kCovers + k]) + eps) -
                   to_was * (Surface<Real>::positive(s.cover) + eps);
      if (in[kCovers + k] >= 0) to[kCovers + k] += to_comes * edge;
      if (s.cover >= 0) to_cover += to_was * (1 - edge);
      const bool is_subject = in_front == (k == 1);
      to[kSubject] += is_subject ? each * s.was : 0;
      to[kRest] += is_subject ? 0 : each * s.was;
      to[kMask] += is_subject ? to_cover : -to_cover;
    }
  }
};

}  // namespace depthbokeh
