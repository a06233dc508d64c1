// The operators on depth edges: their CPU side from tensors to kernels.
#include <torch/csrc/stable/library.h>

#include <optional>
#include <tuple>

#include "cpu/edges.h"
#include "edge_tensors.h"

namespace depthbokeh {
namespace {

Tensor sharpen_cpu(const Tensor& disparity, const Tensor& strength, const std::optional<Tensor>& linear,
                   int64_t reach) {
  const EdgeTensors tensors(linear, disparity, strength, std::nullopt);
  Tensor to = tensors.empty_map(1);
  dispatch(to, [&](auto real) {
    using Real = decltype(real);
    sharpen(tensors.inputs<Real>(), reach, to.mutable_data_ptr<Real>());
  });
  return to;
}

std::tuple<Tensor, Tensor> sharpen_backward_cpu(const Tensor& grad, const Tensor& disparity, const Tensor& strength,
                                                const std::optional<Tensor>& linear, int64_t reach) {
  const EdgeTensors tensors(linear, disparity, strength, std::nullopt);
  const Tensor outer = tensors.check_map(grad, 1, kGradExpected);
  Tensor to_disparity = tensors.empty_map(1), to_strength = tensors.empty_strength();
  dispatch(outer, [&](auto real) {
    using Real = decltype(real);
    sharpen_backward(tensors.inputs<Real>(), reach, outer.const_data_ptr<Real>(), to_disparity.mutable_data_ptr<Real>(),
                     to_strength.mutable_data_ptr<Real>());
  });
  return {to_disparity, to_strength};
}

SurfaceOutputs separate_cpu(const Tensor& linear, const Tensor& disparity, const Tensor& strength,
                            const std::optional<Tensor>& mask) {
  const EdgeTensors tensors(linear, disparity, strength, mask);
  SeparatedTensors to(tensors);
  dispatch(to.edge, [&](auto real) {
    using Real = decltype(real);
    separate(tensors.inputs<Real>(), to.edge.mutable_data_ptr<Real>(), to.planes<Real>());
  });
  return {to.edge, to.coverage, to.color, to.depth};
}

SurfaceOutputs separate_backward_cpu(const Tensor& grad_edge, const Tensor& grad_coverage, const Tensor& grad_color,
                                     const Tensor& grad_depth, const Tensor& linear, const Tensor& disparity,
                                     const Tensor& strength, const std::optional<Tensor>& mask) {
  const EdgeTensors tensors(linear, disparity, strength, mask);
  const SeparatedTensors grads(tensors, grad_edge, grad_coverage, grad_color, grad_depth);
  return differentiate_separation(grads, tensors,
                                  [](const auto& inputs, const auto* edge, const auto& surfaces, const auto& to) {
                                    separate_backward(inputs, edge, surfaces, to);
                                  });
}

}  // namespace
}  // namespace depthbokeh

STABLE_TORCH_LIBRARY_IMPL(depthbokeh, CPU, m) {
  m.impl("sharpen", TORCH_BOX(&depthbokeh::sharpen_cpu));
  m.impl("sharpen_backward", TORCH_BOX(&depthbokeh::sharpen_backward_cpu));
  m.impl("separate", TORCH_BOX(&depthbokeh::separate_cpu));
  m.impl("separate_backward", TORCH_BOX(&depthbokeh::separate_backward_cpu));
}
