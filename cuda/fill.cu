// The CUDA side of the operators that fill in what is not known.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "fill.cuh"
#include "fill_tensors.h"
#include "launch.h"

namespace depthbokeh::cuda {
namespace {

int64_t count_fill_blocks(int64_t pixels) { return ceil_div<int64_t>(pixels, kFillThreads); }

// One launch for each large level on the way down and on the way back, one for all small ones.
template <typename Real>
void fill_pyramid(Launcher& launcher, const Pyramid<Real>& pyramid) {
  const std::vector<Level<Real>>& levels = pyramid.levels;
  size_t large = 0;
  for (; levels[large].plane() > kSmallPixels; ++large) {
    const int64_t pixels = pyramid.batch * levels[large + 1].plane();
    launcher.run(pull<Real>, count_fill_blocks(pixels), kFillThreads, 0, levels[large], levels[large + 1],
                 pyramid.channels, pixels);
  }
  SmallPyramid<Real> small = {};
  for (size_t i = large; i < levels.size(); ++i) small.levels[small.count++] = levels[i];
  launcher.run(fill_small<Real>, pyramid.batch, kSmallThreads, 0, small, pyramid.channels);
  for (; large > 0; --large) {
    const int64_t pixels = pyramid.batch * levels[large - 1].plane();
    launcher.run(push<Real>, count_fill_blocks(pixels), kFillThreads, 0, levels[large - 1], levels[large],
                 pyramid.channels, pixels);
  }
}

Tensor push_pull_cuda(const Tensor& values, const Tensor& weight) {
  check_fill(values, weight);
  Launcher launcher(values);
  return make_filled(values, weight, [&](const auto& pyramid) { fill_pyramid(launcher, pyramid); });
}

std::tuple<Tensor, Tensor> push_pull_backward_cuda(const Tensor& grad, const Tensor& values, const Tensor& weight) {
  check_fill(grad, values, weight);
  Launcher launcher(values);
  return make_fill_gradients(grad, values, weight, [&](const auto& pyramid) { fill_pyramid(launcher, pyramid); });
}

}  // namespace
}  // namespace depthbokeh::cuda

DEPTHBOKEH_CUDA_LIBRARY(m) {
  m.impl("push_pull", TORCH_BOX(&depthbokeh::cuda::push_pull_cuda));
  m.impl("push_pull_backward", TORCH_BOX(&depthbokeh::cuda::push_pull_backward_cuda));
}
