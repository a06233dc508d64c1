// The library of the emulated kernels: the same operators under another name, for tensors on the CPU.
#include <torch/csrc/stable/library.h>

#include "../schemas.h"
#include "cuda_emu.h"

STABLE_TORCH_LIBRARY(depthbokeh_emu, m) {
  m.def(depthbokeh::kScatterBlur);
  m.def(depthbokeh::kGatherBlur);
  m.def(depthbokeh::kGatherBlurBackward);
  m.def(depthbokeh::kTakeSlices);
  m.def(depthbokeh::kTakeSlicesBackward);
  m.def(depthbokeh::kCover);
  m.def(depthbokeh::kCoverBackward);
  m.def(depthbokeh::kSharpen);
  m.def(depthbokeh::kSharpenBackward);
  m.def(depthbokeh::kSeparate);
  m.def(depthbokeh::kSeparateBackward);
  m.def(depthbokeh::kPushPull);
  m.def(depthbokeh::kPushPullBackward);
  m.def(depthbokeh::kFillBehind);
  m.def(depthbokeh::kFillBehindBackward);
  m.def(depthbokeh::kWeighSides);
  m.def(depthbokeh::kWeighSidesBackward);
  m.def(depthbokeh::kLaySurfaces);
  m.def(depthbokeh::kLaySurfacesBackward);
  m.def(depthbokeh::kDimLights);
  m.def(depthbokeh::kDimLightsBackward);
  m.def(depthbokeh::kFindFarthest);
  m.def(depthbokeh::kFindFarthestBackward);
  m.def(depthbokeh::kEnlarge);
  m.def(depthbokeh::kEnlargeBackward);
  m.def(depthbokeh::kExtendLayers);
  m.def(depthbokeh::kExtendLayersBackward);
  m.def(depthbokeh::kSrgbToLinear);
  m.def(depthbokeh::kSrgbToLinearBackward);
  m.def(depthbokeh::kLinearToSrgb);
  m.def(depthbokeh::kLinearToSrgbBackward);
  m.def("set_order(int order) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(depthbokeh_emu, CompositeExplicitAutograd, m) {
  m.impl("set_order", TORCH_BOX(&depthbokeh::emu::set_order));
}
