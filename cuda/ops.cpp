// The operators: schemas, and their CPU side from tensors to kernels. Only the LibTorch stable ABI is used, so that
// one binary serves every torch from 2.10 on.
#include <torch/csrc/stable/library.h>

#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "cpu/kernels.h"
#include "cpu/tiles.h"
#include "schemas.h"
#include "tensors.h"

#ifndef DEPTHBOKEH_SOURCE_HASH
#define DEPTHBOKEH_SOURCE_HASH unknown
#endif
#define DEPTHBOKEH_TEXT(token) #token
#define DEPTHBOKEH_AS_TEXT(macro) DEPTHBOKEH_TEXT(macro)

namespace depthbokeh {
namespace {

// Holds the tensors that a Problem points into.
template <typename Real>
struct Call {
  Tensor image, radius, out;
  Aperture<Real> aperture;
  Problem<Real> problem;
  Lights<Real> lights;

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
                0,
                &lights},
        lights(problem.image, image.numel()) {
    problem.largest = find_largest(problem.radius, radius.numel());
    STD_TORCH_CHECK(std::isfinite(problem.largest), "radius must be finite");
  }
};

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
  STD_TORCH_CHECK(weight.sizes().equals(image.sizes()), "weight must have the image's shape");
  const ScalarType real = real_type(image);
  return real == ScalarType::Double ? backward<double>(image, radius, weight, aperture, kind, real)
                                    : backward<float>(image, radius, weight, aperture, kind, real);
}

// In the file as it is, where the package looks for it: a compiler may take a literal apart.
__attribute__((used)) const char kSourceHash[] = DEPTHBOKEH_AS_TEXT(DEPTHBOKEH_SOURCE_HASH);

std::string build_info() { return kSourceHash; }

}  // namespace
}  // namespace depthbokeh

STABLE_TORCH_LIBRARY(depthbokeh, m) {
  for (const char* schema : depthbokeh::kSchemas) m.def(schema);
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
