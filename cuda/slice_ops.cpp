// The operators on depth slices: schemas, and their CPU side from tensors to kernels.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <tuple>
#include <vector>

#include "cpu/slices.h"

namespace depthbokeh {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Of the type of the first one, contiguous: what the kernels take their pointers from.
void check(std::initializer_list<const Tensor*> tensors) {
  const ScalarType type = (*tensors.begin())->scalar_type();
  STD_TORCH_CHECK(type == ScalarType::Float || type == ScalarType::Double, "layers must be float32 or float64");
  for (const Tensor* t : tensors) {
    STD_TORCH_CHECK(t->scalar_type() == type, "all tensors of a slice must have one dtype");
    STD_TORCH_CHECK(t->is_contiguous(), "all tensors of a slice must be contiguous");
  }
}

void check_layers(const Tensor& color, const Tensor& alpha, const Tensor& defocus, const Tensor& origin,
                  const Tensor& scale) {
  check({&color, &alpha, &defocus, &origin, &scale});
  STD_TORCH_CHECK(color.dim() == 5 && color.size(2) == 3, "color must be (B, K, 3, H, W)");
  const std::vector<int64_t> shape = {color.size(0), color.size(1), 1, color.size(3), color.size(4)};
  for (const Tensor* t : {&alpha, &defocus}) {
    STD_TORCH_CHECK(t->dim() == 5, "alpha and defocus must be (B, K, 1, H, W)");
    for (int i = 0; i < 5; ++i) STD_TORCH_CHECK(t->size(i) == shape[i], "alpha and defocus must be (B, K, 1, H, W)");
  }
  STD_TORCH_CHECK(origin.numel() == color.size(0) && scale.numel() == color.size(0),
                  "origin and scale must have one value for every picture");
}

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

// Calls run(Real{}) with the tensors' type.
template <typename Run>
void dispatch(const Tensor& t, const Run& run) {
  if (t.scalar_type() == ScalarType::Double)
    run(double{});
  else
    run(float{});
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
  check({&color, &grad_light, &grad_radius, &grad_color, &grad_alpha, &grad_defocus, &grad_origin, &grad_scale});
  const int64_t batch = color.size(0), count = color.size(1), pixels = color.size(3) * color.size(4);
  STD_TORCH_CHECK(grad_light.numel() == 4 * batch * pixels && grad_radius.numel() == batch * pixels,
                  "gradients of a slice must have its shape");
  STD_TORCH_CHECK(grad_color.numel() == color.numel() && grad_alpha.numel() == alpha.numel() &&
                      grad_defocus.numel() == defocus.numel() && grad_origin.numel() == batch &&
                      grad_scale.numel() == batch,
                  "gradients of layers must have their shapes");
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

void check_cover(const Tensor& slice, std::initializer_list<const Tensor*> totals, const Tensor& picture) {
  check({&slice, &picture});
  STD_TORCH_CHECK(slice.dim() == 4 && slice.size(1) == 4, "slice must be (B, 4, H, W)");
  STD_TORCH_CHECK(4 * picture.numel() == 3 * slice.numel(), "picture must be (B, 3, H, W)");
  for (const Tensor* total : totals) {
    check({&slice, total});
    STD_TORCH_CHECK(4 * total->numel() == slice.numel(), "coverage must be (B, 1, H, W)");
  }
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
  m.def(
      "take_slice(Tensor color, Tensor alpha, Tensor defocus, Tensor origin, Tensor scale, int index) -> (Tensor, "
      "Tensor)");
  m.def(
      "take_slice_backward(Tensor grad_light, Tensor grad_radius, Tensor color, Tensor alpha, Tensor defocus, Tensor "
      "origin, Tensor scale, int index, Tensor(a!) grad_color, Tensor(b!) grad_alpha, Tensor(c!) grad_defocus, "
      "Tensor(d!) grad_origin, Tensor(e!) grad_scale) -> ()");
  m.def("cover(Tensor spread, Tensor before, Tensor(a!) picture) -> Tensor");
  m.def(
      "cover_backward(Tensor grad_picture, Tensor spread, Tensor before, Tensor after, Tensor(a!) grad_total) -> "
      "Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(depthbokeh, CPU, m) {
  m.impl("take_slice", TORCH_BOX(&depthbokeh::take_slice_cpu));
  m.impl("take_slice_backward", TORCH_BOX(&depthbokeh::take_slice_backward_cpu));
  m.impl("cover", TORCH_BOX(&depthbokeh::cover_cpu));
  m.impl("cover_backward", TORCH_BOX(&depthbokeh::cover_backward_cpu));
}
