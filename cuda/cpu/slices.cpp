// Everything here is one pass over the pixels, kLanes of them at a time.
#include "slices.h"

#include <torch/csrc/stable/ops.h>

#include <vector>

#include "rows.h"

namespace depthbokeh {
namespace {

constexpr int64_t kChunk = 64 * kLanes;  // pixels that a thread takes at a time

template <typename Real>
struct Lanes {
  alignas(64) Real v[kLanes];
  DEPTHBOKEH_INLINE Real& operator[](int i) { return v[i]; }
  DEPTHBOKEH_INLINE const Real& operator[](int i) const { return v[i]; }
};

template <typename Real>
DEPTHBOKEH_INLINE void load(const Real* __restrict from, int lanes, Lanes<Real>& to) {
  if (lanes == kLanes)
    for (int i = 0; i < kLanes; ++i) to[i] = from[i];
  else
    for (int i = 0; i < kLanes; ++i) to[i] = i < lanes ? from[i] : 0;
}

template <typename Real>
DEPTHBOKEH_INLINE void store(const Lanes<Real>& from, int lanes, Real* __restrict to) {
  if (lanes == kLanes)
    for (int i = 0; i < kLanes; ++i) to[i] = from[i];
  else
    for (int i = 0; i < lanes; ++i) to[i] = from[i];
}

template <typename Real>
DEPTHBOKEH_INLINE void add(const Lanes<Real>& values, int lanes, Real* __restrict to) {
  if (lanes == kLanes)
    for (int i = 0; i < kLanes; ++i) to[i] += values[i];
  else
    for (int i = 0; i < lanes; ++i) to[i] += values[i];
}

// The share of every layer in the slice at kLanes pixels.
template <typename Real>
struct Shares {
  struct Layer {
    Lanes<Real> alpha, defocus, offset, share, weight;
    bool present;  // any share at all
  };
  std::vector<Layer> layers;
  std::vector<Lanes<Real>> free;  // (L, L): what of the share the layers from the front up to another one leave

  explicit Shares(int count) : layers(count), free(size_t(count) * count) {}
  Lanes<Real>& free_before(int layer, int other) { return free[size_t(layer) * layers.size() + other]; }

  DEPTHBOKEH_INLINE void find(const Layers<Real>& from, int64_t at, int lanes) {
    for (int l = from.count - 1; l >= 0; --l) {
      Layer& layer = layers[l];
      load(from.alpha + l * from.pixels + at, lanes, layer.alpha);
      load(from.defocus + l * from.pixels + at, lanes, layer.defocus);
      Real most = -1;
      for (int i = 0; i < kLanes; ++i) {
        layer.offset[i] = from.offset(layer.defocus[i]);
        const Real share = 1 - std::abs(layer.offset[i]);
        layer.share[i] = layer.weight[i] = share > 0 ? share : 0;
        most = most > share ? most : share;
      }
      layer.present = most >= 0;
      if (!layer.present) continue;
      for (int other = from.count - 1; other > l; --other) {
        if (!layers[other].present) continue;
        const Layer& nearer = layers[other];
        Lanes<Real>& before = free_before(l, other);
        for (int i = 0; i < kLanes; ++i) {
          before[i] = layer.weight[i];
          layer.weight[i] -= nearer.alpha[i] * (nearer.share[i] < before[i] ? nearer.share[i] : before[i]);
        }
      }
    }
  }

