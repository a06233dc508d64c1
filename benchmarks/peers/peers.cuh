// What the peers' kernels share: what they are given, and how they are launched.
#pragma once

#include "device.cuh"

namespace depthbokeh::peers {

using cuda::ceil_div;
using cuda::larger;
using cuda::smaller;

constexpr int kThreads = 256;

// A batch of pictures and their radii, as many channels as a kernel says.
struct Pictures {
  const float* image;   // (B, C, H, W)
  const float* radius;  // (B, 1, H, W), 0 or more
  int64_t batch;
  int height, width;

  DEPTHBOKEH_INLINE int64_t plane() const { return int64_t(height) * width; }
};

// On the stream `stream`; returns CUDA's error, 0 if there is none.
template <typename... Parameters, typename... Arguments>
int launch(void* stream, void (*kernel)(Parameters...), int64_t blocks, size_t shared, const Arguments&... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = shared;
  config.stream = static_cast<cudaStream_t>(stream);
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace depthbokeh::peers
