// The CUDA side of the operators on windows, from tensors to kernels.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "launch.h"
#include "window_tensors.h"
#include "windows.cuh"

namespace depthbokeh::cuda {
namespace {

int64_t count_window_blocks(int64_t pixels) { return ceil_div<int64_t>(pixels, kWindowThreads); }

std::tuple<Tensor, Tensor, Tensor, Tensor> local_extremes_cuda(const Tensor& values, int64_t reach) {
  check_windows(values, reach);
  Launcher launcher(values);
  const Tensor from = torch::stable::contiguous(values);
  const auto empty = [&] { return torch::stable::new_empty(from, from.sizes()); };
  Tensor highest = empty(), lowest = empty(), higher = empty(), lower = empty();
  dispatch(from, [&](auto real) {
    using Real = decltype(real);
    const Windows<Real> windows = windows_of<Real>(from, reach);
    const Extremes<Real> to = {highest.mutable_data_ptr<Real>(), lowest.mutable_data_ptr<Real>(),
                               higher.mutable_data_ptr<Real>(), lower.mutable_data_ptr<Real>()};
    const int64_t blocks = count_window_blocks(windows.pixels());
    // What is within the rows lies where the larger windows' extremes will.
    launcher.run(search_rows<Real>, blocks, kWindowThreads, 0, windows, to.higher, to.lower);
    launcher.run(search_columns<Real>, blocks, kWindowThreads, 0, windows, to.higher, to.lower, to);
    launcher.run(join_corners<Real>, blocks, kWindowThreads, 0, windows, to);
  });
  return {highest, lowest, higher, lower};
}

Tensor find_max_cuda(const Tensor& values, int64_t reach, const Tensor& at) {
  check_windows(values, reach);
  check_places(values, at);
  Launcher launcher(values);
  const Tensor from = torch::stable::contiguous(values), places = torch::stable::contiguous(at);
  Tensor found = torch::stable::new_empty(places, places.sizes());
  dispatch(from, [&](auto real) {
    using Real = decltype(real);
    const Windows<Real> windows = windows_of<Real>(from, reach);
    Real* highest = launcher.scratch<Real>(windows.pixels());
    launcher.run(search_rows<Real>, count_window_blocks(windows.pixels()), kWindowThreads, 0, windows, highest,
                 static_cast<Real*>(nullptr));
    launcher.run(find_places<Real>, count_window_blocks(places.numel()), kWindowThreads, 0, windows,
                 static_cast<const Real*>(highest), places.const_data_ptr<int64_t>(), places.numel(),
                 found.mutable_data_ptr<int64_t>());
  });
  return found;
}

}  // namespace
}  // namespace depthbokeh::cuda

DEPTHBOKEH_CUDA_LIBRARY(m) {
  m.impl("local_extremes", TORCH_BOX(&depthbokeh::cuda::local_extremes_cuda));
  m.impl("find_max", TORCH_BOX(&depthbokeh::cuda::find_max_cuda));
}
