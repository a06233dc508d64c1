// What every kernel needs of CUDA, or of its emulation on the CPU (emu/, for tests).
#pragma once

#include <cmath>
#include <cstdint>

#ifdef DB_EMU
#include "emu/cuda_emu.h"
#else
#include <cuda_runtime.h>

// The block's shared memory, as one object whose size the launcher passes.
#define DEPTHBOKEH_SHARED(Type, name)                           \
  extern __shared__ __align__(32) unsigned char name##_bytes[]; \
  Type& name = *reinterpret_cast<Type*>(name##_bytes)
#endif

#include "disk.h"

namespace depthbokeh::cuda {

constexpr int kWarp = 32;
constexpr unsigned kWholeWarp = 0xffffffffu;

template <typename T>
DEPTHBOKEH_INLINE T smaller(T a, T b) {
  return b < a ? b : a;
}

template <typename T>
DEPTHBOKEH_INLINE T larger(T a, T b) {
  return b > a ? b : a;
}

template <typename T>
DEPTHBOKEH_INLINE T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

template <typename Real>
DEPTHBOKEH_INLINE bool is_finite(Real v) {
  return v - v == 0;
}

// What a kernel reads and writes. `out` may be null where a kernel has another result.
template <typename Real>
struct Picture {
  const Real* image;   // (B, C, H, W)
  const Real* radius;  // (B, 1, H, W)
  Real* out;           // (B, C, H, W)
  int64_t batch, channels;
  int height, width;

  DEPTHBOKEH_INLINE int64_t plane() const { return int64_t(height) * width; }
};

}  // namespace depthbokeh::cuda
