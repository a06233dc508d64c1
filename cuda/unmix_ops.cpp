// The operator that takes mixed pixels apart: schemas, and its CPU side.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "cpu/unmix.h"
#include "schemas.h"
#include "unmix_tensors.h"

namespace depthbokeh {
namespace {

Tensor unmix_cpu(const Tensor& sides, const Tensor& low, const Tensor& high, const Tensor& weight, bool masked) {
  return make_surfaces(MixtureTensors(sides, low, high, weight, masked),
                       [](const auto& pixels, auto* surfaces) { unmix(pixels, surfaces); });
}

std::tuple<Tensor, Tensor, Tensor, Tensor> unmix_backward_cpu(const Tensor& grad, const Tensor& sides,
                                                              const Tensor& low, const Tensor& high,
                                                              const Tensor& weight, bool masked) {
  return make_mixture_gradients(
      grad, MixtureTensors(sides, low, high, weight, masked),
      [](const auto& pixels, const auto* outer, const auto& to) { unmix_backward(pixels, outer, to); });
}

}  // namespace
}  // namespace depthbokeh

STABLE_TORCH_LIBRARY_FRAGMENT(depthbokeh, m) {
  m.def(depthbokeh::kUnmix);
  m.def(depthbokeh::kUnmixBackward);
}

STABLE_TORCH_LIBRARY_IMPL(depthbokeh, CPU, m) {
  m.impl("unmix", TORCH_BOX(&depthbokeh::unmix_cpu));
  m.impl("unmix_backward", TORCH_BOX(&depthbokeh::unmix_backward_cpu));
}
