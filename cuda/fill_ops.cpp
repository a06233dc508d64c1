// The operators that fill in what is not known: their schemas' registration, and their CPU side from tensors to
// kernels.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "cpu/fill.h"
#include "fill_tensors.h"
#include "schemas.h"

namespace depthbokeh {
namespace {

Tensor push_pull_cpu(const Tensor& values, const Tensor& weight) {
  check_fill(values, weight);
  const ScalarType type = real_type(values);
  const Tensor from = as_real(values, type), known = as_real(weight, type);
  Tensor filled = torch::stable::new_empty(from, from.sizes());
  dispatch(from, [&](auto real) {
    using Real = decltype(real);
    const Pyramid<Real> pyramid(from, {from.const_data_ptr<Real>(), known.const_data_ptr<Real>(), nullptr},
                                {filled.mutable_data_ptr<Real>(), nullptr, nullptr});
    fill_pyramid(pyramid.levels, pyramid.batch, pyramid.channels);
  });
  return cast(filled, values.scalar_type());
}

std::tuple<Tensor, Tensor> push_pull_backward_cpu(const Tensor& grad, const Tensor& values, const Tensor& weight) {
  check_fill(grad, values, weight);
  const ScalarType type = real_type(values);
  const Tensor from = as_real(values, type), known = as_real(weight, type), outer = as_real(grad, type);
  Tensor to_values = torch::stable::new_empty(from, from.sizes());
  Tensor to_weight = torch::stable::new_empty(known, known.sizes());
  dispatch(from, [&](auto real) {
    using Real = decltype(real);
    const Pyramid<Real> pyramid(
        from, {from.const_data_ptr<Real>(), known.const_data_ptr<Real>(), outer.const_data_ptr<Real>()},
        {nullptr, to_weight.mutable_data_ptr<Real>(), to_values.mutable_data_ptr<Real>()});
    fill_pyramid(pyramid.levels, pyramid.batch, pyramid.channels);
  });
  return {cast(to_values, values.scalar_type()), cast(to_weight, weight.scalar_type())};
}

}  // namespace
}  // namespace depthbokeh

STABLE_TORCH_LIBRARY_FRAGMENT(depthbokeh, m) {
  m.def(depthbokeh::kPushPull);
  m.def(depthbokeh::kPushPullBackward);
}

STABLE_TORCH_LIBRARY_IMPL(depthbokeh, CPU, m) {
  m.impl("push_pull", TORCH_BOX(&depthbokeh::push_pull_cpu));
  m.impl("push_pull_backward", TORCH_BOX(&depthbokeh::push_pull_backward_cpu));
}
