// The operators on depth slices: their schemas' registration, and their CPU side from tensors to kernels.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "cpu/slices.h"
#include "schemas.h"
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

std::tuple<Tensor, Tensor> take_slice_cpu(const Tensor& color, const Tensor& alpha, const Tensor& defocus,
                                          const Tensor& origin, const Tensor& scale, int64_t index) {
  check_layers(color, alpha, defocus, origin, scale);
  const int64_t batch = color.size(0), height = color.size(3), width = color.size(4), pixels = height * width;
  Tensor light = torch::stable::new_empty(color, {batch, 4, height, width});
  Tensor radius = torch::stable::new_empty(color, {batch, 1, height, width});
  dispatch(color, [&](auto real) {
    using Real = decltype(real);
    for (int64_t b = 0; b < batch; ++b)
      take_slice(layers_of<Real>(color, alpha, defocus, origin, scale, index, b),
                 light.mutable_data_ptr<Real>() + 4 * b * pixels, radius.mutable_data_ptr<Real>() + b * pixels);
  });
  return {light, radius};
}

void take_slice_backward_cpu(const Tensor& grad_light, const Tensor& grad_radius, const Tensor& color,
                             const Tensor& alpha, const Tensor& defocus, const Tensor& origin, const Tensor& scale,
                             int64_t index, Tensor grad_color, Tensor grad_alpha, Tensor grad_defocus,
                             Tensor grad_origin, Tensor grad_scale) {
  check_layers(color, alpha, defocus, origin, scale);
  check_layer_grads(color, grad_light, grad_radius,
                    {&grad_color, &grad_alpha, &grad_defocus, &grad_origin, &grad_scale});
  const int64_t batch = color.size(0), count = color.size(1), pixels = color.size(3) * color.size(4);
  dispatch(color, [&](auto real) {
    using Real = decltype(real);
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t first = b * count * pixels;
      take_slice_backward(
          layers_of<Real>(color, alpha, defocus, origin, scale, index, b),
          grad_light.const_data_ptr<Real>() + 4 * b * pixels, grad_radius.const_data_ptr<Real>() + b * pixels,
          LayerGrads<Real>{grad_color.mutable_data_ptr<Real>() + 3 * first, grad_alpha.mutable_data_ptr<Real>() + first,
                           grad_defocus.mutable_data_ptr<Real>() + first, grad_origin.mutable_data_ptr<Real>() + b,
                           grad_scale.mutable_data_ptr<Real>() + b});
    }
  });
}

Tensor cover_cpu(const Tensor& slice, const Tensor& before, Tensor picture) {
  check_cover(slice, {&before}, picture);
  const int64_t batch = slice.size(0), pixels = slice.size(2) * slice.size(3);
  Tensor after = torch::stable::new_empty(before, before.sizes());
  dispatch(slice, [&](auto real) {
    using Real = decltype(real);
    for (int64_t b = 0; b < batch; ++b)
      cover(slice.const_data_ptr<Real>() + 4 * b * pixels, before.const_data_ptr<Real>() + b * pixels, pixels,
            after.mutable_data_ptr<Real>() + b * pixels, picture.mutable_data_ptr<Real>() + 3 * b * pixels);
  });
  return after;
}

Tensor cover_backward_cpu(const Tensor& grad_picture, const Tensor& slice, const Tensor& before, const Tensor& after,
                          Tensor grad_total) {
  check_cover(slice, {&before, &after, &grad_total}, grad_picture);
  const int64_t batch = slice.size(0), pixels = slice.size(2) * slice.size(3);
  Tensor grad_slice = torch::stable::new_empty(slice, slice.sizes());
  dispatch(slice, [&](auto real) {
    using Real = decltype(real);
    for (int64_t b = 0; b < batch; ++b)
      cover_backward(slice.const_data_ptr<Real>() + 4 * b * pixels, before.const_data_ptr<Real>() + b * pixels,
                     after.const_data_ptr<Real>() + b * pixels, grad_picture.const_data_ptr<Real>() + 3 * b * pixels,
                     pixels, grad_total.mutable_data_ptr<Real>() + b * pixels,
                     grad_slice.mutable_data_ptr<Real>() + 4 * b * pixels);
  });
  return grad_slice;
}

}  // namespace
}  // namespace depthbokeh

STABLE_TORCH_LIBRARY_FRAGMENT(depthbokeh, m) {
  m.def(depthbokeh::kTakeSlice);
  m.def(depthbokeh::kTakeSliceBackward);
  m.def(depthbokeh::kCover);
  m.def(depthbokeh::kCoverBackward);
}

STABLE_TORCH_LIBRARY_IMPL(depthbokeh, CPU, m) {
  m.impl("take_slice", TORCH_BOX(&depthbokeh::take_slice_cpu));
  m.impl("take_slice_backward", TORCH_BOX(&depthbokeh::take_slice_backward_cpu));
  m.impl("cover", TORCH_BOX(&depthbokeh::cover_cpu));
  m.impl("cover_backward", TORCH_BOX(&depthbokeh::cover_backward_cpu));
}
