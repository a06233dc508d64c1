// The CUDA side of the operators on depth edges, from tensors to kernels.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <tuple>

#include "edge_tensors.h"
#include "edges.cuh"
#include "launch.h"

namespace depthbokeh::cuda {
namespace {

int64_t count_edge_blocks(int64_t pixels) { return ceil_div<int64_t>(pixels, kEdgeThreads); }

template <typename Real>
Extremes<Real> make_maps(Launcher& launcher, int64_t pixels) {
  Real* maps = launcher.scratch<Real>(4 * pixels);
  return {maps, maps + pixels, maps + 2 * pixels, maps + 3 * pixels};
}

// The extremes around every pixel of the disparity.
template <typename Real>
Extremes<Real> find_extremes(Launcher& launcher, const EdgeInputs<Real>& p, int64_t reach) {
  const Windows<Real> windows = windows_of(p, reach);
  const Extremes<Real> to = make_maps<Real>(launcher, p.pixels());
  const int64_t blocks = ceil_div<int64_t>(p.pixels(), kWindowThreads);
  // What is within the rows lies where the larger windows' extremes will.
  launcher.run(search_rows<Real>, blocks, kWindowThreads, 0, windows, to.higher, to.lower);
  launcher.run(search_columns<Real>, blocks, kWindowThreads, 0, windows, to.higher, to.lower, to);
  launcher.run(join_corners<Real>, blocks, kWindowThreads, 0, windows, to);
  return to;
}

// Scratch memory for add_extremes.
template <typename Real>
struct Traces {
  Real* extremes;  // two maps
  int* places;     // four maps

