// The operators' CUDA side, from tensors to launchers. The radius is not checked for being finite, as that would mean
// waiting for the device: pixels whose radius is not get the value NaN.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "launchers.h"

namespace depthbokeh::cuda {
namespace {

// Holds the tensors that a Picture points into.
template <typename Real>
struct Call {
  static constexpr ScalarType kType = sizeof(Real) == sizeof(double) ? ScalarType::Double : ScalarType::Float;

  Launcher launcher;
  Tensor image, radius, out;
  ApertureKind kind;
  Picture<Real> picture;
  Shape<Real> shape;

  Call(const Tensor& image_, const Tensor& radius_, const Tensor& aperture, int64_t kind_)
      : launcher(image_),
        image(as_real(image_, kType)),
        radius(as_real(radius_, kType)),
        out(torch::stable::new_empty(image, image.sizes())),
        kind(static_cast<ApertureKind>(kind_)),
        picture{image.const_data_ptr<Real>(),
                radius.const_data_ptr<Real>(),
                out.mutable_data_ptr<Real>(),
                image.size(0),
                image.size(1),
                static_cast<int>(image.size(2)),
                static_cast<int>(image.size(3))},
        shape(make_shape<Real>(launcher, aperture, kind)) {}

  bool empty() const { return image.numel() == 0; }
};

void check_all(const Tensor& image, const Tensor& radius, const Tensor& aperture) {
  check(image, radius, aperture);
  STD_TORCH_CHECK(radius.device() == image.device(), "radius must be on the image's device");
  STD_TORCH_CHECK(aperture.is_cpu(), "aperture must be on the CPU");
}

template <typename Real>
Tensor scatter(const Tensor& image, const Tensor& radius, const Tensor& aperture, int64_t kind, bool slope) {
  Call<Real> call(image, radius, aperture, kind);
  if (call.empty()) return cast(call.out, image.scalar_type());
  if (call.kind == ApertureKind::kGaussian)
    gaussian_blur<Real>(call.launcher, call.picture, call.shape, true, slope, nullptr, nullptr);
  else
    scatter_blur(call.launcher, call.picture, call.shape, slope);
  return cast(call.out, image.scalar_type());
}

template <typename Real>
Tensor gather(const Tensor& image, const Tensor& radius, const Tensor& aperture, int64_t kind, bool slope) {
  Call<Real> call(image, radius, aperture, kind);
  if (call.empty()) return cast(call.out, image.scalar_type());
  if (call.kind == ApertureKind::kGaussian) {
    gaussian_blur<Real>(call.launcher, call.picture, call.shape, false, slope, nullptr, nullptr);
  } else {
    Real* out = call.picture.out;
    if (slope) call.picture.out = nullptr;
    gather_blur(call.launcher, call.picture, call.shape, GatherTargets<Real>{slope ? out : nullptr, nullptr, nullptr});
  }
  return cast(call.out, image.scalar_type());
}

template <typename Real>
std::tuple<Tensor, Tensor> gather_backward(const Tensor& image, const Tensor& radius, const Tensor& weight,
                                           const Tensor& aperture, int64_t kind) {
  Call<Real> call(image, radius, aperture, kind);
  const Tensor weights = as_real(weight, Call<Real>::kType);
  Tensor radius_out = torch::stable::new_empty(call.radius, call.radius.sizes());
  const Real* factor = weights.const_data_ptr<Real>();
  Real* slope_sum = radius_out.mutable_data_ptr<Real>();
  if (call.empty())
    torch::stable::zero_(radius_out);
  else if (call.kind == ApertureKind::kGaussian)
    gaussian_blur<Real>(call.launcher, call.picture, call.shape, false, false, factor, slope_sum);
  else
    gather_blur(call.launcher, call.picture, call.shape, GatherTargets<Real>{nullptr, factor, slope_sum});
  return {cast(call.out, image.scalar_type()), cast(radius_out, radius.scalar_type())};
}

Tensor scatter_blur_cuda(const Tensor& image, const Tensor& radius, const Tensor& aperture, int64_t kind, bool slope) {
  check_all(image, radius, aperture);
  return real_type(image) == ScalarType::Double ? scatter<double>(image, radius, aperture, kind, slope)
                                                : scatter<float>(image, radius, aperture, kind, slope);
}

Tensor gather_blur_cuda(const Tensor& image, const Tensor& radius, const Tensor& aperture, int64_t kind, bool slope) {
  check_all(image, radius, aperture);
  return real_type(image) == ScalarType::Double ? gather<double>(image, radius, aperture, kind, slope)
                                                : gather<float>(image, radius, aperture, kind, slope);
}

std::tuple<Tensor, Tensor> gather_blur_backward_cuda(const Tensor& image, const Tensor& radius, const Tensor& weight,
                                                     const Tensor& aperture, int64_t kind) {
  check_all(image, radius, aperture);
  STD_TORCH_CHECK(weight.sizes().equals(image.sizes()), "weight must have the image's shape");
  STD_TORCH_CHECK(weight.device() == image.device(), "weight must be on the image's device");
  return real_type(image) == ScalarType::Double ? gather_backward<double>(image, radius, weight, aperture, kind)
                                                : gather_backward<float>(image, radius, weight, aperture, kind);
}

}  // namespace
}  // namespace depthbokeh::cuda

DEPTHBOKEH_CUDA_LIBRARY(m) {
  m.impl("scatter_blur", TORCH_BOX(&depthbokeh::cuda::scatter_blur_cuda));
  m.impl("gather_blur", TORCH_BOX(&depthbokeh::cuda::gather_blur_cuda));
  m.impl("gather_blur_backward", TORCH_BOX(&depthbokeh::cuda::gather_blur_backward_cuda));
}
