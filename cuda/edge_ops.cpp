// The operator on depth edges: schemas, and its CPU side from tensors to kernels.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "cpu/edges.h"
#include "edge_tensors.h"
#include "schemas.h"

namespace depthbokeh {
namespace {

// The kernels walk through `at` stripe by stripe.
void check_order(const EdgeTensors& inputs) {
  const int64_t *first = inputs.at.const_data_ptr<int64_t>(), *last = first + inputs.at.numel();
  STD_TORCH_CHECK(
      std::is_sorted(first, last) && (first == last || (*first >= 0 && last[-1] < inputs.disparity.numel())),
      "at must ascend within the pictures");
}

Tensor side_means_cpu(const Tensor& color, const Tensor& disparity, const Tensor& edge,
                      const std::optional<Tensor>& mask, const Tensor& at, const Tensor& low, const Tensor& high) {
  const EdgeTensors inputs(color, disparity, edge, mask, at, low, high);
  check_order(inputs);
  Tensor means = torch::stable::new_empty(inputs.color, {at.numel(), 3, kSideValues});
  dispatch(inputs.color, [&](auto real) {
    using Real = decltype(real);
    side_means(inputs.pixels<Real>(), means.mutable_data_ptr<Real>());
  });
  return means;
}

using Grads = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

Grads side_means_backward_cpu(const Tensor& grad, const Tensor& color, const Tensor& disparity, const Tensor& edge,
                              const std::optional<Tensor>& mask, const Tensor& at, const Tensor& low,
                              const Tensor& high) {
  const EdgeTensors inputs(color, disparity, edge, mask, at, low, high);
  check_order(inputs);
  const Tensor means = inputs.check_grad(grad);
  const auto zeros = [](const Tensor& like) { return torch::stable::new_zeros(like, like.sizes()); };
  Grads grads = {zeros(inputs.color), zeros(inputs.disparity), zeros(inputs.edge),
                 zeros(inputs.mask),  zeros(inputs.low),       zeros(inputs.high)};
  dispatch(inputs.color, [&](auto real) {
    using Real = decltype(real);
    const EdgeGrads<Real> to = {std::get<0>(grads).mutable_data_ptr<Real>(),
                                std::get<1>(grads).mutable_data_ptr<Real>(),
                                std::get<2>(grads).mutable_data_ptr<Real>(),
                                inputs.masked ? std::get<3>(grads).mutable_data_ptr<Real>() : nullptr,
                                std::get<4>(grads).mutable_data_ptr<Real>(),
                                std::get<5>(grads).mutable_data_ptr<Real>()};
    side_means_backward(inputs.pixels<Real>(), means.const_data_ptr<Real>(), to);
  });
  return grads;
}

}  // namespace
}  // namespace depthbokeh

STABLE_TORCH_LIBRARY_FRAGMENT(depthbokeh, m) {
  m.def(depthbokeh::kSideMeans);
  m.def(depthbokeh::kSideMeansBackward);
}

STABLE_TORCH_LIBRARY_IMPL(depthbokeh, CPU, m) {
  m.impl("side_means", TORCH_BOX(&depthbokeh::side_means_cpu));
  m.impl("side_means_backward", TORCH_BOX(&depthbokeh::side_means_backward_cpu));
}
