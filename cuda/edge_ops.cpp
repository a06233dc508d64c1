// The operator on depth edges: schemas, and its CPU side from tensors to kernels.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "cpu/edges.h"

namespace depthbokeh {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Tensors as the kernels want them.
struct Inputs {
  Tensor color, disparity, edge, mask, at, low, high;  // without a mask, that is the disparity again
  bool masked;

  Inputs(const Tensor& color_, const Tensor& disparity_, const Tensor& edge_, const std::optional<Tensor>& mask_,
         const Tensor& at_, const Tensor& low_, const Tensor& high_)
      : color(torch::stable::contiguous(color_)),
        disparity(torch::stable::contiguous(disparity_)),
        edge(torch::stable::contiguous(edge_)),
        mask(mask_ ? torch::stable::contiguous(*mask_) : disparity),
        at(torch::stable::contiguous(at_)),
        low(torch::stable::contiguous(low_)),
        high(torch::stable::contiguous(high_)),
        masked(mask_.has_value()) {
    const ScalarType type = color.scalar_type();
    STD_TORCH_CHECK(type == ScalarType::Float || type == ScalarType::Double, "color must be float32 or float64");
    STD_TORCH_CHECK(color.dim() == 4 && color.size(1) == 3, "color must be (B, 3, H, W)");
    for (const Tensor* t : {&disparity, &edge, &mask})
      STD_TORCH_CHECK(t->scalar_type() == type && t->dim() == 4 && t->size(0) == color.size(0) && t->size(1) == 1 &&
                          t->size(2) == color.size(2) && t->size(3) == color.size(3),
                      "disparity, edge and mask must be (B, 1, H, W) of the colour's size and dtype");
    for (const Tensor* t : {&low, &high})
      STD_TORCH_CHECK(t->scalar_type() == type && t->numel() == at.numel(), "low and high must be one for every pixel");
    STD_TORCH_CHECK(color.size(2) < (1 << 24) && color.size(3) < (1 << 24), "sides must be below 2^24");
    STD_TORCH_CHECK(at.dim() == 1 && at.scalar_type() == ScalarType::Long, "at must be (N,) int64");
    const int64_t *first = at.const_data_ptr<int64_t>(), *last = first + at.numel();
    STD_TORCH_CHECK(std::is_sorted(first, last) && (first == last || (*first >= 0 && last[-1] < disparity.numel())),
                    "at must ascend within the pictures");
  }
  bool is_double() const { return color.scalar_type() == ScalarType::Double; }

  template <typename Real>
  EdgePixels<Real> pixels() const {
    return {color.const_data_ptr<Real>(),    disparity.const_data_ptr<Real>(),
            edge.const_data_ptr<Real>(),     masked ? mask.const_data_ptr<Real>() : nullptr,
            static_cast<int>(color.size(2)), static_cast<int>(color.size(3)),
            at.const_data_ptr<int64_t>(),    low.const_data_ptr<Real>(),
            high.const_data_ptr<Real>(),     at.numel()};
  }
};

Tensor side_means_cpu(const Tensor& color, const Tensor& disparity, const Tensor& edge,
                      const std::optional<Tensor>& mask, const Tensor& at, const Tensor& low, const Tensor& high) {
  const Inputs inputs(color, disparity, edge, mask, at, low, high);
  Tensor means = torch::stable::new_empty(inputs.color, {at.numel(), 3, kSideValues});
  if (inputs.is_double())
    side_means(inputs.pixels<double>(), means.mutable_data_ptr<double>());
  else
    side_means(inputs.pixels<float>(), means.mutable_data_ptr<float>());
  return means;
}

using Grads = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

template <typename Real>
Grads backward(const Inputs& inputs, const Tensor& grad) {
  const auto zeros = [](const Tensor& like) { return torch::stable::new_zeros(like, like.sizes()); };
  Tensor color = zeros(inputs.color), disparity = zeros(inputs.disparity), edge = zeros(inputs.edge);
  Tensor mask = zeros(inputs.mask), low = zeros(inputs.low), high = zeros(inputs.high);
  side_means_backward(
      inputs.pixels<Real>(), grad.const_data_ptr<Real>(),
      EdgeGrads<Real>{color.mutable_data_ptr<Real>(), disparity.mutable_data_ptr<Real>(), edge.mutable_data_ptr<Real>(),
                      inputs.masked ? mask.mutable_data_ptr<Real>() : nullptr, low.mutable_data_ptr<Real>(),
                      high.mutable_data_ptr<Real>()});
  return {color, disparity, edge, mask, low, high};
}

Grads side_means_backward_cpu(const Tensor& grad, const Tensor& color, const Tensor& disparity, const Tensor& edge,
                              const std::optional<Tensor>& mask, const Tensor& at, const Tensor& low,
                              const Tensor& high) {
  const Inputs inputs(color, disparity, edge, mask, at, low, high);
  const Tensor means = torch::stable::contiguous(grad);
  STD_TORCH_CHECK(means.numel() == at.numel() * 3 * kSideValues && means.scalar_type() == color.scalar_type(),
                  "grad must be (N, 3, 5) of the colour's dtype");
  return inputs.is_double() ? backward<double>(inputs, means) : backward<float>(inputs, means);
}

}  // namespace
}  // namespace depthbokeh

STABLE_TORCH_LIBRARY_FRAGMENT(depthbokeh, m) {
  m.def(
      "side_means(Tensor color, Tensor disparity, Tensor edge, Tensor? mask, Tensor at, Tensor low, Tensor high) -> "
      "Tensor");
  m.def(
      "side_means_backward(Tensor grad, Tensor color, Tensor disparity, Tensor edge, Tensor? mask, Tensor at, Tensor "
      "low, Tensor high) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(depthbokeh, CPU, m) {
  m.impl("side_means", TORCH_BOX(&depthbokeh::side_means_cpu));
  m.impl("side_means_backward", TORCH_BOX(&depthbokeh::side_means_backward_cpu));
}
