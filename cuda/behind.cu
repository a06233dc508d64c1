// The CUDA side of the operator that carries surfaces on beneath what is nearer, from tensors to kernels.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "behind.cuh"
#include "launch.h"

namespace depthbokeh::cuda {
namespace {

void check_behind(const Tensor& values, const Tensor& defocus, const Tensor& lowest) {
  STD_TORCH_CHECK(values.scalar_type() == ScalarType::Float || values.scalar_type() == ScalarType::Double,
                  "values must be float32 or float64");
  STD_TORCH_CHECK(values.dim() == 4 && defocus.dim() == 4, "values and defocus must have four dimensions");
  STD_TORCH_CHECK(defocus.size(0) == values.size(0) && defocus.size(1) == 1 && defocus.size(2) == values.size(2) &&
                      defocus.size(3) == values.size(3),
                  "defocus must be (B, 1, H, W) of the values' size");
  STD_TORCH_CHECK(lowest.dim() == 4 && lowest.size(0) == values.size(0) && lowest.numel() == values.size(0),
                  "lowest must be (B, 1, 1, 1)");
  for (const Tensor* other : {&defocus, &lowest}) {
    STD_TORCH_CHECK(other->scalar_type() == values.scalar_type(), "defocus and lowest must have the values' dtype");
    STD_TORCH_CHECK(other->device() == values.device(), "defocus and lowest must be on the values' device");
  }
  STD_TORCH_CHECK(values.size(1) > 0, "values must have channels");
  for (int axis : {2, 3})
    STD_TORCH_CHECK(values.size(axis) > 0 && values.size(axis) < (1 << 24), "sides must be from 1 to below 2^24");
}

void check_behind(const Tensor& grad, const Tensor& values, const Tensor& defocus, const Tensor& lowest) {
  check_behind(values, defocus, lowest);
  STD_TORCH_CHECK(grad.dim() == 4 && grad.size(0) == values.size(0) && grad.size(1) == values.size(1) + 1 &&
                      grad.size(2) == values.size(2) && grad.size(3) == values.size(3),
                  "grad must be (B, C + 1, H, W) of the values' size");
  STD_TORCH_CHECK(grad.scalar_type() == values.scalar_type(), "grad must have the values' dtype");
  STD_TORCH_CHECK(grad.device() == values.device(), "grad must be on the values' device");
}

// The tensors that a pyramid points into, contiguous.
struct SurfaceTensors {
  Tensor values, defocus, lowest;

  SurfaceTensors(const Tensor& values_, const Tensor& defocus_, const Tensor& lowest_)
      : values(torch::stable::contiguous(values_)),
        defocus(torch::stable::contiguous(defocus_)),
        lowest(torch::stable::contiguous(lowest_)) {}
};

int64_t count_behind_blocks(int64_t threads) { return ceil_div<int64_t>(threads, kBehindThreads); }

// All levels up to squares of about twice the reach, with the means of the coarser ones. `to` takes the gradients; its
// pointers are null in the forward.
template <typename Real>
SurfacePyramid<Real> make_surface_pyramid(Launcher& launcher, const SurfaceTensors& tensors, int64_t reach,
                                          SurfaceMaps<Real> to) {
  const Tensor& values = tensors.values;
  SurfacePyramid<Real> p = {values.size(0), values.size(1), tensors.lowest.const_data_ptr<Real>(), 0, {}};
  SurfaceLevel<Real>& finest = p.levels[0];
  finest.height = static_cast<int>(values.size(2)), finest.width = static_cast<int>(values.size(3));
  finest.from = {values.const_data_ptr<Real>(), tensors.defocus.const_data_ptr<Real>()};
  finest.to = to;
  for (int64_t size = 1; size <= reach; size *= 2) {
    const SurfaceLevel<Real>& fine = p.levels[p.coarsest];
    if (fine.plane() == 1) break;
    SurfaceLevel<Real>& coarse = p.levels[++p.coarsest];
    coarse.height = ceil_div(fine.height, 2), coarse.width = ceil_div(fine.width, 2);
    const int64_t plane = p.batch * coarse.plane();
    coarse.to = {launcher.scratch<Real>(p.channels * plane), launcher.scratch<Real>(plane)};
    coarse.from = {coarse.to.values, coarse.to.defocus};
    if (to.values) {
      coarse.total = launcher.scratch<Real>(plane);
      coarse.parts = launcher.scratch<Real>(3 * p.batch * finest.plane());
      coarse.columns = launcher.scratch<Real>(p.batch * (p.channels + 2) * coarse.height * finest.width);
      coarse.grad = launcher.scratch<Real>((p.channels + 2) * plane);
    }
    launcher.run(average_surfaces<Real>, count_behind_blocks(plane), kBehindThreads, 0, p, p.coarsest);
  }
  return p;
}

Tensor fill_behind_cuda(const Tensor& values, const Tensor& defocus, const Tensor& lowest, int64_t reach) {
  check_behind(values, defocus, lowest);
  Launcher launcher(values);
  const SurfaceTensors tensors(values, defocus, lowest);
  Tensor filled =
      torch::stable::new_empty(tensors.values, {values.size(0), values.size(1) + 1, values.size(2), values.size(3)});
  dispatch(tensors.values, [&](auto real) {
    using Real = decltype(real);
    const auto p = make_surface_pyramid<Real>(launcher, tensors, reach, {});
    launcher.run(fill_pixels<Real>, count_behind_blocks(p.batch * p.levels[0].plane()), kBehindThreads, 0, p,
                 filled.mutable_data_ptr<Real>());
  });
  return filled;
}

std::tuple<Tensor, Tensor> fill_behind_backward_cuda(const Tensor& grad, const Tensor& values, const Tensor& defocus,
                                                     const Tensor& lowest, int64_t reach) {
  check_behind(grad, values, defocus, lowest);
  Launcher launcher(values);
  const SurfaceTensors tensors(values, defocus, lowest);
  const Tensor outer = torch::stable::contiguous(grad);
  Tensor to_values = torch::stable::new_empty(tensors.values, tensors.values.sizes());
  Tensor to_defocus = torch::stable::new_empty(tensors.defocus, tensors.defocus.sizes());
  dispatch(tensors.values, [&](auto real) {
    using Real = decltype(real);
    const Real* from = outer.const_data_ptr<Real>();
    const auto p = make_surface_pyramid<Real>(
        launcher, tensors, reach, {to_values.mutable_data_ptr<Real>(), to_defocus.mutable_data_ptr<Real>()});
    launcher.run(differentiate_pixels<Real>, count_behind_blocks(p.batch * p.levels[0].plane()), kBehindThreads, 0, p,
                 from);
    if (p.coarsest == 0) return;
    int64_t columns = 0;
    for (int level = 1; level <= p.coarsest; ++level)
      columns += p.batch * (p.channels + 2) * p.levels[level].height * p.levels[0].width;
    launcher.run(gather_columns<Real>, count_behind_blocks(columns), kBehindThreads, 0, p, from);
    for (int level = p.coarsest; level >= 0; --level)
      launcher.run(differentiate_level<Real>, count_behind_blocks(p.batch * p.levels[level].plane()), kBehindThreads, 0,
                   p, level);
  });
  return {to_values, to_defocus};
}

}  // namespace
}  // namespace depthbokeh::cuda

DEPTHBOKEH_CUDA_LIBRARY(m) {
  m.impl("fill_behind", TORCH_BOX(&depthbokeh::cuda::fill_behind_cuda));
  m.impl("fill_behind_backward", TORCH_BOX(&depthbokeh::cuda::fill_behind_backward_cuda));
}