  // From the gradient of a layer's weight to those of the shares and alphas it is made of.
  DEPTHBOKEH_INLINE void back(int l, Lanes<Real>& grad, std::vector<Lanes<Real>>& grad_share,
                              std::vector<Lanes<Real>>& grad_alpha) {
    for (int other = l + 1; other < static_cast<int>(layers.size()); ++other) {
      if (!layers[other].present) continue;
      const Layer& nearer = layers[other];
      const Lanes<Real>& before = free_before(l, other);
      for (int i = 0; i < kLanes; ++i) {
        const Real least = nearer.share[i] < before[i] ? nearer.share[i] : before[i];
        const Real part = smaller_slope(nearer.share[i], before[i]);
        const Real hidden = grad[i] * nearer.alpha[i];
        grad_alpha[other][i] -= grad[i] * least;
        grad_share[other][i] -= hidden * part;
        grad[i] -= hidden * (1 - part);
      }
    }
    for (int i = 0; i < kLanes; ++i) grad_share[l][i] += grad[i];
  }
};

template <typename Real>
struct Sums {  // of all layers in a slice
  Lanes<Real> color[3] = {}, alpha = {}, defocus = {};
};

template <typename Real>
DEPTHBOKEH_INLINE void take_lanes(const Layers<Real>& from, Shares<Real>& shares, int64_t at, int lanes, Real* light,
                                  Real* radius) {
  shares.find(from, at, lanes);
  Sums<Real> sums;
  Lanes<Real> color, part;
  for (int l = from.count - 1; l >= 0; --l) {
    const auto& layer = shares.layers[l];
    if (!layer.present) continue;
    Real most = 0;
    for (int i = 0; i < kLanes; ++i) {
      part[i] = layer.alpha[i] * layer.weight[i];
      sums.alpha[i] += part[i];
      sums.defocus[i] += layer.defocus[i] * part[i];
      most = most > std::abs(part[i]) ? most : std::abs(part[i]);
    }
    if (most == 0) continue;
    for (int c = 0; c < 3; ++c) {
      load(from.color + (l * 3 + c) * from.pixels + at, lanes, color);
      for (int i = 0; i < kLanes; ++i) sums.color[c][i] += color[i] * part[i];
    }
  }
  for (int c = 0; c < 3; ++c) store(sums.color[c], lanes, light + c * from.pixels + at);
  store(sums.alpha, lanes, light + 3 * from.pixels + at);
  for (int i = 0; i < kLanes; ++i) {
    const Real total = sums.alpha[i] > kTiny<Real> ? sums.alpha[i] : kTiny<Real>;
    part[i] = sums.alpha[i] > 0 ? std::abs(sums.defocus[i] / total) : 0;
  }
  store(part, lanes, radius + at);
}

// Scratch memory of take_slice_backward.
template <typename Real>
struct Backward {
  Shares<Real> shares;
  std::vector<Lanes<Real>> grad_share, grad_alpha, grad_defocus;

  explicit Backward(int count) : shares(count), grad_share(count), grad_alpha(count), grad_defocus(count) {}

  // Gradients of the sums of alpha and of defocus times alpha, which the radius is made of.
  DEPTHBOKEH_INLINE void mean_defocus(const Layers<Real>& from, const Lanes<Real>& grad_radius,
                                      Lanes<Real>& grad_alpha_sum, Lanes<Real>& grad_defocus_sum) const {
    Lanes<Real> alpha = {}, defocus = {};
    for (int l = from.count - 1; l >= 0; --l) {
      const auto& layer = shares.layers[l];
      if (!layer.present) continue;
      for (int i = 0; i < kLanes; ++i) {
        const Real part = layer.alpha[i] * layer.weight[i];
        alpha[i] += part;
        defocus[i] += layer.defocus[i] * part;
      }
    }
    for (int i = 0; i < kLanes; ++i) {
      const Real total = alpha[i] > kTiny<Real> ? alpha[i] : kTiny<Real>, mean = defocus[i] / total;
      const Real sign = alpha[i] > 0 ? Real(mean > 0) - Real(mean < 0) : 0;
      grad_defocus_sum[i] = sign * grad_radius[i] / total;
      grad_alpha_sum[i] -= alpha[i] >= kTiny<Real> ? grad_defocus_sum[i] * mean : 0;
    }
  }

