// The operators on depth slices: their CPU side from tensors to kernels.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "cpu/slices.h"
#include "slice_tensors.h"

namespace depthbokeh {
namespace {

template <typename Real>
Layers<Real> layers_of(const Tensor& color, const Tensor& alpha, const Tensor& defocus, const Tensor& origin,
                       const Tensor& scale, int64_t index, int64_t picture) {
  const int64_t count = color.size(1), pixels = color.size(3) * color.size(4), first = picture * count * pixels;
  return {color.const_data_ptr<Real>() + 3 * first,
          alpha.const_data_ptr<Real>() + first,
          defocus.const_data_ptr<Real>() + first,
          static_cast<int>(count),
          pixels,
          origin.const_data_ptr<Real>()[picture],
          scale.const_data_ptr<Real>()[picture],
          static_cast<Real>(index)};
}

std::tuple<Tensor, Tensor> take_slices_cpu(const Tensor& color, const Tensor& alpha, const Tensor& defocus,
                                           const Tensor& origin, const Tensor& scale, int64_t first, int64_t count) {
  check_layers(color, alpha, defocus, origin, scale);
  const int64_t batch = color.size(0), height = color.size(3), width = color.size(4), pixels = height * width;
  Tensor light = torch::stable::new_empty(color, {count * batch, 4, height, width});
  Tensor radius = torch::stable::new_empty(color, {count * batch, 1, height, width});
  dispatch(color, [&](auto real) {
    using Real = decltype(real);
    for (int64_t i = 0; i < count * batch; ++i)
      take_slice(layers_of<Real>(color, alpha, defocus, origin, scale, first + i / batch, i % batch),
                 light.mutable_data_ptr<Real>() + 4 * i * pixels, radius.mutable_data_ptr<Real>() + i * pixels);
  });
  return {light, radius};
}

void take_slices_backward_cpu(const Tensor& grad_light, const Tensor& grad_radius, const Tensor& color,
                              const Tensor& alpha, const Tensor& defocus, const Tensor& origin, const Tensor& scale,
                              int64_t first, Tensor grad_color, Tensor grad_alpha, Tensor grad_defocus,
                              Tensor grad_origin, Tensor grad_scale) {
  check_layers(color, alpha, defocus, origin, scale);
  const int64_t slices = check_layer_grads(color, grad_light, grad_radius,
                                           {&grad_color, &grad_alpha, &grad_defocus, &grad_origin, &grad_scale});
  const int64_t batch = color.size(0), count = color.size(1), pixels = color.size(3) * color.size(4);
  dispatch(color, [&](auto real) {
    using Real = decltype(real);
    for (int64_t i = 0; i < slices * batch; ++i) {
      const int64_t b = i % batch, start = b * count * pixels;
      take_slice_backward(
          layers_of<Real>(color, alpha, defocus, origin, scale, first + i / batch, b),
          grad_light.const_data_ptr<Real>() + 4 * i * pixels, grad_radius.const_data_ptr<Real>() + i * pixels,
          LayerGrads<Real>{grad_color.mutable_data_ptr<Real>() + 3 * start, grad_alpha.mutable_data_ptr<Real>() + start,
                           grad_defocus.mutable_data_ptr<Real>() + start, grad_origin.mutable_data_ptr<Real>() + b,
                           grad_scale.mutable_data_ptr<Real>() + b});
    }
  });
}

Tensor cover_cpu(const Tensor& spread, const Tensor& before, Tensor picture) {
  const int64_t slices = check_cover(spread, picture, {&before}, {});
  const int64_t batch = picture.size(0), pixels = spread.size(2) * spread.size(3);
  Tensor after = torch::stable::new_empty(before, {slices * batch, 1, spread.size(2), spread.size(3)});
  dispatch(spread, [&](auto real) {
    using Real = decltype(real);
    Real* to = after.mutable_data_ptr<Real>();
    for (int64_t i = slices * batch - 1; i >= 0; --i) {
      const int64_t b = i % batch;
      const Real* total =
          i < (slices - 1) * batch ? to + (i + batch) * pixels : before.const_data_ptr<Real>() + b * pixels;
      cover(spread.const_data_ptr<Real>() + 4 * i * pixels, total, pixels, to + i * pixels,
            picture.mutable_data_ptr<Real>() + 3 * b * pixels);
    }
  });
  return after;
}

Tensor cover_backward_cpu(const Tensor& grad_picture, const Tensor& spread, const Tensor& before, const Tensor& after,
                          Tensor grad_total) {
  const int64_t slices = check_cover(spread, grad_picture, {&before, &grad_total}, {&after});
  const int64_t batch = grad_picture.size(0), pixels = spread.size(2) * spread.size(3);
  Tensor grad_spread = torch::stable::new_empty(spread, spread.sizes());
  dispatch(spread, [&](auto real) {
    using Real = decltype(real);
    const Real* totals = after.const_data_ptr<Real>();
    for (int64_t i = 0; i < slices * batch; ++i) {
      const int64_t b = i % batch;
      const Real* total =
          i < (slices - 1) * batch ? totals + (i + batch) * pixels : before.const_data_ptr<Real>() + b * pixels;
      cover_backward(spread.const_data_ptr<Real>() + 4 * i * pixels, total, totals + i * pixels,
                     grad_picture.const_data_ptr<Real>() + 3 * b * pixels, pixels,
                     grad_total.mutable_data_ptr<Real>() + b * pixels,
                     grad_spread.mutable_data_ptr<Real>() + 4 * i * pixels);
    }
  });
  return grad_spread;
}

}  // namespace
}  // namespace depthbokeh

STABLE_TORCH_LIBRARY_IMPL(depthbokeh, CPU, m) {
  m.impl("take_slices", TORCH_BOX(&depthbokeh::take_slices_cpu));
  m.impl("take_slices_backward", TORCH_BOX(&depthbokeh::take_slices_backward_cpu));
  m.impl("cover", TORCH_BOX(&depthbokeh::cover_cpu));
  m.impl("cover_backward", TORCH_BOX(&depthbokeh::cover_backward_cpu));
}
