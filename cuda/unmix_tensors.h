// Mixed pixels: what the operators check of their tensors, and the operators themselves up to a device's kernels.
#pragma once

#include <tuple>

#include "tensors.h"
#include "unmix.h"

namespace depthbokeh {

// Tensors as the kernels want them.
struct MixtureTensors {
  Tensor sides, low, high, weight;
  bool masked;

  MixtureTensors(const Tensor& sides_, const Tensor& low_, const Tensor& high_, const Tensor& weight_, bool masked_)
      : sides(torch::stable::contiguous(sides_)),
        low(torch::stable::contiguous(low_)),
        high(torch::stable::contiguous(high_)),
        weight(torch::stable::contiguous(weight_)),
        masked(masked_) {
    const ScalarType type = sides.scalar_type();
    STD_TORCH_CHECK(type == ScalarType::Float || type == ScalarType::Double, "sides must be float32 or float64");
    STD_TORCH_CHECK(sides.dim() == 3 && sides.size(1) == 3 && sides.size(2) == kSideValues, "sides must be (N, 3, 5)");
    for (const Tensor* t : {&low, &high, &weight}) {
      STD_TORCH_CHECK(t->scalar_type() == type && t->dim() == 1 && t->size(0) == sides.size(0),
                      "low, high and weight must be (N,) of the sides' dtype");
      STD_TORCH_CHECK(t->device() == sides.device(), "low, high and weight must be on the sides' device");
    }
  }

  template <typename Real>
  Mixtures<Real> pixels() const {
    return {sides.const_data_ptr<Real>(),
            low.const_data_ptr<Real>(),
            high.const_data_ptr<Real>(),
            weight.const_data_ptr<Real>(),
            masked,
            sides.size(0)};
  }
};

// Both surfaces; unmix(pixels, surfaces) writes them.
template <typename Unmix>
Tensor make_surfaces(const MixtureTensors& inputs, const Unmix& unmix) {
  Tensor surfaces = torch::stable::new_empty(inputs.sides, {inputs.sides.size(0), kSurfaceValues});
  dispatch(inputs.sides, [&](auto real) {
    using Real = decltype(real);
    unmix(inputs.pixels<Real>(), surfaces.mutable_data_ptr<Real>());
  });
  return surfaces;
}

// The gradients to sides, low, high and weight; unmix_backward(pixels, grad, to) writes them.
template <typename Backward>
std::tuple<Tensor, Tensor, Tensor, Tensor> make_mixture_gradients(const Tensor& grad, const MixtureTensors& inputs,
                                                                  const Backward& unmix_backward) {
  const Tensor outer = torch::stable::contiguous(grad);
  STD_TORCH_CHECK(outer.dim() == 2 && outer.size(0) == inputs.sides.size(0) && outer.size(1) == kSurfaceValues &&
                      outer.scalar_type() == inputs.sides.scalar_type(),
                  "grad must be (N, 10) of the sides' dtype");
  STD_TORCH_CHECK(outer.device() == inputs.sides.device(), "grad must be on the sides' device");
  const auto empty = [](const Tensor& like) { return torch::stable::new_empty(like, like.sizes()); };
  Tensor sides = empty(inputs.sides), low = empty(inputs.low), high = empty(inputs.high), weight = empty(inputs.weight);
  dispatch(inputs.sides, [&](auto real) {
    using Real = decltype(real);
    const MixtureGrads<Real> to = {sides.mutable_data_ptr<Real>(), low.mutable_data_ptr<Real>(),
                                   high.mutable_data_ptr<Real>(), weight.mutable_data_ptr<Real>()};
    unmix_backward(inputs.pixels<Real>(), outer.const_data_ptr<Real>(), to);
  });
  return {sides, low, high, weight};
}

}  // namespace depthbokeh
