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
                           const Tensor& scale, int64_t first, int64_t slices) {
  return {color.const_data_ptr<Real>(),
          alpha.const_data_ptr<Real>(),
          defocus.const_data_ptr<Real>(),
          origin.const_data_ptr<Real>(),
          scale.const_data_ptr<Real>(),
          color.size(0),
          static_cast<int>(color.size(1)),
          color.size(3) * color.size(4),
          first,
          slices};
}

int64_t count_blocks(int64_t pixels) { return ceil_div<int64_t>(pixels, kSliceThreads); }  // of a picture

std::tuple<Tensor, Tensor> take_slices_cuda(const Tensor& color, const Tensor& alpha, const Tensor& defocus,
                                            const Tensor& origin, const Tensor& scale, int64_t first, int64_t count) {
  check_layers(color, alpha, defocus, origin, scale);
  Launcher launcher(color);
  Tensor light = torch::stable::new_empty(color, {count * color.size(0), 4, color.size(3), color.size(4)});
  Tensor radius = torch::stable::new_empty(color, {count * color.size(0), 1, color.size(3), color.size(4)});
  dispatch(color, [&](auto real) {
    using Real = decltype(real);
    const Pictures<Real> pictures = pictures_of<Real>(color, alpha, defocus, origin, scale, first, count);
    launcher.run(take_pixels<Real>, pictures.batch * count_blocks(pictures.pixels), kSliceThreads, 0, pictures,
                 light.mutable_data_ptr<Real>(), radius.mutable_data_ptr<Real>());
  });
  return {light, radius};
}

void take_slices_backward_cuda(const Tensor& grad_light, const Tensor& grad_radius, const Tensor& color,
                               const Tensor& alpha, const Tensor& defocus, const Tensor& origin, const Tensor& scale,
                               int64_t first, Tensor grad_color, Tensor grad_alpha, Tensor grad_defocus,
                               Tensor grad_origin, Tensor grad_scale) {
  check_layers(color, alpha, defocus, origin, scale);
  const int64_t slices = check_layer_grads(color, grad_light, grad_radius,
                                           {&grad_color, &grad_alpha, &grad_defocus, &grad_origin, &grad_scale});
  Launcher launcher(color);
  dispatch(color, [&](auto real) {
    using Real = decltype(real);
    const Pictures<Real> pictures = pictures_of<Real>(color, alpha, defocus, origin, scale, first, slices);
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

Tensor cover_cuda(const Tensor& spread, const Tensor& before, Tensor picture) {
  const int64_t slices = check_cover(spread, picture, {&before}, {});
  Launcher launcher(spread);
  Tensor after = torch::stable::new_empty(before, {spread.size(0), 1, spread.size(2), spread.size(3)});
  const int64_t batch = picture.size(0), pixels = spread.size(2) * spread.size(3);
  dispatch(spread, [&](auto real) {
    using Real = decltype(real);
    const Spread<Real> given = {
        spread.const_data_ptr<Real>(), before.const_data_ptr<Real>(), nullptr, batch, slices, pixels};
    launcher.run(cover_pixels<Real>, batch * count_blocks(pixels), kSliceThreads, 0, given,
                 after.mutable_data_ptr<Real>(), picture.mutable_data_ptr<Real>());
  });
  return after;
}

Tensor cover_backward_cuda(const Tensor& grad_picture, const Tensor& spread, const Tensor& before, const Tensor& after,
                           Tensor grad_total) {
  const int64_t slices = check_cover(spread, grad_picture, {&before, &grad_total}, {&after});
  Launcher launcher(spread);
  Tensor grad_spread = torch::stable::new_empty(spread, spread.sizes());
  const int64_t batch = grad_picture.size(0), pixels = spread.size(2) * spread.size(3);
  dispatch(spread, [&](auto real) {
    using Real = decltype(real);
    const Spread<Real> given = {spread.const_data_ptr<Real>(),
                                before.const_data_ptr<Real>(),
                                after.const_data_ptr<Real>(),
                                batch,
                                slices,
                                pixels};
    launcher.run(cover_pixels_backward<Real>, batch * count_blocks(pixels), kSliceThreads, 0, given,
                 grad_picture.const_data_ptr<Real>(), grad_total.mutable_data_ptr<Real>(),
                 grad_spread.mutable_data_ptr<Real>());
  });
  return grad_spread;
}

}  // namespace
}  // namespace depthbokeh::cuda

DEPTHBOKEH_CUDA_LIBRARY(m) {
  m.impl("take_slices", TORCH_BOX(&depthbokeh::cuda::take_slices_cuda));
  m.impl("take_slices_backward", TORCH_BOX(&depthbokeh::cuda::take_slices_backward_cuda));
  m.impl("cover", TORCH_BOX(&depthbokeh::cuda::cover_cuda));
  m.impl("cover_backward", TORCH_BOX(&depthbokeh::cuda::cover_backward_cuda));
}
