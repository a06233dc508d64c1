// What the operators on windows check of their tensors, on every device.
#pragma once

#include <algorithm>

#include "tensors.h"
#include "windows.h"

namespace depthbokeh {

inline void check_windows(const Tensor& values, int64_t reach) {
  STD_TORCH_CHECK(values.scalar_type() == ScalarType::Float || values.scalar_type() == ScalarType::Double,
                  "values must be float32 or float64");
  STD_TORCH_CHECK(values.dim() == 4, "values must be (B, C, H, W)");
  for (int axis : {2, 3})
    STD_TORCH_CHECK(values.size(axis) > 0 && values.size(axis) < (1 << 24), "sides must be from 1 to below 2^24");
  STD_TORCH_CHECK(reach >= 0, "reach must not be negative");
}

inline void check_places(const Tensor& values, const Tensor& at) {
  STD_TORCH_CHECK(at.dim() == 1 && at.scalar_type() == ScalarType::Long, "at must be (N,) int64");
  STD_TORCH_CHECK(at.device() == values.device(), "at must be on the values' device");
  STD_TORCH_CHECK(values.numel() > 0 || at.numel() == 0, "at must lie within the pictures");
}

// `values` must be contiguous.
template <typename Real>
Windows<Real> windows_of(const Tensor& values, int64_t reach) {
  const int64_t most = std::max(values.size(2), values.size(3));  // wider windows see no more
  return {values.const_data_ptr<Real>(), values.size(0) * values.size(1), static_cast<int>(values.size(2)),
          static_cast<int>(values.size(3)), static_cast<int>(std::min(reach, most))};
}

}  // namespace depthbokeh
