// Depth slices in CUDA: a thread owns a pixel, with all its layers, and keeps none of them: the few that lie in a slice
// are found again where they are needed, so that there may be any number of layers.
#pragma once

#include "slice.h"
#include "survey.cuh"

namespace depthbokeh::cuda {

constexpr int kSliceThreads = kSurveyThreads;

// Layers of several pictures, of the sizes in slice.h; origin and scale, (B,), lie on the device.
template <typename Real>
struct Pictures {
  const Real *color, *alpha, *defocus, *origin, *scale;
  int64_t batch;
  int count;
  int64_t pixels;
  Real index;

  DEPTHBOKEH_INLINE int64_t surfaces(int64_t picture) const { return picture * count * pixels; }
  DEPTHBOKEH_INLINE Layers<Real> layers(int64_t picture) const {
    const int64_t first = surfaces(picture);
    return {color + 3 * first, alpha + first, defocus + first, count, pixels, origin[picture], scale[picture], index};
  }
};

// What a slice has of the layers at one pixel.
template <typename Real>
struct Surfaces {
  const Layers<Real>& from;
  int64_t at;

  __device__ Real alpha(int l) const { return from.alpha[l * from.pixels + at]; }
  __device__ Real defocus(int l) const { return from.defocus[l * from.pixels + at]; }
  __device__ int64_t color_at(int l, int channel) const { return (l * 3 + channel) * from.pixels + at; }
  __device__ Real offset(int l) const { return from.offset(defocus(l)); }
  __device__ bool present(int l) const { return std::abs(offset(l)) <= 1; }
  __device__ Real share(int l) const { return larger(1 - std::abs(offset(l)), Real(0)); }

  // What of a layer's share those in front of layer `end` leave, from the foremost on.
  __device__ Real free_before(int l, int end) const {
    Real free = share(l);
    for (int other = from.count - 1; other > end; --other)
      if (present(other)) free -= alpha(other) * smaller(share(other), free);
    return free;
  }
  // How much of a layer is seen in the slice.
  __device__ Real part(int l) const { return alpha(l) * free_before(l, l); }
};

template <typename Real>
__global__ void __launch_bounds__(kSliceThreads) take_pixels(const Pictures<Real> pictures, Real* light, Real* radius) {
  const Pixel pixel(pictures.pixels);
  if (pixel.at >= pictures.pixels) return;
  const Layers<Real> from = pictures.layers(pixel.picture);
  const Surfaces<Real> surfaces{from, pixel.at};
  Real color[3] = {}, alpha = 0, defocus = 0;
  for (int l = from.count - 1; l >= 0; --l) {
    if (!surfaces.present(l)) continue;
    const Real part = surfaces.part(l);
    alpha += part;
    defocus += surfaces.defocus(l) * part;
    if (part == 0) continue;
    for (int c = 0; c < 3; ++c) color[c] += from.color[surfaces.color_at(l, c)] * part;
  }
  light += 4 * pixel.picture * from.pixels + pixel.at;
  for (int c = 0; c < 3; ++c) light[c * from.pixels] = color[c];
  light[3 * from.pixels] = alpha;
  radius[pixel.picture * from.pixels + pixel.at] = alpha > 0 ? std::abs(defocus / larger(alpha, kTiny<Real>)) : 0;
}

// Gradients to where the slices lie, which are sums over all pixels.
struct Placing {
  double origin, scale;

  DEPTHBOKEH_INLINE void add(const Placing& other) { origin += other.origin, scale += other.scale; }
};
using SharedPlacing = Placing[kSliceThreads];

// The adjoint of take_pixels at one pixel.
template <typename Real>
struct SliceBackward {
  Surfaces<Real> surfaces;
  LayerGrads<Real> grads;                        // of the picture's first layer
  Real grad_color[3], grad_alpha, grad_defocus;  // of the sums over the layers; defocus is that times alpha
  Placing placing;

  __device__ SliceBackward(const Surfaces<Real>& surfaces_, const LayerGrads<Real>& grads_, const Real* grad_light,
                           Real grad_radius)
      : surfaces(surfaces_), grads(grads_), placing{0, 0} {
    for (int c = 0; c < 3; ++c) grad_color[c] = grad_light[c * surfaces.from.pixels];
    grad_alpha = grad_light[3 * surfaces.from.pixels];
    Real alpha = 0, defocus = 0;
    for (int l = surfaces.from.count - 1; l >= 0; --l) {
      if (!surfaces.present(l)) continue;
      const Real part = surfaces.part(l);
      alpha += part;
      defocus += surfaces.defocus(l) * part;
    }
    const Real total = larger(alpha, kTiny<Real>), mean = defocus / total;
    const Real sign = alpha > 0 ? Real(mean > 0) - Real(mean < 0) : 0;
    grad_defocus = sign * grad_radius / total;
    grad_alpha -= alpha >= kTiny<Real> ? grad_defocus * mean : 0;
  }

