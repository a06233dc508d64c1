// The operators' signatures, for every library that implements them.
#pragma once

namespace depthbokeh {

constexpr const char* kScatterBlur =
    "scatter_blur(Tensor image, Tensor radius, Tensor aperture, int kind, bool slope) -> Tensor";
constexpr const char* kGatherBlur =
    "gather_blur(Tensor image, Tensor radius, Tensor aperture, int kind, bool slope) -> Tensor";
constexpr const char* kGatherBlurBackward =
    "gather_blur_backward(Tensor image, Tensor radius, Tensor weight, Tensor aperture, int kind) -> (Tensor, Tensor)";

}  // namespace depthbokeh
