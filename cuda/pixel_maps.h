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
  static constexpr int kSlots = Function::kNumbers > 0 ? Function::kNumbers : 1;  // an array has one at least

  MapPlane<const Real> in[Function::kIn];
  const Real* numbers[kSlots];
  MapPlane<const Real> grad[Function::kOut];  // on the way back
  MapPlane<Real> to[kMost];                   // of what comes out, or of the gradients to `in`
  int64_t batch, pixels;

  DEPTHBOKEH_INLINE void load(int64_t picture, int64_t pixel, Real (&values)[Function::kIn],
                              Real (&own_numbers)[kSlots]) const {
    for (int i = 0; i < Function::kIn; ++i) values[i] = in[i].first ? *in[i].at(picture, pixel) : Real(1);
    for (int i = 0; i < Function::kNumbers; ++i) own_numbers[i] = numbers[i][picture];
  }

  DEPTHBOKEH_INLINE void run(int64_t picture, int64_t pixel) const {
    Real values[Function::kIn], own_numbers[kSlots], out[Function::kOut];
    load(picture, pixel, values, own_numbers);
    Function::run(values, own_numbers, out);
    for (int i = 0; i < Function::kOut; ++i) *to[i].at(picture, pixel) = out[i];
  }

  // The gradients to the numbers are added up.
  DEPTHBOKEH_INLINE void differentiate(int64_t picture, int64_t pixel, double (&sums)[kSlots]) const {
    Real values[Function::kIn], own_numbers[kSlots], outer[Function::kOut];
    Real to_in[Function::kIn], to_numbers[kSlots];
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
  DEPTHBOKEH_INLINE static void run(const Real (&in)[kIn], const Real* numbers, Real (&out)[kOut]) {
    const Pixel<Real> p(in, numbers[kLeastContrast]);
    out[kSubject] = in[kMask] * in[kMask] * (1 - p.told * (1 - p.belongs[0]));
    out[kOccluder] = p.outside * p.outside * p.occluder;
    out[kRest] = p.outside * p.outside * p.most * (1 - p.occluder);
  }

  template <typename Real>
  DEPTHBOKEH_INLINE static void differentiate(const Real (&in)[kIn], const Real* numbers, const Real (&grad)[kOut],
                                              Real (&to)[kIn], Real* to_numbers) {
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

    DEPTHBOKEH_INLINE Surface(const Real (&in)[kIn], const Real* numbers, int k) {
      const bool in_front = in[kSubject] >= in[kRest];
      own = in_front == (k == 1) ? in[kSubject] : in[kRest];
      cover = in_front == (k == 1) ? in[kMask] : 1 - in[kMask];
      const Real eps = kEpsilon<Real>, edge = in[kEdge];
      was = (1 - edge) * (positive(cover) + eps);
      comes = edge * (positive(in[kCovers + k]) + eps);
      depth = own + comes / (was + comes) * (in[kDepth + k] - own);
      offset = depth - numbers[kFocus];
      beyond = positive(std::abs(offset) - numbers[kSlab]);
    }
    DEPTHBOKEH_INLINE static Real positive(Real value) { return value < 0 ? 0 : value; }
    DEPTHBOKEH_INLINE Real sign() const { return Real(offset > 0) - Real(offset < 0); }
  };

  template <typename Real>
  DEPTHBOKEH_INLINE static void run(const Real (&in)[kIn], const Real* numbers, Real (&out)[kOut]) {
    for (int k = 0; k < 2; ++k) {
      const Surface<Real> s(in, numbers, k);
      out[kAlpha + k] = s.cover + in[kEdge] * (in[kCovers + k] - s.cover);
      out[kDefocus + k] = numbers[kStrength] * (s.sign() * s.beyond);
    }
  }

  template <typename Real>
  DEPTHBOKEH_INLINE static void differentiate(const Real (&in)[kIn], const Real* numbers, const Real (&grad)[kOut],
                                              Real (&to)[kIn], Real* to_numbers) {
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

// Lights dimmed to what is common in the picture: see dim_lights in depthbokeh/compositing.py.
struct DimLights {
  enum In { kColor, kIn = 3 };
  enum Number { kBrightest, kNumbers };
  enum Out { kOut = 3 };

  template <typename Real>
  struct Pixel {
    Real bright, divisor, ratio, dimmed, lit;

    DEPTHBOKEH_INLINE Pixel(const Real* color, Real brightest) {
      bright = weight_of<Real>(0) * color[0] + weight_of<Real>(1) * color[1] + weight_of<Real>(2) * color[2];
      divisor = bright > Real(kLeast) ? bright : Real(kLeast);
      ratio = brightest / divisor;
      dimmed = ratio < 1 ? ratio : 1;
      lit = step_smoothly(bright - 1);
    }
    DEPTHBOKEH_INLINE Real factor() const { return 1 + lit * (dimmed - 1); }
  };

  // Of luminance (ITU-R BT.709).
  template <typename Real>
  DEPTHBOKEH_INLINE static Real weight_of(int channel) {
    return channel == 0 ? Real(0.2126) : channel == 1 ? Real(0.7152) : Real(0.0722);
  }

  template <typename Real>
  DEPTHBOKEH_INLINE static void run(const Real (&in)[kIn], const Real* numbers, Real (&out)[kOut]) {
    const Real factor = Pixel<Real>(in, numbers[kBrightest]).factor();
    for (int c = 0; c < 3; ++c) out[c] = in[c] * factor;
  }

  template <typename Real>
  DEPTHBOKEH_INLINE static void differentiate(const Real (&in)[kIn], const Real* numbers, const Real (&grad)[kOut],
                                              Real (&to)[kIn], Real* to_numbers) {
    const Pixel<Real> p(in, numbers[kBrightest]);
    const Real factor = p.factor(), to_factor = grad[0] * in[0] + grad[1] * in[1] + grad[2] * in[2];
    const Real to_ratio = p.ratio <= 1 ? to_factor * p.lit : 0;
    Real to_bright = to_factor * step_slope(p.bright - 1) * (p.dimmed - 1);
    if (p.bright >= Real(kLeast)) to_bright -= to_ratio * p.ratio / p.divisor;
    for (int c = 0; c < 3; ++c) to[c] = grad[c] * factor + to_bright * weight_of<Real>(c);
    to_numbers[kBrightest] = to_ratio / p.divisor;
  }
};

// What is farthest at a pixel of two layers: see find_farthest in depthbokeh/compositing.py.
struct FindFarthest {
  enum In { kAlpha, kColor = kAlpha + 2, kDefocus = kColor + 6, kIn = kDefocus + 2 };
  enum Number { kNumbers };
  enum Out { kMixed, kDepth = 3, kOut };

  template <typename Real>
  DEPTHBOKEH_INLINE static void run(const Real (&in)[kIn], const Real*, Real (&out)[kOut]) {
    const Real first = in[kAlpha] < 1 ? in[kAlpha] : 1, free = 1 - first;
    const Real second = in[kAlpha + 1] < free ? in[kAlpha + 1] : free;
    for (int c = 0; c < 3; ++c) out[kMixed + c] = first * in[kColor + c] + second * in[kColor + 3 + c];
    out[kDepth] = first * in[kDefocus] + second * in[kDefocus + 1];
  }

  template <typename Real>
  DEPTHBOKEH_INLINE static void differentiate(const Real (&in)[kIn], const Real*, const Real (&grad)[kOut],
                                              Real (&to)[kIn], Real*) {
    const Real first = in[kAlpha] < 1 ? in[kAlpha] : 1, free = 1 - first;
    const Real second = in[kAlpha + 1] < free ? in[kAlpha + 1] : free;
    Real to_first = grad[kDepth] * in[kDefocus], to_second = grad[kDepth] * in[kDefocus + 1];
    for (int c = 0; c < 3; ++c) {
      to[kColor + c] = first * grad[kMixed + c];
      to[kColor + 3 + c] = second * grad[kMixed + c];
      to_first += grad[kMixed + c] * in[kColor + c];
      to_second += grad[kMixed + c] * in[kColor + 3 + c];
    }
    to[kDefocus] = first * grad[kDepth];
    to[kDefocus + 1] = second * grad[kDepth];
    const Real slope = smaller_slope(in[kAlpha + 1], free);
    to[kAlpha + 1] = to_second * slope;
    to[kAlpha] = (to_first - to_second * (1 - slope)) * smaller_slope(in[kAlpha], Real(1));
  }
};

}  // namespace depthbokeh
