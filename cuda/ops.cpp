// The operators: schemas, and their CPU side from tensors to kernels. Only the LibTorch stable ABI is used, so that
// one binary serves every torch from 2.10 on.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "cpu/kernels.h"
#include "cpu/tiles.h"

#ifndef DEPTHBOKEH_SOURCE_HASH
#define DEPTHBOKEH_SOURCE_HASH unknown
#endif
#define DEPTHBOKEH_TEXT(token) #token
#define DEPTHBOKEH_AS_TEXT(macro) DEPTHBOKEH_TEXT(macro)

namespace depthbokeh {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// The image as the kernels want it: contiguous, float or double.
Tensor as_real(const Tensor& t, ScalarType real) {
  return torch::stable::contiguous(t.scalar_type() == real ? t : torch::stable::to(t, real));
}

ScalarType real_type(const Tensor& image) {
  switch (image.scalar_type()) {
    case ScalarType::Double:
      return ScalarType::Double;
    case ScalarType::Float:
    case ScalarType::Half:
    case ScalarType::BFloat16:
      return ScalarType::Float;
    default:
      STD_TORCH_CHECK(false, "image must be float16, bfloat16, float32 or float64");
  }
  return ScalarType::Float;
}

void check(const Tensor& image, const Tensor& radius, const Tensor& aperture) {
  STD_TORCH_CHECK(image.dim() == 4 && radius.dim() == 4, "image and radius must have four dimensions");
  STD_TORCH_CHECK(radius.size(0) == image.size(0) && radius.size(1) == 1 && radius.size(2) == image.size(2) &&
                      radius.size(3) == image.size(3),
                  "radius must be (B, 1, H, W) of the image's size");
  STD_TORCH_CHECK(image.size(2) < (1 << 24) && image.size(3) < (1 << 24), "image sides must be below 2^24");
  STD_TORCH_CHECK(aperture.dim() == 2 && aperture.size(1) == 8 && aperture.scalar_type() == ScalarType::Double,
                  "aperture must be (N, 8) float64");
}

// Holds the tensors that a Problem points into.
template <typename Real>
struct Call {
  Tensor image, radius, out;
  Aperture<Real> aperture;
  Problem<Real> problem;

  Call(const Tensor& image_, const Tensor& radius_, const Tensor& aperture_, int64_t kind, ScalarType real)
      : image(as_real(image_, real)),
        radius(as_real(radius_, real)),
        out(torch::stable::new_empty(image, image.sizes())),
        aperture(static_cast<ApertureKind>(kind),
                 torch::stable::contiguous(aperture_).template const_data_ptr<double>(), aperture_.size(0)),
        problem{image.const_data_ptr<Real>(),
                radius.const_data_ptr<Real>(),
                out.mutable_data_ptr<Real>(),
                image.size(0),
                image.size(1),
                static_cast<int>(image.size(2)),
                static_cast<int>(image.size(3)),
                &aperture,
                0} {
    problem.largest = find_largest(problem.radius, radius.numel());
    STD_TORCH_CHECK(std::isfinite(problem.largest), "radius must be finite");
    problem.brightest = find_largest(problem.image, image.numel());
    problem.dazzling = find_dazzling(problem.image, image.numel(), problem.brightest);
  }
};

Tensor cast(const Tensor& t, ScalarType type) { return t.scalar_type() == type ? t : torch::stable::to(t, type); }

template <typename Real>
using Kernel = void (*)(const Problem<Real>&, bool);

Tensor blur(const Tensor& image, const Tensor& radius, const Tensor& aperture, int64_t kind, bool slope,
            Kernel<float> in_float, Kernel<double> in_double) {
  check(image, radius, aperture);
  const ScalarType real = real_type(image);
  if (real == ScalarType::Double) {
    Call<double> call(image, radius, aperture, kind, real);
    in_double(call.problem, slope);
    return call.out;
  }
  Call<float> call(image, radius, aperture, kind, real);
  in_float(call.problem, slope);
  return cast(call.out, image.scalar_type());
}

Tensor scatter_blur_cpu(const Tensor& image, const Tensor& radius, const Tensor& aperture, int64_t kind, bool slope) {
  return blur(image, radius, aperture, kind, slope, scatter_blur<float>, scatter_blur<double>);
}

Tensor gather_blur_cpu(const Tensor& image, const Tensor& radius, const Tensor& aperture, int64_t kind, bool slope) {
  return blur(image, radius, aperture, kind, slope, gather_blur<float>, gather_blur<double>);
}

template <typename Real>
std::tuple<Tensor, Tensor> backward(const Tensor& image, const Tensor& radius, const Tensor& weight,
                                    const Tensor& aperture, int64_t kind, ScalarType real) {
  Call<Real> call(image, radius, aperture, kind, real);
  const Tensor weights = as_real(weight, real);
  Tensor radius_out = torch::stable::new_empty(call.radius, call.radius.sizes());
  gather_blur_backward(call.problem, weights.const_data_ptr<Real>(), radius_out.mutable_data_ptr<Real>());
  return {cast(call.out, image.scalar_type()), cast(radius_out, radius.scalar_type())};
}

std::tuple<Tensor, Tensor> gather_blur_backward_cpu(const Tensor& image, const Tensor& radius, const Tensor& weight,
                                                    const Tensor& aperture, int64_t kind) {
  check(image, radius, aperture);
  STD_TORCH_CHECK(weight.sizes() == image.sizes(), "weight must have the image's shape");
  const ScalarType real = real_type(image);
  return real == ScalarType::Double ? backward<double>(image, radius, weight, aperture, kind, real)
                                    : backward<float>(image, radius, weight, aperture, kind, real);
}

std::string build_info() { return DEPTHBOKEH_AS_TEXT(DEPTHBOKEH_SOURCE_HASH); }

}  // namespace
}  // namespace depthbokeh

STABLE_TORCH_LIBRARY(depthbokeh, m) {
  m.def("scatter_blur(Tensor image, Tensor radius, Tensor aperture, int kind, bool slope) -> Tensor");
  m.def("gather_blur(Tensor image, Tensor radius, Tensor aperture, int kind, bool slope) -> Tensor");
  m.def(
      "gather_blur_backward(Tensor image, Tensor radius, Tensor weight, Tensor aperture, int kind) -> (Tensor, "
      "Tensor)");
  m.def("build_info() -> str");
}

STABLE_TORCH_LIBRARY_IMPL(depthbokeh, CPU, m) {
  m.impl("scatter_blur", TORCH_BOX(&depthbokeh::scatter_blur_cpu));
  m.impl("gather_blur", TORCH_BOX(&depthbokeh::gather_blur_cpu));
  m.impl("gather_blur_backward", TORCH_BOX(&depthbokeh::gather_blur_backward_cpu));
}

STABLE_TORCH_LIBRARY_IMPL(depthbokeh, CompositeExplicitAutograd, m) {
  m.impl("build_info", TORCH_BOX(&depthbokeh::build_info));
}
