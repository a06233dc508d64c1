// What the operators on windows check of their tensors, on every device.
#pragma once

#include "tensors.h"
#include "windows.h"

namespace depthbokeh {

inline void check_windows(const Tensor& values, int64_t reach) {
  STD_TORCH_CHECK(values.scalar_type() == ScalarType::Float || values.scalar_type() == ScalarType::Double,
                  "values must be float32 or float64");
  STD_TORCH_CHECK(values.dim() == 4, "values must be (B, C, H, W)");
  STD_TORCH_CHECK(values.size(2) < (1 << 24) && values.size(3) < (1 << 24), "sides must be below 2^24");
  STD_TORCH_CHECK(reach >= 0 && reach < (1 << 24), "reach must be from 0 to below 2^24");
}

inline void check_places(const Tensor& values, const Tensor& at) {
  STD_TORCH_CHECK(at.dim() == 1 && at.scalar_type() == ScalarType::Long, "at must be (N,) int64");
  STD_TORCH_CHECK(at.device() == values.device(), "at must be on the values' device");
  STD_TORCH_CHECK(values.numel() > 0 || at.numel() == 0, "at must lie within the pictures");
}

// `values` must be contiguous.
template <typename Real>
Windows<Real> windows_of(const Tensor& values, int64_t reach) {
  return {values.const_data_ptr<Real>(), values.size(0) * values.size(1), static_cast<int>(values.size(2)),
          static_cast<int>(values.size(3)), static_cast<int>(reach)};
}

}  // namespace depthbokeh
