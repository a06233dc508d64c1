// What the operators on depth edges check of their tensors, on every device.
#pragma once

#include <optional>
#include <tuple>

#include "tensors.h"
#include "unmix.h"

namespace depthbokeh {

constexpr const char* kGradExpected = "grad must be of its result's size, dtype and device";

// Tensors as the kernels want them.
struct EdgeTensors {
  Tensor disparity, strength;
  std::optional<Tensor> color, mask;

  EdgeTensors(const std::optional<Tensor>& color_, const Tensor& disparity_, const Tensor& strength_,
              const std::optional<Tensor>& mask_)
      : disparity(torch::stable::contiguous(disparity_)), strength(torch::stable::contiguous(strength_)) {
    const ScalarType type = disparity.scalar_type();
    STD_TORCH_CHECK(type == ScalarType::Float || type == ScalarType::Double, "disparity must be float32 or float64");
    STD_TORCH_CHECK(disparity.dim() == 4 && disparity.size(1) == 1, "disparity must be (B, 1, H, W)");
    for (int axis : {2, 3})
      STD_TORCH_CHECK(disparity.size(axis) > 0 && disparity.size(axis) < (1 << 24),
                      "sides must be from 1 to below 2^24");
    STD_TORCH_CHECK(strength.numel() == disparity.size(0) && strength.scalar_type() == type &&
                        strength.device() == disparity.device(),
                    "strength must be one for every picture, of the disparity's dtype and device");
    if (color_) color = check_map(*color_, 3, "linear must be (B, 3, H, W) of the disparity's size, dtype and device");
    if (mask_) mask = check_map(*mask_, 1, "mask must be (B, 1, H, W) of the disparity's size, dtype and device");
  }

  // A tensor of the pictures' size, contiguous.
  Tensor check_map(const Tensor& map, int64_t channels, const char* expected) const {
    STD_TORCH_CHECK(map.dim() == 4 && map.size(0) == disparity.size(0) && map.size(1) == channels &&
                        map.size(2) == disparity.size(2) && map.size(3) == disparity.size(3) &&
                        map.scalar_type() == disparity.scalar_type() && map.device() == disparity.device(),
                    expected);
    return torch::stable::contiguous(map);
  }

  Tensor empty_map(int64_t channels) const {
    return torch::stable::new_empty(disparity, {disparity.size(0), channels, disparity.size(2), disparity.size(3)});
  }

  Tensor empty_strength() const { return torch::stable::new_empty(strength, strength.sizes()); }

  template <typename Real>
  EdgeInputs<Real> inputs() const {
    return {color ? color->const_data_ptr<Real>() : nullptr,
            disparity.const_data_ptr<Real>(),
            strength.const_data_ptr<Real>(),
            mask ? mask->const_data_ptr<Real>() : nullptr,
            disparity.size(0),
            static_cast<int>(disparity.size(2)),
            static_cast<int>(disparity.size(3))};
  }
};

// Where there are edges, and both surfaces.
struct SeparatedTensors {
  Tensor edge, coverage, color, depth;

  explicit SeparatedTensors(const EdgeTensors& like)
      : edge(like.empty_map(1)), coverage(make(like, 1)), color(make(like, 3)), depth(make(like, 1)) {}

  // Their gradients.
  SeparatedTensors(const EdgeTensors& like, const Tensor& edge_, const Tensor& coverage_, const Tensor& color_,
                   const Tensor& depth_)
      : edge(like.check_map(edge_, 1, kGradExpected)),
        coverage(check(like, coverage_, 1)),
        color(check(like, color_, 3)),
        depth(check(like, depth_, 1)) {}

  template <typename Real>
  SurfacePlanes<Real> planes() const {
    // Of gradients nothing is written.
    const auto data = [](const Tensor& t) { return const_cast<Real*>(t.const_data_ptr<Real>()); };
    return {data(coverage), data(color), data(depth), edge.size(2) * edge.size(3)};
  }

 private:
  static Tensor make(const EdgeTensors& like, int64_t channels) {
    const Tensor& map = like.disparity;
    return torch::stable::new_empty(map, {map.size(0), 2, channels, map.size(2), map.size(3)});
  }
  static Tensor check(const EdgeTensors& like, const Tensor& given, int64_t channels) {
    const Tensor& map = like.disparity;
    STD_TORCH_CHECK(given.dim() == 5 && given.size(0) == map.size(0) && given.size(1) == 2 &&
                        given.size(2) == channels && given.size(3) == map.size(2) && given.size(4) == map.size(3) &&
                        given.scalar_type() == map.scalar_type() && given.device() == map.device(),
                    kGradExpected);
    return torch::stable::contiguous(given);
  }
};

using SurfaceOutputs = std::tuple<Tensor, Tensor, Tensor, Tensor>;

// The gradients to linear, disparity, strength and mask, which is empty without one; backward(inputs, grad_edge,
// grad_planes, to) writes them.
template <typename Backward>
SurfaceOutputs differentiate_separation(const SeparatedTensors& grads, const EdgeTensors& tensors,
                                        const Backward& backward) {
  Tensor to_color = tensors.empty_map(3), to_disparity = tensors.empty_map(1), to_strength = tensors.empty_strength();
  Tensor to_mask = tensors.mask ? tensors.empty_map(1) : torch::stable::new_empty(to_disparity, {0});
  dispatch(to_disparity, [&](auto real) {
    using Real = decltype(real);
    const SeparateGrads<Real> to = {to_color.mutable_data_ptr<Real>(), to_disparity.mutable_data_ptr<Real>(),
                                    to_strength.mutable_data_ptr<Real>(),
                                    tensors.mask ? to_mask.mutable_data_ptr<Real>() : nullptr};
    backward(tensors.inputs<Real>(), grads.edge.const_data_ptr<Real>(), grads.planes<Real>(), to);
  });
  return {to_color, to_disparity, to_strength, to_mask};
}

}  // namespace depthbokeh
