// The CUDA side of the operators between sRGB and linear light, from tensors to kernels.
#include <torch/csrc/stable/library.h>

#include "launch.h"
#include "srgb.cuh"

namespace depthbokeh::cuda {
namespace {

void check_values(const Tensor& values) {
  STD_TORCH_CHECK(values.scalar_type() == ScalarType::Float || values.scalar_type() == ScalarType::Double,
                  "values must be float32 or float64");
}

template <typename Curve>
Tensor bend(const Tensor& values) {
  check_values(values);
  Launcher launcher(values);
  const Tensor from = torch::stable::contiguous(values);
  Tensor to = torch::stable::new_empty(from, from.sizes());
  dispatch(from, [&](auto real) {
    using Real = decltype(real);
    launcher.run(bend_values<Curve, Real>, ceil_div<int64_t>(from.numel(), kCurveThreads), kCurveThreads, 0,
                 from.const_data_ptr<Real>(), from.numel(), to.mutable_data_ptr<Real>());
  });
  return to;
}

template <typename Curve>
Tensor bend_backward(const Tensor& grad, const Tensor& values) {
  check_values(values);
  STD_TORCH_CHECK(
      grad.numel() == values.numel() && grad.scalar_type() == values.scalar_type() && grad.device() == values.device(),
      "grad must be of the values' size, dtype and device");
  Launcher launcher(values);
  const Tensor from = torch::stable::contiguous(values), outer = torch::stable::contiguous(grad);
  Tensor to = torch::stable::new_empty(from, from.sizes());
  dispatch(from, [&](auto real) {
    using Real = decltype(real);
    launcher.run(bend_values_backward<Curve, Real>, ceil_div<int64_t>(from.numel(), kCurveThreads), kCurveThreads, 0,
                 outer.const_data_ptr<Real>(), from.const_data_ptr<Real>(), from.numel(), to.mutable_data_ptr<Real>());
  });
  return to;
}

Tensor srgb_to_linear_cuda(const Tensor& values) { return bend<ToLinear>(values); }
Tensor srgb_to_linear_backward_cuda(const Tensor& grad, const Tensor& values) {
  return bend_backward<ToLinear>(grad, values);
}
Tensor linear_to_srgb_cuda(const Tensor& values) { return bend<ToSrgb>(values); }
Tensor linear_to_srgb_backward_cuda(const Tensor& grad, const Tensor& values) {
  return bend_backward<ToSrgb>(grad, values);
}

}  // namespace
}  // namespace depthbokeh::cuda

DEPTHBOKEH_CUDA_LIBRARY(m) {
  m.impl("srgb_to_linear", TORCH_BOX(&depthbokeh::cuda::srgb_to_linear_cuda));
  m.impl("srgb_to_linear_backward", TORCH_BOX(&depthbokeh::cuda::srgb_to_linear_backward_cuda));
  m.impl("linear_to_srgb", TORCH_BOX(&depthbokeh::cuda::linear_to_srgb_cuda));
  m.impl("linear_to_srgb_backward", TORCH_BOX(&depthbokeh::cuda::linear_to_srgb_backward_cuda));
}