  Traces(Launcher& launcher, int64_t pixels)
      : extremes(launcher.scratch<Real>(2 * pixels)), places(launcher.scratch<int>(4 * pixels)) {}
};

// Adds the gradients to the extremes within windows to those of the values they come from.
template <typename Real>
void add_extremes(Launcher& launcher, const EdgeInputs<Real>& p, int64_t reach, const ExtremeGrads<Real>& grads,
                  const Traces<Real>& traces, Real* to) {
  const Windows<Real> windows = windows_of(p, reach);
  const int64_t n = p.pixels(), blocks = ceil_div<int64_t>(n, kWindowThreads);
  Real *highest = traces.extremes, *lowest = highest + n;
  int* places = traces.places;
  const Origins columns = {places, places + n}, rows = {places + 2 * n, places + 3 * n};
  launcher.run(locate_in_rows<Real>, blocks, kWindowThreads, 0, windows, highest, lowest, columns);
  launcher.run(locate_in_columns<Real>, blocks, kWindowThreads, 0, windows, static_cast<const Real*>(highest),
               static_cast<const Real*>(lowest), rows);
  launcher.run(gather_in_columns<Real>, blocks, kWindowThreads, 0, windows, rows, grads, highest, lowest);
  launcher.run(gather_in_rows<Real>, blocks, kWindowThreads, 0, windows, columns, ExtremeGrads<Real>{highest, lowest},
               to);
}

template <typename Real>
EdgeTask<Real> find_edges(Launcher& launcher, const EdgeInputs<Real>& p, Real* edge) {
  EdgeTask<Real> task = {p, find_extremes(launcher, p, 1), edge};
  for (int square = 0; square <= kReach * kReach; ++square) task.falloff[square] = Real(weigh_distance(square));
  launcher.run(weigh_edges<Real>, count_edge_blocks(p.pixels()), kEdgeThreads, 0, p, task.extremes, edge);
  return task;
}

Tensor sharpen_cuda(const Tensor& disparity, const Tensor& strength, const std::optional<Tensor>& linear,
                    int64_t reach) {
  const EdgeTensors tensors(linear, disparity, strength, std::nullopt);
  Launcher launcher(disparity);
  Tensor to = tensors.empty_map(1);
  dispatch(to, [&](auto real) {
    using Real = decltype(real);
    const EdgeInputs<Real> p = tensors.inputs<Real>();
    const Extremes<Real> extremes = find_extremes(launcher, p, reach);
    launcher.run(sharpen_pixels<Real>, count_edge_blocks(p.pixels()), kEdgeThreads, 0, p, windows_of(p, reach),
                 extremes, to.mutable_data_ptr<Real>());
  });
  return to;
}

std::tuple<Tensor, Tensor> sharpen_backward_cuda(const Tensor& grad, const Tensor& disparity, const Tensor& strength,
                                                 const std::optional<Tensor>& linear, int64_t reach) {
  const EdgeTensors tensors(linear, disparity, strength, std::nullopt);
  const Tensor outer = tensors.check_map(grad, 1, kGradExpected);
  Launcher launcher(disparity);
  Tensor to_disparity = tensors.empty_map(1), to_strength = tensors.empty_strength();
  dispatch(outer, [&](auto real) {
    using Real = decltype(real);
    const EdgeInputs<Real> p = tensors.inputs<Real>();
    const Windows<Real> windows = windows_of(p, reach);
    const Extremes<Real> extremes = find_extremes(launcher, p, reach);
    Real* around = launcher.scratch<Real>(2 * p.pixels());
    const SharpenGrads<Real> grads = {make_maps<Real>(launcher, p.pixels()), around, around + p.pixels()};
    Real* to = to_disparity.mutable_data_ptr<Real>();
    const int64_t blocks = count_edge_blocks(p.plane());  // of a picture
    NumberSums<1>* sums = launcher.scratch<NumberSums<1>>(p.batch * blocks);
    launcher.run(sharpen_pixels_backward<Real>, p.batch * blocks, kEdgeThreads, sizeof(SharedNumbers<1>), p, windows,
                 extremes, outer.const_data_ptr<Real>(), grads, to, sums);
    launcher.run(add_up_numbers<1, Real>, p.batch, kEdgeThreads, sizeof(SharedNumbers<1>),
                 static_cast<const NumberSums<1>*>(sums), blocks,
                 NumberGrads<1, Real>{{to_strength.mutable_data_ptr<Real>()}});
    const Traces<Real> traces(launcher, p.pixels());
    add_extremes(launcher, p, 1, ExtremeGrads<Real>{grads.largest, grads.smallest}, traces, to);
    add_extremes(launcher, p, windows.reach, ExtremeGrads<Real>{grads.extremes.highest, grads.extremes.lowest}, traces,
                 to);
    add_extremes(launcher, p, 2 * windows.reach, ExtremeGrads<Real>{grads.extremes.higher, grads.extremes.lower},
                 traces, to);
  });
  return {to_disparity, to_strength};
}

SurfaceOutputs separate_cuda(const Tensor& linear, const Tensor& disparity, const Tensor& strength,
                             const std::optional<Tensor>& mask) {
  const EdgeTensors tensors(linear, disparity, strength, mask);
  Launcher launcher(disparity);
  SeparatedTensors to(tensors);
  dispatch(to.edge, [&](auto real) {
    using Real = decltype(real);
    const EdgeInputs<Real> p = tensors.inputs<Real>();
    const EdgeTask<Real> task = find_edges(launcher, p, to.edge.mutable_data_ptr<Real>());
    launcher.run(separate_pixels<Real>, count_edge_blocks(p.pixels()), kEdgeThreads, 0, task, to.planes<Real>());
  });
  return {to.edge, to.coverage, to.color, to.depth};
}

SurfaceOutputs separate_backward_cuda(const Tensor& grad_edge, const Tensor& grad_coverage, const Tensor& grad_color,
                                      const Tensor& grad_depth, const Tensor& linear, const Tensor& disparity,
                                      const Tensor& strength, const std::optional<Tensor>& mask) {
  const EdgeTensors tensors(linear, disparity, strength, mask);
  const SeparatedTensors grads(tensors, grad_edge, grad_coverage, grad_color, grad_depth);
  Launcher launcher(disparity);
  return differentiate_separation(
      grads, tensors, [&](const auto& p, const auto* to_edge, const auto& to_surfaces, const auto& to) {
        using Real = std::remove_pointer_t<decltype(to.disparity)>;
        const EdgeTask<Real> task = find_edges(launcher, p, launcher.scratch<Real>(p.pixels()));
        const EdgeMaps<Real> maps = {launcher.scratch<SideGrads<Real>>(p.pixels()), launcher.scratch<Real>(p.pixels()),
                                     make_maps<Real>(launcher, p.pixels())};
        launcher.run(differentiate_sides<Real>, count_edge_blocks(p.pixels()), kEdgeThreads, 0, task, to_surfaces, maps,
                     to);
        const int64_t blocks = count_edge_blocks(p.plane());  // of a picture
        NumberSums<1>* sums = launcher.scratch<NumberSums<1>>(p.batch * blocks);
        launcher.run(gather_sides<Real>, p.batch * blocks, kEdgeThreads, sizeof(SharedNumbers<1>), task, to_edge, maps,
                     to, sums);
        launcher.run(add_up_numbers<1, Real>, p.batch, kEdgeThreads, sizeof(SharedNumbers<1>),
                     static_cast<const NumberSums<1>*>(sums), blocks, NumberGrads<1, Real>{{to.strength}});
        const Traces<Real> traces(launcher, p.pixels());
        add_extremes(launcher, p, 1, ExtremeGrads<Real>{maps.extremes.highest, maps.extremes.lowest}, traces,
                     to.disparity);
        add_extremes(launcher, p, 2, ExtremeGrads<Real>{maps.extremes.higher, maps.extremes.lower}, traces,
                     to.disparity);
      });
}

}  // namespace
}  // namespace depthbokeh::cuda

DEPTHBOKEH_CUDA_LIBRARY(m) {
  m.impl("sharpen", TORCH_BOX(&depthbokeh::cuda::sharpen_cuda));
  m.impl("sharpen_backward", TORCH_BOX(&depthbokeh::cuda::sharpen_backward_cuda));
  m.impl("separate", TORCH_BOX(&depthbokeh::cuda::separate_cuda));
  m.impl("separate_backward", TORCH_BOX(&depthbokeh::cuda::separate_backward_cuda));
}
