// What the operators on depth edges check of their tensors, on every device.
#pragma once

#include <optional>

#include "edge.h"
#include "tensors.h"

namespace depthbokeh {

// Tensors as the kernels want them.
struct EdgeTensors {
  Tensor color, disparity, edge, mask, at, low, high;  // without a mask, that is the disparity again
  bool masked;

  EdgeTensors(const Tensor& color_, const Tensor& disparity_, const Tensor& edge_, const std::optional<Tensor>& mask_,
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
    for (const Tensor* t : {&disparity, &edge, &mask, &at, &low, &high})
      STD_TORCH_CHECK(t->device() == color.device(), "all tensors of an edge must be on one device");
  }

  template <typename Real>
  EdgePixels<Real> pixels() const {
    return {color.const_data_ptr<Real>(),    disparity.const_data_ptr<Real>(),
            edge.const_data_ptr<Real>(),     masked ? mask.const_data_ptr<Real>() : nullptr,
            static_cast<int>(color.size(2)), static_cast<int>(color.size(3)),
            at.const_data_ptr<int64_t>(),    low.const_data_ptr<Real>(),
            high.const_data_ptr<Real>(),     at.numel()};
  }

  // The gradient of the means, as the kernels want it.
  Tensor check_grad(const Tensor& grad) const {
    const Tensor means = torch::stable::contiguous(grad);
    STD_TORCH_CHECK(means.numel() == at.numel() * 3 * kSideValues && means.scalar_type() == color.scalar_type(),
                    "grad must be (N, 3, 5) of the colour's dtype");
    STD_TORCH_CHECK(means.device() == color.device(), "grad must be on the colour's device");
    return means;
  }
};

}  // namespace depthbokeh
