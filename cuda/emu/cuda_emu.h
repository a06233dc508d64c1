// As much of CUDA as the kernels use, on the CPU: for tests of their correctness where there is no GPU. Every thread of
// a block is a fiber, which runs until it meets a barrier or a warp-wide operation; then the next one does, in one of
// three orders. What depends on a barrier that is missing comes out differently from order to order. Shared memory is
// filled with NaN and allocated to its exact size, so that an address sanitizer sees accesses beyond it. Not seen are
// races within one instruction, the limits of a device, and anything about speed.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __grid_constant__
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

enum cudaError_t { cudaSuccess, cudaErrorInvalidConfiguration };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
using cudaStream_t = void*;

inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "invalid configuration argument";
}

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

extern dim3 threadIdx, blockIdx;  // of the thread that runs

namespace depthbokeh::emu {

extern void* shared_memory;

constexpr int kMostShared = 99 << 10;  // that a kernel may ask for on every GPU that is supported

// 0: threads run from the first to the last, 1: from the last to the first, 2: shuffled anew at every turn.
void set_order(int64_t order);

// Bytes of shared memory that a kernel may have.
size_t& shared_limit(const void* kernel);

cudaError_t run_grid(const cudaLaunchConfig_t& config, size_t shared_limit, const std::function<void()>& kernel);

// Waits until all threads of the block that have not ended are here; whether any of them said yes.
bool meet_block(bool vote, int line);

// Waits until all lanes of the warp are here; what each of them brought.
const uint64_t* meet_warp(uint64_t value, int line);

template <typename T>
uint64_t pack(T value) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t packed = 0;
  std::memcpy(&packed, &value, sizeof(T));
  return packed;
}

template <typename T>
T unpack(uint64_t packed) {
  T value;
  std::memcpy(&value, &packed, sizeof(T));
  return value;
}

}  // namespace depthbokeh::emu

#define DEPTHBOKEH_SHARED(Type, name) Type& name = *static_cast<Type*>(::depthbokeh::emu::shared_memory)

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               const Arguments&... arguments) {
  const size_t limit = depthbokeh::emu::shared_limit(reinterpret_cast<const void*>(kernel));
  return depthbokeh::emu::run_grid(*config, limit, [&] { kernel(arguments...); });
}

template <typename... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute, int bytes) {
  if (bytes > depthbokeh::emu::kMostShared) return cudaErrorInvalidConfiguration;
  depthbokeh::emu::shared_limit(reinterpret_cast<const void*>(kernel)) = bytes;
  return cudaSuccess;
}

inline void __syncthreads(int line = __builtin_LINE()) { depthbokeh::emu::meet_block(false, line); }
inline int __syncthreads_or(int vote, int line = __builtin_LINE()) { return depthbokeh::emu::meet_block(vote, line); }
inline void __syncwarp(int line = __builtin_LINE()) { depthbokeh::emu::meet_warp(0, line); }

inline unsigned __ballot_sync(unsigned, int vote, int line = __builtin_LINE()) {
  const uint64_t* votes = depthbokeh::emu::meet_warp(vote != 0, line);
  unsigned mask = 0;
  for (int i = 0; i < 32; ++i) mask |= unsigned(votes[i]) << i;
  return mask;
}

template <typename T>
T __shfl_sync(unsigned, T value, int lane, int line = __builtin_LINE()) {
  return depthbokeh::emu::unpack<T>(depthbokeh::emu::meet_warp(depthbokeh::emu::pack(value), line)[lane % 32]);
}

template <typename T>
T __shfl_up_sync(unsigned, T value, unsigned step, int line = __builtin_LINE()) {
  const uint64_t* values = depthbokeh::emu::meet_warp(depthbokeh::emu::pack(value), line);
  const unsigned lane = threadIdx.x % 32;
  return depthbokeh::emu::unpack<T>(values[lane < step ? lane : lane - step]);
}

template <typename T>
T __shfl_down_sync(unsigned, T value, unsigned step, int line = __builtin_LINE()) {
  const uint64_t* values = depthbokeh::emu::meet_warp(depthbokeh::emu::pack(value), line);
  const unsigned lane = threadIdx.x % 32;
  return depthbokeh::emu::unpack<T>(values[lane + step < 32 ? lane + step : lane]);
}

// Threads run one after the other, so whatever they do is atomic.
template <typename T>
T atomicAdd(T* to, T value) {
  const T before = *to;
  *to += value;
  return before;
}

inline float __fadd_rz(float a, float b) {
  const double sum = double(a) + b;
  const float rounded = static_cast<float>(sum);
  return std::abs(double(rounded)) > std::abs(sum) ? std::nextafter(rounded, 0.0f) : rounded;
}
inline int __float_as_int(float value) { return depthbokeh::emu::unpack<int>(depthbokeh::emu::pack(value)); }

inline int __ffs(unsigned mask) { return __builtin_ffs(static_cast<int>(mask)); }