  // The gradient to a layer's share, and what else there is to its defocus.
  __device__ void add_share(int l, Real grad, Real beside) {
    const Layers<Real>& from = surfaces.from;
    const Real defocus = surfaces.defocus(l), moved = share_slope(from.offset(defocus)) * grad;
    grads.defocus[l * from.pixels + surfaces.at] += beside + moved * from.scale;
    placing.add({-moved * from.scale, moved * (defocus - from.origin)});
  }

  __device__ void add_layer(int l) {
    const Layers<Real>& from = surfaces.from;
    const Real weight = surfaces.free_before(l, l), alpha = surfaces.alpha(l), part = alpha * weight;
    Real grad = grad_alpha + grad_defocus * surfaces.defocus(l);
    for (int c = 0; c < 3; ++c) {
      const int64_t at = surfaces.color_at(l, c);
      grad += grad_color[c] * from.color[at];
      grads.color[at] += grad_color[c] * part;
    }
    grads.alpha[l * from.pixels + surfaces.at] += weight * grad;
    grad *= alpha;
    for (int other = l + 1; other < from.count; ++other) {
      if (!surfaces.present(other)) continue;
      const Real before = surfaces.free_before(l, other), share = surfaces.share(other);
      const Real slope = smaller_slope(share, before), hidden = grad * surfaces.alpha(other);
      grads.alpha[other * from.pixels + surfaces.at] -= grad * smaller(share, before);
      add_share(other, -hidden * slope, 0);
      grad -= hidden * (1 - slope);
    }
    add_share(l, grad, grad_defocus * part);
  }
};

// `placing`: a sum for every block.
template <typename Real>
__global__ void __launch_bounds__(kSliceThreads)
    take_pixels_backward(const Pictures<Real> pictures, const Real* grad_light, const Real* grad_radius,
                         const LayerGrads<Real> grads, Placing* placing) {
  DEPTHBOKEH_SHARED(SharedPlacing, shared);
  const Pixel pixel(pictures.pixels);
  Placing own = {0, 0};
  if (pixel.at < pictures.pixels) {
    const Layers<Real> from = pictures.layers(pixel.picture);
    const int64_t first = pictures.surfaces(pixel.picture), at = pixel.picture * from.pixels + pixel.at;
    SliceBackward<Real> backward(
        {from, pixel.at}, {grads.color + 3 * first, grads.alpha + first, grads.defocus + first, nullptr, nullptr},
        grad_light + at + 3 * pixel.picture * from.pixels, grad_radius[at]);
    for (int l = 0; l < from.count; ++l)
      if (backward.surfaces.present(l)) backward.add_layer(l);
    own = backward.placing;
  }
  own = reduce_block(shared, own);
  if (threadIdx.x == 0) placing[blockIdx.x] = own;
}

// A block for every picture adds up the sums of its blocks.
template <typename Real>
__global__ void __launch_bounds__(kSliceThreads)
    add_placing(const Placing* placing, int64_t blocks, const LayerGrads<Real> grads) {
  DEPTHBOKEH_SHARED(SharedPlacing, shared);
  Placing own = {0, 0};
  for (int64_t i = threadIdx.x; i < blocks; i += kSliceThreads) own.add(placing[blockIdx.x * blocks + i]);
  own = reduce_block(shared, own);
  if (threadIdx.x != 0) return;
  grads.origin[blockIdx.x] += Real(own.origin);
  grads.scale[blockIdx.x] += Real(own.scale);
}

template <typename Real>
__global__ void __launch_bounds__(kSliceThreads)
    cover_pixels(const Real* slice, const Real* before, int64_t pixels, Real* after, Real* picture) {
  const Pixel pixel(pixels);
  if (pixel.at >= pixels) return;
  const int64_t at = pixel.picture * pixels + pixel.at;
  slice += at + 3 * pixel.picture * pixels, picture += at + 2 * pixel.picture * pixels;
  const Real coverage = slice[3 * pixels], total = before[at] + Covering<Real>::positive(coverage);
  const Covering<Real> covering(coverage, before[at], total);
  after[at] = total;
  for (int c = 0; c < 3; ++c) picture[c * pixels] += slice[c * pixels] * covering.seen;
}

template <typename Real>
__global__ void __launch_bounds__(kSliceThreads)
    cover_pixels_backward(const Real* slice, const Real* before, const Real* after, const Real* grad_picture,
                          int64_t pixels, Real* grad_total, Real* grad_slice) {
  const Pixel pixel(pixels);
  if (pixel.at >= pixels) return;
  const int64_t at = pixel.picture * pixels + pixel.at, first = at + 3 * pixel.picture * pixels;
  slice += first, grad_slice += first, grad_picture += at + 2 * pixel.picture * pixels;
  const Real coverage = slice[3 * pixels];
  const Covering<Real> covering(coverage, before[at], after[at]);
  Real grad = 0;
  for (int c = 0; c < 3; ++c) {
    const Real own = grad_picture[c * pixels];
    grad += own * slice[c * pixels];
    grad_slice[c * pixels] = own * covering.seen;
  }
  uncover(covering, coverage, before[at], after[at], grad, grad_total[at], grad_slice[3 * pixels], grad_total[at]);
}

}  // namespace depthbokeh::cuda