  DEPTHBOKEH_INLINE void run(const Layers<Real>& from, int64_t at, int lanes, const Real* grad_light,
                             const Real* grad_radius, const LayerGrads<Real>& grads, double& grad_origin,
                             double& grad_scale) {
    shares.find(from, at, lanes);
    Lanes<Real> grad_color[3], alpha_sum, defocus_sum, color, part, grad;
    for (int c = 0; c < 3; ++c) load(grad_light + c * from.pixels + at, lanes, grad_color[c]);
    load(grad_light + 3 * from.pixels + at, lanes, alpha_sum);
    load(grad_radius + at, lanes, grad);
    mean_defocus(from, grad, alpha_sum, defocus_sum);
    for (int l = 0; l < from.count; ++l)
      for (int i = 0; i < kLanes; ++i) grad_share[l][i] = grad_alpha[l][i] = grad_defocus[l][i] = 0;
    for (int l = 0; l < from.count; ++l) {
      const auto& layer = shares.layers[l];
      if (!layer.present) continue;
      for (int i = 0; i < kLanes; ++i) {
        part[i] = layer.alpha[i] * layer.weight[i];
        grad[i] = alpha_sum[i] + defocus_sum[i] * layer.defocus[i];
        grad_defocus[l][i] += defocus_sum[i] * part[i];
      }
      for (int c = 0; c < 3; ++c) {
        const int64_t plane = (l * 3 + c) * from.pixels + at;
        load(from.color + plane, lanes, color);
        for (int i = 0; i < kLanes; ++i) {
          grad[i] += grad_color[c][i] * color[i];
          color[i] = grad_color[c][i] * part[i];
        }
        add(color, lanes, grads.color + plane);
      }
      for (int i = 0; i < kLanes; ++i) {
        grad_alpha[l][i] += layer.weight[i] * grad[i];
        grad[i] *= layer.alpha[i];
      }
      shares.back(l, grad, grad_share, grad_alpha);
    }
    for (int l = 0; l < from.count; ++l) {
      const auto& layer = shares.layers[l];
      if (!layer.present) continue;
      Lanes<Real> origin, scale;
      for (int i = 0; i < kLanes; ++i) {
        const Real moved = share_slope(layer.offset[i]) * grad_share[l][i];
        grad_defocus[l][i] += moved * from.scale;
        origin[i] = -moved * from.scale;
        scale[i] = moved * (layer.defocus[i] - from.origin);
      }
      add(grad_alpha[l], lanes, grads.alpha + l * from.pixels + at);
      add(grad_defocus[l], lanes, grads.defocus + l * from.pixels + at);
      for (int i = 0; i < lanes; ++i) grad_origin += origin[i], grad_scale += scale[i];
    }
  }
};

#define DEPTHBOKEH_SLICE_CHUNKS(Real)                                                                                \
  DEPTHBOKEH_CLONES void take_chunk(const Layers<Real>& from, Shares<Real>& shares, int64_t begin, int64_t end,      \
                                    Real* light, Real* radius) {                                                     \
    for (; begin < end; begin += kLanes)                                                                             \
      take_lanes(from, shares, begin, static_cast<int>(std::min<int64_t>(kLanes, end - begin)), light, radius);      \
  }                                                                                                                  \
  DEPTHBOKEH_CLONES void back_chunk(const Layers<Real>& from, Backward<Real>& backward, int64_t begin, int64_t end,  \
                                    const Real* grad_light, const Real* grad_radius, const LayerGrads<Real>& grads,  \
                                    double& grad_origin, double& grad_scale) {                                       \
    for (; begin < end; begin += kLanes)                                                                             \
      backward.run(from, begin, static_cast<int>(std::min<int64_t>(kLanes, end - begin)), grad_light, grad_radius,   \
                   grads, grad_origin, grad_scale);                                                                  \
  }                                                                                                                  \
  DEPTHBOKEH_CLONES void cover_chunk(const Real* __restrict slice, const Real* __restrict before, int64_t pixels,    \
                                     int64_t begin, int64_t end, Real* __restrict after, Real* __restrict picture) { \
    for (int64_t i = begin; i < end; ++i) {                                                                          \
      const Real coverage = slice[3 * pixels + i], total = before[i] + Covering<Real>::positive(coverage);           \
      const Covering<Real> covering(coverage, before[i], total);                                                     \
      after[i] = total;                                                                                              \
      for (int c = 0; c < 3; ++c) picture[c * pixels + i] += slice[c * pixels + i] * covering.seen;                  \
    }                                                                                                                \
  }                                                                                                                  \
  DEPTHBOKEH_CLONES void uncover_chunk(const Real* __restrict slice, const Real* __restrict before,                  \
                                       const Real* __restrict after, const Real* __restrict grad_picture,            \
                                       int64_t pixels, int64_t begin, int64_t end, Real* __restrict grad_total,      \
                                       Real* __restrict grad_slice) {                                                \
    for (int64_t i = begin; i < end; ++i) {                                                                          \
      const Real coverage = slice[3 * pixels + i];                                                                   \
      const Covering<Real> covering(coverage, before[i], after[i]);                                                  \
      Real grad = 0;                                                                                                 \
      for (int c = 0; c < 3; ++c) {                                                                                  \
        grad += grad_picture[c * pixels + i] * slice[c * pixels + i];                                                \
        grad_slice[c * pixels + i] = grad_picture[c * pixels + i] * covering.seen;                                   \
      }                                                                                                              \
      uncover(covering, coverage, before[i], after[i], grad, grad_total[i], grad_slice[3 * pixels + i],              \
              grad_total[i]);                                                                                        \
    }                                                                                                                \
  }
DEPTHBOKEH_SLICE_CHUNKS(float)
DEPTHBOKEH_SLICE_CHUNKS(double)
#undef DEPTHBOKEH_SLICE_CHUNKS

// Calls work(chunk, begin, end) for all pixels.
template <typename Work>
void for_each_chunk(int64_t pixels, const Work& work) {
  torch::stable::parallel_for(0, (pixels + kChunk - 1) / kChunk, 1, [&](int64_t chunk, int64_t last) {
    for (; chunk < last; ++chunk) work(chunk, chunk * kChunk, std::min(pixels, (chunk + 1) * kChunk));
  });
}

}  // namespace

template <typename Real>
void take_slice(const Layers<Real>& layers, Real* light, Real* radius) {
  for_each_chunk(layers.pixels, [&](int64_t, int64_t begin, int64_t end) {
    Shares<Real> shares(layers.count);
    take_chunk(layers, shares, begin, end, light, radius);
  });
}

template <typename Real>
void take_slice_backward(const Layers<Real>& layers, const Real* grad_light, const Real* grad_radius,
                         const LayerGrads<Real>& grads) {
  // Added up in the order of the chunks, whichever thread they fall to.
  std::vector<double> origin((layers.pixels + kChunk - 1) / kChunk), scale(origin.size());
  for_each_chunk(layers.pixels, [&](int64_t chunk, int64_t begin, int64_t end) {
    Backward<Real> backward(layers.count);
    back_chunk(layers, backward, begin, end, grad_light, grad_radius, grads, origin[chunk], scale[chunk]);
  });
  for (size_t i = 0; i < origin.size(); ++i) {
    *grads.origin += Real(origin[i]);
    *grads.scale += Real(scale[i]);
  }
}

template <typename Real>
void cover(const Real* slice, const Real* before, int64_t pixels, Real* after, Real* picture) {
  for_each_chunk(pixels, [&](int64_t, int64_t begin, int64_t end) {
    cover_chunk(slice, before, pixels, begin, end, after, picture);
  });
}

template <typename Real>
void cover_backward(const Real* slice, const Real* before, const Real* after, const Real* grad_picture, int64_t pixels,
                    Real* grad_total, Real* grad_slice) {
  for_each_chunk(pixels, [&](int64_t, int64_t begin, int64_t end) {
    uncover_chunk(slice, before, after, grad_picture, pixels, begin, end, grad_total, grad_slice);
  });
}

#define DEPTHBOKEH_SLICES(Real)                                                                              \
  template void take_slice(const Layers<Real>&, Real*, Real*);                                               \
  template void take_slice_backward(const Layers<Real>&, const Real*, const Real*, const LayerGrads<Real>&); \
  template void cover(const Real*, const Real*, int64_t, Real*, Real*);                                      \
  template void cover_backward(const Real*, const Real*, const Real*, const Real*, int64_t, Real*, Real*);
DEPTHBOKEH_SLICES(float)
DEPTHBOKEH_SLICES(double)
#undef DEPTHBOKEH_SLICES

}  // namespace depthbokeh
