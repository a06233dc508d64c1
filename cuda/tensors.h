// What the operators check and convert before any kernel runs, on every device.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

namespace depthbokeh {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline Tensor cast(const Tensor& t, ScalarType type) {
  return t.scalar_type() == type ? t : torch::stable::to(t, type);
}

// The image as the kernels want it: contiguous, float or double.
inline Tensor as_real(const Tensor& t, ScalarType real) { return torch::stable::contiguous(cast(t, real)); }

inline ScalarType real_type(const Tensor& image) {
  switch (image.scalar_type()) {
    case ScalarType::Double:
      return ScalarType::Double;
    case ScalarType::Float:
    case ScalarType::Half:
    case ScalarType::BFloat16:
      return ScalarType::Float;
    default:
      STD_TORCH_CHECK(false, "image must be float16, bfloat16, float32 or float64");
  }
  return ScalarType::Float;
}

inline void check(const Tensor& image, const Tensor& radius, const Tensor& aperture) {
  STD_TORCH_CHECK(image.dim() == 4 && radius.dim() == 4, "image and radius must have four dimensions");
  STD_TORCH_CHECK(radius.size(0) == image.size(0) && radius.size(1) == 1 && radius.size(2) == image.size(2) &&
                      radius.size(3) == image.size(3),
                  "radius must be (B, 1, H, W) of the image's size");
  STD_TORCH_CHECK(image.size(2) < (1 << 24) && image.size(3) < (1 << 24), "image sides must be below 2^24");
  STD_TORCH_CHECK(aperture.dim() == 2 && aperture.size(1) == 8 && aperture.scalar_type() == ScalarType::Double,
                  "aperture must be (N, 8) float64");
}

// Calls run(Real{}) with the tensors' type.
template <typename Run>
void dispatch(const Tensor& t, const Run& run) {
  if (t.scalar_type() == ScalarType::Double)
    run(double{});
  else
    run(float{});
}

}  // namespace depthbokeh
