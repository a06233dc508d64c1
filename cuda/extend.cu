// The CUDA side of the operators that enlarge maps and extend layers, from tensors to kernels.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "extend.cuh"
#include "launch.h"

namespace depthbokeh::cuda {
namespace {

int64_t count_extend_blocks(int64_t pixels) { return ceil_div<int64_t>(pixels, kExtendThreads); }

void check_real(const Tensor& values, int64_t dimensions) {
  STD_TORCH_CHECK(values.scalar_type() == ScalarType::Float || values.scalar_type() == ScalarType::Double,
                  "values must be float32 or float64");
  STD_TORCH_CHECK(values.dim() == dimensions, "values must have ", dimensions, " dimensions");
  for (int64_t axis : {-1, -2})
    STD_TORCH_CHECK(values.size(axis) > 0 && values.size(axis) < (1 << 24), "sides must be from 1 to below 2^24");
}

// count_y by count_x squares and the pixels of height by width that they are enlarged to.
template <typename Real>
Enlargement<Real> make_enlargement(const Tensor& from, int64_t factor, int64_t count_y, int64_t count_x, int64_t height,
                                   int64_t width) {
  STD_TORCH_CHECK(factor > 0 && height > 0 && width > 0 && ceil_div(height, factor) == count_y &&
                      ceil_div(width, factor) == count_x,
                  "height and width must be those of as many squares of factor pixels");
  return {from.const_data_ptr<Real>(),
          from.size(0) * from.size(1),
          {static_cast<int>(factor), static_cast<int>(count_y), static_cast<int>(height)},
          {static_cast<int>(factor), static_cast<int>(count_x), static_cast<int>(width)}};
}

// Squares to pixels, or gradients back: `height` and `width` are of what comes out.
Tensor resample(const Tensor& values, int64_t factor, int64_t height, int64_t width, bool back) {
  check_real(values, 4);
  Launcher launcher(values);
  const Tensor from = torch::stable::contiguous(values);
  Tensor to = torch::stable::new_empty(from, {from.size(0), from.size(1), height, width});
  const Tensor &squares = back ? to : from, &pixels = back ? from : to;
  dispatch(from, [&](auto real) {
    using Real = decltype(real);
    const auto p =
        make_enlargement<Real>(from, factor, squares.size(2), squares.size(3), pixels.size(2), pixels.size(3));
    launcher.run(back ? gather_squares<Real> : enlarge_squares<Real>, count_extend_blocks(to.numel()), kExtendThreads,
                 0, p, to.mutable_data_ptr<Real>());
  });
  return to;
}

Tensor enlarge_cuda(const Tensor& values, int64_t factor, int64_t height, int64_t width) {
  return resample(values, factor, height, width, false);
}

Tensor enlarge_backward_cuda(const Tensor& grad, int64_t factor, int64_t height, int64_t width) {
  return resample(grad, factor, height, width, true);
}

template <typename Real>
LayerPlanes<const Real> read(const Tensor& color, const Tensor& alpha, const Tensor& defocus) {
  return {color.const_data_ptr<Real>(), alpha.const_data_ptr<Real>(), defocus.const_data_ptr<Real>()};
}

template <typename Real>
LayerPlanes<Real> write(Tensor& color, Tensor& alpha, Tensor& defocus) {
  return {color.mutable_data_ptr<Real>(), alpha.mutable_data_ptr<Real>(), defocus.mutable_data_ptr<Real>()};
}

Tensor make_planes(const Tensor& like, int64_t channels, int64_t height, int64_t width) {
  return torch::stable::new_empty(like, {like.size(0), like.size(1), channels, height, width});
}

// Layers as the kernels want them, or gradients to what became of them.
struct Given {
  Tensor color, alpha, defocus;

