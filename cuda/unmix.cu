// Mixed pixels taken apart in CUDA: a thread owns a pixel of an edge.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "device.cuh"
#include "launch.h"
#include "unmix_tensors.h"

namespace depthbokeh::cuda {
namespace {

constexpr int kUnmixThreads = 128;

template <typename Real>
__global__ void __launch_bounds__(kUnmixThreads)
    write_surfaces(const __grid_constant__ Mixtures<Real> p, Real* surfaces) {
  const int64_t n = int64_t(blockIdx.x) * kUnmixThreads + threadIdx.x;
  if (n < p.count) p.at(n).write(surfaces + n * kSurfaceValues);
}

template <typename Real>
__global__ void __launch_bounds__(kUnmixThreads)
    differentiate_surfaces(const __grid_constant__ Mixtures<Real> p, const Real* grad, MixtureGrads<Real> to) {
  const int64_t n = int64_t(blockIdx.x) * kUnmixThreads + threadIdx.x;
  if (n < p.count) differentiate_mixture(p, n, grad, to);
}

Tensor unmix_cuda(const Tensor& sides, const Tensor& low, const Tensor& high, const Tensor& weight, bool masked) {
  const MixtureTensors inputs(sides, low, high, weight, masked);
  Launcher launcher(inputs.sides);
  return make_surfaces(inputs, [&](const auto& pixels, auto* surfaces) {
    using Real = std::remove_pointer_t<decltype(surfaces)>;
    launcher.run(write_surfaces<Real>, ceil_div<int64_t>(pixels.count, kUnmixThreads), kUnmixThreads, 0, pixels,
                 surfaces);
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor> unmix_backward_cuda(const Tensor& grad, const Tensor& sides,
                                                               const Tensor& low, const Tensor& high,
                                                               const Tensor& weight, bool masked) {
  const MixtureTensors inputs(sides, low, high, weight, masked);
  Launcher launcher(inputs.sides);
  return make_mixture_gradients(grad, inputs, [&](const auto& pixels, const auto* outer, const auto& to) {
    using Real = std::remove_const_t<std::remove_pointer_t<decltype(outer)>>;
    launcher.run(differentiate_surfaces<Real>, ceil_div<int64_t>(pixels.count, kUnmixThreads), kUnmixThreads, 0, pixels,
                 outer, to);
  });
}

}  // namespace
}  // namespace depthbokeh::cuda

DEPTHBOKEH_CUDA_LIBRARY(m) {
  m.impl("unmix", TORCH_BOX(&depthbokeh::cuda::unmix_cuda));
  m.impl("unmix_backward", TORCH_BOX(&depthbokeh::cuda::unmix_backward_cuda));
}
