// The operators that fill in, from tensors to the pyramid that a device's kernels fill.
#pragma once

#include <tuple>
#include <utility>
#include <vector>

#include "fill.h"
#include "tensors.h"

namespace depthbokeh {

inline void check_fill(const Tensor& values, const Tensor& weight) {
  STD_TORCH_CHECK(values.dim() == 4 && weight.dim() == 4, "values and weight must have four dimensions");
  STD_TORCH_CHECK(weight.size(0) == values.size(0) && weight.size(1) == 1 && weight.size(2) == values.size(2) &&
                      weight.size(3) == values.size(3),
                  "weight must be (B, 1, H, W) of the values' size");
  STD_TORCH_CHECK(weight.scalar_type() == values.scalar_type(), "weight must have the values' dtype");
  STD_TORCH_CHECK(weight.device() == values.device(), "weight must be on the values' device");
  STD_TORCH_CHECK(values.size(1) > 0, "values must have channels");
  for (int axis : {2, 3})
    STD_TORCH_CHECK(values.size(axis) > 0 && values.size(axis) < (1 << 24), "sides must be from 1 to below 2^24");
}

inline void check_fill(const Tensor& grad, const Tensor& values, const Tensor& weight) {
  check_fill(values, weight);
  STD_TORCH_CHECK(grad.sizes().equals(values.sizes()), "grad must have the values' shape");
  STD_TORCH_CHECK(grad.device() == values.device(), "grad must be on the values' device");
}

// All levels, from the pictures to a single pixel.
template <typename Real>
struct Pyramid {
  int64_t batch, channels;
  std::vector<Level<Real>> levels;
  Tensor memory;  // of the coarser levels

  Pyramid(const Tensor& values, Planes<const Real> from, Planes<Real> to)
      : batch(values.size(0)), channels(values.size(1)) {
    levels.push_back({static_cast<int>(values.size(2)), static_cast<int>(values.size(3)), true, from, to});
    int64_t pixels = 0;
    while (levels.back().plane() > 1) {
      levels.push_back({(levels.back().height + 1) / 2, (levels.back().width + 1) / 2, false, {}, {}});
      pixels += levels.back().plane();
    }
    const bool back = from.grad != nullptr;
    memory = torch::stable::new_empty(values, {batch * pixels * (back ? 2 * channels + 1 : channels + 1)});
    Real* free = memory.mutable_data_ptr<Real>();
    const auto take = [&](int64_t count) { return std::exchange(free, free + count); };
    for (size_t i = 1; i < levels.size(); ++i) {
      Level<Real>& level = levels[i];
      const int64_t plane = batch * level.plane();
      level.to = {take(channels * plane), take(plane), back ? take(channels * plane) : nullptr};
      level.from = {level.to.values, level.to.weight, level.to.grad};
    }
  }
};

// What is filled in; fill(pyramid) does it.
template <typename Fill>
Tensor make_filled(const Tensor& values, const Tensor& weight, const Fill& fill) {
  const ScalarType type = real_type(values);
  const Tensor from = as_real(values, type), known = as_real(weight, type);
  Tensor filled = torch::stable::new_empty(from, from.sizes());
  dispatch(from, [&](auto real) {
    using Real = decltype(real);
    fill(Pyramid<Real>(from, {from.const_data_ptr<Real>(), known.const_data_ptr<Real>(), nullptr},
                       {filled.mutable_data_ptr<Real>(), nullptr, nullptr}));
  });
  return cast(filled, values.scalar_type());
}

// The gradients to values and weight.
template <typename Fill>
std::tuple<Tensor, Tensor> make_fill_gradients(const Tensor& grad, const Tensor& values, const Tensor& weight,
                                               const Fill& fill) {
  const ScalarType type = real_type(values);
  const Tensor from = as_real(values, type), known = as_real(weight, type), outer = as_real(grad, type);
  Tensor to_values = torch::stable::new_empty(from, from.sizes());
  Tensor to_weight = torch::stable::new_empty(known, known.sizes());
  dispatch(from, [&](auto real) {
    using Real = decltype(real);
    fill(Pyramid<Real>(from, {from.const_data_ptr<Real>(), known.const_data_ptr<Real>(), outer.const_data_ptr<Real>()},
                       {nullptr, to_weight.mutable_data_ptr<Real>(), to_values.mutable_data_ptr<Real>()}));
  });
  return {cast(to_values, values.scalar_type()), cast(to_weight, weight.scalar_type())};
}

}  // namespace depthbokeh
