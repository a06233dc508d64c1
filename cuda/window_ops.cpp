// The operators on windows: their schemas' registration, and their CPU side from tensors to kernels.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <tuple>

#include "cpu/windows.h"
#include "schemas.h"
#include "window_tensors.h"

namespace depthbokeh {
namespace {

std::tuple<Tensor, Tensor, Tensor, Tensor> local_extremes_cpu(const Tensor& values, int64_t reach) {
  check_windows(values, reach);
  const Tensor from = torch::stable::contiguous(values);
  const auto empty = [&] { return torch::stable::new_empty(from, from.sizes()); };
  Tensor highest = empty(), lowest = empty(), higher = empty(), lower = empty();
  dispatch(from, [&](auto real) {
    using Real = decltype(real);
    local_extremes(windows_of<Real>(from, reach),
                   Extremes<Real>{highest.mutable_data_ptr<Real>(), lowest.mutable_data_ptr<Real>(),
                                  higher.mutable_data_ptr<Real>(), lower.mutable_data_ptr<Real>()});
  });
  return {highest, lowest, higher, lower};
}

Tensor find_max_cpu(const Tensor& values, int64_t reach, const Tensor& at) {
  check_windows(values, reach);
  check_places(values, at);
  const Tensor from = torch::stable::contiguous(values), places = torch::stable::contiguous(at);
  const int64_t *first = places.const_data_ptr<int64_t>(), *last = first + places.numel();
  STD_TORCH_CHECK(std::all_of(first, last, [&](int64_t p) { return p >= 0 && p < from.numel(); }),
                  "at must lie within the pictures");
  Tensor found = torch::stable::new_empty(places, places.sizes());
  dispatch(from, [&](auto real) {
    using Real = decltype(real);
    find_max(windows_of<Real>(from, reach), first, places.numel(), found.mutable_data_ptr<int64_t>());
  });
  return found;
}

}  // namespace
}  // namespace depthbokeh

STABLE_TORCH_LIBRARY_FRAGMENT(depthbokeh, m) {
  m.def(depthbokeh::kLocalExtremes);
  m.def(depthbokeh::kFindMax);
}

STABLE_TORCH_LIBRARY_IMPL(depthbokeh, CPU, m) {
  m.impl("local_extremes", TORCH_BOX(&depthbokeh::local_extremes_cpu));
  m.impl("find_max", TORCH_BOX(&depthbokeh::find_max_cpu));
}
