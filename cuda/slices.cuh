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
  int64_t first, slices;  // which are asked for

  DEPTHBOKEH_INLINE int64_t surfaces(int64_t picture) const { return picture * count * pixels; }
  DEPTHBOKEH_INLINE Layers<Real> layers(int64_t picture, int64_t slice) const {
    const int64_t from = surfaces(picture);
    return {color + 3 * from, alpha + from,    defocus + from, count,
            pixels,           origin[picture], scale[picture], Real(first + slice)};
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
  for (int64_t slice = 0; slice < pictures.slices; ++slice) {
    const Layers<Real> from = pictures.layers(pixel.picture, slice);
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
    const int64_t to = slice * pictures.batch + pixel.picture;
    for (int c = 0; c < 3; ++c) light[(4 * to + c) * from.pixels + pixel.at] = color[c];
    light[(4 * to + 3) * from.pixels + pixel.at] = alpha;
    radius[to * from.pixels + pixel.at] = alpha > 0 ? std::abs(defocus / larger(alpha, kTiny<Real>)) : 0;
  }
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
    const int64_t first = pictures.surfaces(pixel.picture);
    for (int64_t slice = 0; slice < pictures.slices; ++slice) {
      const Layers<Real> from = pictures.layers(pixel.picture, slice);
      const int64_t to = slice * pictures.batch + pixel.picture;
      SliceBackward<Real> backward(
          {from, pixel.at}, {grads.color + 3 * first, grads.alpha + first, grads.defocus + first, nullptr, nullptr},
          grad_light + 4 * to * from.pixels + pixel.at, grad_radius[to * from.pixels + pixel.at]);
      for (int l = 0; l < from.count; ++l)
        if (backward.surfaces.present(l)) backward.add_layer(l);
      own.add(backward.placing);
    }
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

// Slices of pictures, blurred, and what covers the pictures before them and, of every slice, with it.
template <typename Real>
struct Spread {
  const Real *light, *before, *after;
  int64_t batch, slices, pixels;
};

// From the nearest slice, the last, to the farthest.
template <typename Real>
__global__ void __launch_bounds__(kSliceThreads)
    cover_pixels(const __grid_constant__ Spread<Real> spread, Real* after, Real* picture) {
  const int64_t pixels = spread.pixels;
  const Pixel pixel(pixels);
  if (pixel.at >= pixels) return;
  picture += 3 * pixel.picture * pixels + pixel.at;
  Real color[3], total = spread.before[pixel.picture * pixels + pixel.at];
  for (int c = 0; c < 3; ++c) color[c] = picture[c * pixels];
  for (int64_t slice = spread.slices - 1; slice >= 0; --slice) {
    const int64_t of = slice * spread.batch + pixel.picture;
    const Real* light = spread.light + 4 * of * pixels + pixel.at;
    const Real before = total, coverage = light[3 * pixels];
    total += Covering<Real>::positive(coverage);
    const Covering<Real> covering(coverage, before, total);
    after[of * pixels + pixel.at] = total;
    for (int c = 0; c < 3; ++c) color[c] += light[c * pixels] * covering.seen;
  }
  for (int c = 0; c < 3; ++c) picture[c * pixels] = color[c];
}

// `grad_total`, of what covers the pictures in the end, becomes that of what did before.
template <typename Real>
__global__ void __launch_bounds__(kSliceThreads)
    cover_pixels_backward(const __grid_constant__ Spread<Real> spread, const Real* grad_picture, Real* grad_total,
                          Real* grad_light) {
  const int64_t pixels = spread.pixels;
  const Pixel pixel(pixels);
  if (pixel.at >= pixels) return;
  const int64_t at = pixel.picture * pixels + pixel.at;
  Real outer[3], total = grad_total[at];
  for (int c = 0; c < 3; ++c) outer[c] = grad_picture[(3 * pixel.picture + c) * pixels + pixel.at];
  for (int64_t slice = 0; slice < spread.slices; ++slice) {
    const int64_t of = slice * spread.batch + pixel.picture, first = 4 * of * pixels + pixel.at;
    const Real* light = spread.light + first;
    const Real after = spread.after[of * pixels + pixel.at], coverage = light[3 * pixels];
    const Real before =
        slice + 1 < spread.slices ? spread.after[(of + spread.batch) * pixels + pixel.at] : spread.before[at];
    const Covering<Real> covering(coverage, before, after);
    Real grad = 0;
    for (int c = 0; c < 3; ++c) {
      grad += outer[c] * light[c * pixels];
      grad_light[first + c * pixels] = outer[c] * covering.seen;
    }
    uncover(covering, coverage, before, after, grad, total, grad_light[first + 3 * pixels], total);
  }
  grad_total[at] = total;
}

}  // namespace depthbokeh::cuda
