// The CUDA side of the operators on depth slices, from tensors to kernels.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "launch.h"
#include "slice_tensors.h"
#include "slices.cuh"

namespace depthbokeh::cuda {
namespace {

template <typename Real>
Pictures<Real> pictures_of(const Tensor& color, const Tensor& alpha, const Tensor& defocus, const Tensor& origin,
                           const Tensor& scale, int64_t index) {
  return {color.const_data_ptr<Real>(),    alpha.const_data_ptr<Real>(),  defocus.const_data_ptr<Real>(),
          origin.const_data_ptr<Real>(),   scale.const_data_ptr<Real>(),  color.size(0),
          static_cast<int>(color.size(1)), color.size(3) * color.size(4), static_cast<Real>(index)};
}

int64_t count_blocks(int64_t pixels) { return ceil_div<int64_t>(pixels, kSliceThreads); }  // of a picture

std::tuple<Tensor, Tensor> take_slice_cuda(const Tensor& color, const Tensor& alpha, const Tensor& defocus,
                                           const Tensor& origin, const Tensor& scale, int64_t index) {
  check_layers(color, alpha, defocus, origin, scale);
  Launcher launcher(color);
  Tensor light = torch::stable::new_empty(color, {color.size(0), 4, color.size(3), color.size(4)});
  Tensor radius = torch::stable::new_empty(color, {color.size(0), 1, color.size(3), color.size(4)});
  dispatch(color, [&](auto real) {
    using Real = decltype(real);
    const Pictures<Real> pictures = pictures_of<Real>(color, alpha, defocus, origin, scale, index);
    launcher.run(take_pixels<Real>, pictures.batch * count_blocks(pictures.pixels), kSliceThreads, 0, pictures,
                 light.mutable_data_ptr<Real>(), radius.mutable_data_ptr<Real>());
  });
  return {light, radius};
}

void take_slice_backward_cuda(const Tensor& grad_light, const Tensor& grad_radius, const Tensor& color,
                              const Tensor& alpha, const Tensor& defocus, const Tensor& origin, const Tensor& scale,
                              int64_t index, Tensor grad_color, Tensor grad_alpha, Tensor grad_defocus,
                              Tensor grad_origin, Tensor grad_scale) {
  check_layers(color, alpha, defocus, origin, scale);
  check_layer_grads(color, grad_light, grad_radius,
                    {&grad_color, &grad_alpha, &grad_defocus, &grad_origin, &grad_scale});
  Launcher launcher(color);
  dispatch(color, [&](auto real) {
    using Real = decltype(real);
    const Pictures<Real> pictures = pictures_of<Real>(color, alpha, defocus, origin, scale, index);
    const LayerGrads<Real> grads = {grad_color.mutable_data_ptr<Real>(), grad_alpha.mutable_data_ptr<Real>(),
                                    grad_defocus.mutable_data_ptr<Real>(), grad_origin.mutable_data_ptr<Real>(),
                                    grad_scale.mutable_data_ptr<Real>()};
    const int64_t blocks = count_blocks(pictures.pixels);
    Placing* placing = launcher.scratch<Placing>(pictures.batch * blocks);
    launcher.run(take_pixels_backward<Real>, pictures.batch * blocks, kSliceThreads, sizeof(SharedPlacing), pictures,
                 grad_light.const_data_ptr<Real>(), grad_radius.const_data_ptr<Real>(), grads, placing);
    launcher.run(add_placing<Real>, pictures.batch, kSliceThreads, sizeof(SharedPlacing),
                 static_cast<const Placing*>(placing), blocks, grads);
  });
}

Tensor cover_cuda(const Tensor& slice, const Tensor& before, Tensor picture) {
  check_cover(slice, {&before}, picture);
  Launcher launcher(slice);
  Tensor after = torch::stable::new_empty(before, before.sizes());
  const int64_t pixels = slice.size(2) * slice.size(3);
  dispatch(slice, [&](auto real) {
    using Real = decltype(real);
    launcher.run(cover_pixels<Real>, slice.size(0) * count_blocks(pixels), kSliceThreads, 0,
                 slice.const_data_ptr<Real>(), before.const_data_ptr<Real>(), pixels, after.mutable_data_ptr<Real>(),
                 picture.mutable_data_ptr<Real>());
  });
  return after;
}

Tensor cover_backward_cuda(const Tensor& grad_picture, const Tensor& slice, const Tensor& before, const Tensor& after,
                           Tensor grad_total) {
  check_cover(slice, {&before, &after, &grad_total}, grad_picture);
  Launcher launcher(slice);
  Tensor grad_slice = torch::stable::new_empty(slice, slice.sizes());
  const int64_t pixels = slice.size(2) * slice.size(3);
  dispatch(slice, [&](auto real) {
    using Real = decltype(real);
    launcher.run(cover_pixels_backward<Real>, slice.size(0) * count_blocks(pixels), kSliceThreads, 0,
                 slice.const_data_ptr<Real>(), before.const_data_ptr<Real>(), after.const_data_ptr<Real>(),
                 grad_picture.const_data_ptr<Real>(), pixels, grad_total.mutable_data_ptr<Real>(),
                 grad_slice.mutable_data_ptr<Real>());
  });
  return grad_slice;
}

}  // namespace
}  // namespace depthbokeh::cuda

DEPTHBOKEH_CUDA_LIBRARY(m) {
  m.impl("take_slice", TORCH_BOX(&depthbokeh::cuda::take_slice_cuda));
  m.impl("take_slice_backward", TORCH_BOX(&depthbokeh::cuda::take_slice_backward_cuda));
  m.impl("cover", TORCH_BOX(&depthbokeh::cuda::cover_cuda));
  m.impl("cover_backward", TORCH_BOX(&depthbokeh::cuda::cover_backward_cuda));
}
