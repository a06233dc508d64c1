// Between sRGB and linear light in CUDA; depthbokeh/color.py defines both curves. A thread owns a value.
#pragma once

#include "device.cuh"

namespace depthbokeh::cuda {

constexpr int kCurveThreads = 256;

// Both are odd: of a magnitude.
struct ToLinear {
  static constexpr double kSplit = 0.04045;

  template <typename Real>
  DEPTHBOKEH_INLINE static Real run(Real x) {
    return x <= Real(kSplit) ? x / Real(12.92) : std::pow((x + Real(0.055)) / Real(1.055), Real(2.4));
  }
  template <typename Real>
  DEPTHBOKEH_INLINE static Real slope(Real x) {
    if (x <= Real(kSplit)) return Real(1 / 12.92);
    return Real(2.4 / 1.055) * std::pow((x + Real(0.055)) / Real(1.055), Real(1.4));
  }
};

struct ToSrgb {
  static constexpr double kSplit = 0.003130806;

  template <typename Real>
  DEPTHBOKEH_INLINE static Real run(Real x) {
    return x <= Real(kSplit) ? Real(12.92) * x : Real(1.055) * std::pow(x, Real(1 / 2.4)) - Real(0.055);
  }
  template <typename Real>
  DEPTHBOKEH_INLINE static Real slope(Real x) {
    return x <= Real(kSplit) ? Real(12.92) : Real(1.055 / 2.4) * std::pow(x, Real(1 / 2.4 - 1));
  }
};

template <typename Curve, typename Real>
__global__ void __launch_bounds__(kCurveThreads) bend_values(const Real* from, int64_t count, Real* to) {
  const int64_t at = int64_t(blockIdx.x) * kCurveThreads + threadIdx.x;
  if (at < count) to[at] = std::copysign(Curve::run(std::abs(from[at])), from[at]);
}

template <typename Curve, typename Real>
__global__ void __launch_bounds__(kCurveThreads)
    bend_values_backward(const Real* grad, const Real* from, int64_t count, Real* to) {
  const int64_t at = int64_t(blockIdx.x) * kCurveThreads + threadIdx.x;
  if (at < count) to[at] = grad[at] * Curve::slope(std::abs(from[at]));
}

}  // namespace depthbokeh::cuda
