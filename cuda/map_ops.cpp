// The operators that are functions of every pixel: schemas, and their CPU side.
#include "map_ops.h"

#include <torch/csrc/stable/library.h>

#include "cpu/maps.h"
#include "schemas.h"

namespace depthbokeh {
namespace {

CpuMaps make_cpu_maps(const Tensor&) { return {}; }

DEPTHBOKEH_MAP_OPERATORS(make_cpu_maps)

}  // namespace
}  // namespace depthbokeh

STABLE_TORCH_LIBRARY_FRAGMENT(depthbokeh, m) {
  m.def(depthbokeh::kWeighSides);
  m.def(depthbokeh::kWeighSidesBackward);
  m.def(depthbokeh::kLaySurfaces);
  m.def(depthbokeh::kLaySurfacesBackward);
  m.def(depthbokeh::kDimLights);
  m.def(depthbokeh::kDimLightsBackward);
  m.def(depthbokeh::kFindFarthest);
  m.def(depthbokeh::kFindFarthestBackward);
}

STABLE_TORCH_LIBRARY_IMPL(depthbokeh, CPU, m) {
  using namespace depthbokeh;
  DEPTHBOKEH_REGISTER_MAPS(m)
}
