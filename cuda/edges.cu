// The CUDA side of the operators on depth edges, from tensors to kernels.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "edge_tensors.h"
#include "edges.cuh"
#include "launch.h"

namespace depthbokeh::cuda {
namespace {

template <typename Real>
EdgeTask<Real> task_of(const EdgeTensors& inputs) {
  EdgeTask<Real> task;
  task.p = inputs.pixels<Real>();
  task.pixels = inputs.disparity.numel();
  for (int square = 0; square <= kReach * kReach; ++square) task.falloff[square] = Real(weigh_distance(square));
  return task;
}

int64_t count_edge_blocks(int64_t pixels) { return ceil_div<int64_t>(pixels, kEdgeThreads); }

Tensor side_means_cuda(const Tensor& color, const Tensor& disparity, const Tensor& edge,
                       const std::optional<Tensor>& mask, const Tensor& at, const Tensor& low, const Tensor& high) {
  const EdgeTensors inputs(color, disparity, edge, mask, at, low, high);
  Launcher launcher(inputs.color);
  Tensor means = torch::stable::new_empty(inputs.color, {at.numel(), 3, kSideValues});
  dispatch(inputs.color, [&](auto real) {
    using Real = decltype(real);
    launcher.run(mean_sides<Real>, count_edge_blocks(at.numel()), kEdgeThreads, 0, task_of<Real>(inputs),
                 means.mutable_data_ptr<Real>());
  });
  return means;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> side_means_backward_cuda(
    const Tensor& grad, const Tensor& color, const Tensor& disparity, const Tensor& edge,
    const std::optional<Tensor>& mask, const Tensor& at, const Tensor& low, const Tensor& high) {
  const EdgeTensors inputs(color, disparity, edge, mask, at, low, high);
  STD_TORCH_CHECK(at.numel() < (int64_t(1) << 31) - 1, "there are too many pixels at edges");
  const Tensor means = inputs.check_grad(grad);
  Launcher launcher(inputs.color);
  const auto empty = [](const Tensor& like) { return torch::stable::new_empty(like, like.sizes()); };
  Tensor to_color = empty(inputs.color), to_disparity = empty(inputs.disparity), to_edge = empty(inputs.edge);
  Tensor to_mask = empty(inputs.mask), to_low = empty(inputs.low), to_high = empty(inputs.high);
  Tensor marks = torch::stable::new_zeros(inputs.disparity, inputs.disparity.sizes(), ScalarType::Int);
  dispatch(inputs.color, [&](auto real) {
    using Real = decltype(real);
    const EdgeTask<Real> task = task_of<Real>(inputs);
    const Real* from = means.const_data_ptr<Real>();
    SideGrads<Real>* sides = launcher.scratch<SideGrads<Real>>(at.numel());
    int* mark = marks.mutable_data_ptr<int32_t>();
    launcher.run(differentiate_sides<Real>, count_edge_blocks(at.numel()), kEdgeThreads, 0, task, from, sides, mark,
                 to_low.mutable_data_ptr<Real>(), to_high.mutable_data_ptr<Real>());
    const EdgeGrads<Real> to = {to_color.mutable_data_ptr<Real>(), to_disparity.mutable_data_ptr<Real>(),
                                to_edge.mutable_data_ptr<Real>(),  to_mask.mutable_data_ptr<Real>(),
                                to_low.mutable_data_ptr<Real>(),   to_high.mutable_data_ptr<Real>()};
    launcher.run(gather_sides<Real>, count_edge_blocks(task.pixels), kEdgeThreads, 0, task, from,
                 static_cast<const SideGrads<Real>*>(sides), static_cast<const int*>(mark), to);
  });
  return {to_color, to_disparity, to_edge, to_mask, to_low, to_high};
}

}  // namespace
}  // namespace depthbokeh::cuda

DEPTHBOKEH_CUDA_LIBRARY(m) {
  m.impl("side_means", TORCH_BOX(&depthbokeh::cuda::side_means_cuda));
  m.impl("side_means_backward", TORCH_BOX(&depthbokeh::cuda::side_means_backward_cuda));
}