  Given(const Tensor& color_, const Tensor& alpha_, const Tensor& defocus_)
      : color(torch::stable::contiguous(color_)),
        alpha(torch::stable::contiguous(alpha_)),
        defocus(torch::stable::contiguous(defocus_)) {
    check_real(color, 5);
    for (const Tensor* t : {&alpha, &defocus})
      STD_TORCH_CHECK(
          3 * t->numel() == color.numel() && t->scalar_type() == color.scalar_type() && t->device() == color.device(),
          "alpha and defocus must be (B, K, 1, H, W) of the colour's size, dtype and device");
  }
};

template <typename Real>
Framed<Real> frame(const Tensor& color, const Tensor& brightest, int64_t margin) {
  STD_TORCH_CHECK(margin >= 0 && margin < (1 << 24), "margin must not be negative");
  STD_TORCH_CHECK(brightest.numel() == color.size(0) && brightest.scalar_type() == color.scalar_type() &&
                      brightest.device() == color.device() && brightest.is_contiguous(),
                  "brightest must be one for every picture, of the colour's dtype and device");
  return {brightest.const_data_ptr<Real>(), color.size(0),
          static_cast<int>(color.size(1)),  static_cast<int>(color.size(3)),
          static_cast<int>(color.size(4)),  static_cast<int>(margin)};
}

std::tuple<Tensor, Tensor, Tensor> extend_layers_cuda(const Tensor& color, const Tensor& alpha, const Tensor& defocus,
                                                      const Tensor& brightest, int64_t margin) {
  const Given given(color, alpha, defocus);
  Launcher launcher(color);
  const int64_t height = color.size(3) + 2 * margin, width = color.size(4) + 2 * margin;
  Tensor to_color = make_planes(given.color, 3, height, width), to_alpha = make_planes(given.color, 1, height, width);
  Tensor to_defocus = make_planes(given.color, 1, height, width);
  const Tensor limit = torch::stable::contiguous(brightest);
  dispatch(given.color, [&](auto real) {
    using Real = decltype(real);
    const Framed<Real> p = frame<Real>(given.color, limit, margin);
    launcher.run(extend_pixels<Real>, p.batch * p.count * count_extend_blocks(p.outer_plane()), kExtendThreads, 0, p,
                 read<Real>(given.color, given.alpha, given.defocus), write<Real>(to_color, to_alpha, to_defocus));
  });
  return {to_color, to_alpha, to_defocus};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> extend_layers_backward_cuda(const Tensor& grad_color,
                                                                       const Tensor& grad_alpha,
                                                                       const Tensor& grad_defocus, const Tensor& color,
                                                                       const Tensor& brightest, int64_t margin) {
  const Given grads(grad_color, grad_alpha, grad_defocus);
  check_real(color, 5);
  const Tensor light = torch::stable::contiguous(color), limit = torch::stable::contiguous(brightest);
  const int64_t height = color.size(3), width = color.size(4);
  STD_TORCH_CHECK(grads.color.size(0) == color.size(0) && grads.color.size(1) == color.size(1) &&
                      grads.color.size(3) == height + 2 * margin && grads.color.size(4) == width + 2 * margin &&
                      grads.color.scalar_type() == color.scalar_type(),
                  "gradients must be of the extended layers' shape and dtype");
  Launcher launcher(color);
  Tensor to_color = make_planes(light, 3, height, width), to_alpha = make_planes(light, 1, height, width);
  Tensor to_defocus = make_planes(light, 1, height, width);
  Tensor to_brightest = torch::stable::new_empty(limit, limit.sizes());
  dispatch(light, [&](auto real) {
    using Real = decltype(real);
    const Framed<Real> p = frame<Real>(light, limit, margin);
    const int64_t blocks = p.count * count_extend_blocks(p.plane());  // of a picture
    NumberSums<1>* sums = launcher.scratch<NumberSums<1>>(p.batch * blocks);
    const LayerPlanes<const Real> from = read<Real>(grads.color, grads.alpha, grads.defocus);
    const int64_t rows = p.batch * p.count * 2 * (height + 2 * margin);
    Real* sides = launcher.scratch<Real>(rows * kLayerValues);
    launcher.run(add_up_sides<Real>, count_extend_blocks(rows), kExtendThreads, 0, p, from, sides);
    launcher.run(extend_pixels_backward<Real>, p.batch * blocks, kExtendThreads, sizeof(SharedNumbers<1>), p,
                 light.const_data_ptr<Real>(), from, static_cast<const Real*>(sides),
                 write<Real>(to_color, to_alpha, to_defocus), sums);
    launcher.run(add_up_numbers<1, Real>, p.batch, kExtendThreads, sizeof(SharedNumbers<1>),
                 static_cast<const NumberSums<1>*>(sums), blocks,
                 NumberGrads<1, Real>{{to_brightest.mutable_data_ptr<Real>()}});
  });
  return {to_color, to_alpha, to_defocus, to_brightest};
}

}  // namespace
}  // namespace depthbokeh::cuda

DEPTHBOKEH_CUDA_LIBRARY(m) {
  m.impl("enlarge", TORCH_BOX(&depthbokeh::cuda::enlarge_cuda));
  m.impl("enlarge_backward", TORCH_BOX(&depthbokeh::cuda::enlarge_backward_cuda));
  m.impl("extend_layers", TORCH_BOX(&depthbokeh::cuda::extend_layers_cuda));
  m.impl("extend_layers_backward", TORCH_BOX(&depthbokeh::cuda::extend_layers_backward_cuda));
}
