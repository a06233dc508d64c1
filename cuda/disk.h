// The two functions of the unit circle that every disk row is made of, shared by the CPU and CUDA kernels.
#pragma once

#include <cmath>

#ifdef __CUDACC__
#define DEPTHBOKEH_INLINE __host__ __device__ __forceinline__
#else
#define DEPTHBOKEH_INLINE inline __attribute__((always_inline))
#endif

namespace depthbokeh {

constexpr double kPi = 3.14159265358979323846;

// Half the area that the unit disk has beyond height 1 - w, for w in [0, 1]:
//   cap(w) = integral of sqrt(1 - y^2) over y in [1 - w, 1],    root = sqrt(w).
// Divided by w^1.5 it is analytic in w; in float a polynomial of degree 6 (error 2e-8) replaces asin.
DEPTHBOKEH_INLINE float disk_cap(float w, float root) {
  float q = -2.676200498756543e-4f;
  q = q * w + 1.8379807207033146e-4f;
  q = q * w - 9.133237410341146e-4f;
  q = q * w - 2.348018712153466e-3f;
  q = q * w - 1.264551209734979e-2f;
  q = q * w - 1.4142016952796915e-1f;
  q = q * w + 9.428090294250105e-1f;
  return w * root * q;
}

DEPTHBOKEH_INLINE double disk_cap(double w, double root) {
  const double s = 1 - w;
  return 0.5 * (std::acos(s) - s * root * std::sqrt(1 + s));
}

// acos(1 - w) for w in [0, 1]; divided by sqrt(w) it is analytic too (degree 7, error 3e-8).
DEPTHBOKEH_INLINE float disk_angle(float w, float root) {
  float q = 1.211737769810765e-3f;
  q = q * w - 1.9906429602384126e-3f;
  q = q * w + 3.338417011053371e-3f;
  q = q * w + 1.4788598231931453e-3f;
  q = q * w + 8.21673096263844e-3f;
  q = q * w + 2.6474482500567432e-2f;
  q = q * w + 1.1785316670023775e-1f;
  q = q * w + 1.4142135464083156f;
  return root * q;
}

DEPTHBOKEH_INLINE double disk_angle(double w, double) { return std::acos(1 - w); }

}  // namespace depthbokeh
