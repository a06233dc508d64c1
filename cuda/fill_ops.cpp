// The operators that fill in what is not known: their CPU side.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "cpu/fill.h"
#include "fill_tensors.h"

namespace depthbokeh {
namespace {

constexpr auto kFill = [](const auto& pyramid) { fill_pyramid(pyramid.levels, pyramid.batch, pyramid.channels); };

Tensor push_pull_cpu(const Tensor& values, const Tensor& weight) {
  check_fill(values, weight);
  return make_filled(values, weight, kFill);
}

std::tuple<Tensor, Tensor> push_pull_backward_cpu(const Tensor& grad, const Tensor& values, const Tensor& weight) {
  check_fill(grad, values, weight);
  return make_fill_gradients(grad, values, weight, kFill);
}

}  // namespace
}  // namespace depthbokeh

STABLE_TORCH_LIBRARY_IMPL(depthbokeh, CPU, m) {
  m.impl("push_pull", TORCH_BOX(&depthbokeh::push_pull_cpu));
  m.impl("push_pull_backward", TORCH_BOX(&depthbokeh::push_pull_backward_cpu));
}
