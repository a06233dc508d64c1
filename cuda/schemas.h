// The operators' signatures, for every library that implements them.
#pragma once

namespace depthbokeh {

constexpr const char* kScatterBlur =
    "scatter_blur(Tensor image, Tensor radius, Tensor aperture, int kind, bool slope) -> Tensor";
constexpr const char* kGatherBlur =
    "gather_blur(Tensor image, Tensor radius, Tensor aperture, int kind, bool slope) -> Tensor";
constexpr const char* kGatherBlurBackward =
    "gather_blur_backward(Tensor image, Tensor radius, Tensor weight, Tensor aperture, int kind) -> (Tensor, Tensor)";
constexpr const char* kTakeSlices =
    "take_slices(Tensor color, Tensor alpha, Tensor defocus, Tensor origin, Tensor scale, int first, int count) -> "
    "(Tensor, Tensor)";
constexpr const char* kTakeSlicesBackward =
    "take_slices_backward(Tensor grad_light, Tensor grad_radius, Tensor color, Tensor alpha, Tensor defocus, Tensor "
    "origin, Tensor scale, int first, Tensor(a!) grad_color, Tensor(b!) grad_alpha, Tensor(c!) grad_defocus, "
    "Tensor(d!) "
    "grad_origin, Tensor(e!) grad_scale) -> ()";
constexpr const char* kCover = "cover(Tensor spread, Tensor before, Tensor(a!) picture) -> Tensor";
constexpr const char* kCoverBackward =
    "cover_backward(Tensor grad_picture, Tensor spread, Tensor before, Tensor after, Tensor(a!) grad_total) -> Tensor";
constexpr const char* kSharpen = "sharpen(Tensor disparity, Tensor strength, Tensor? linear, int reach) -> Tensor";
constexpr const char* kSharpenBackward =
    "sharpen_backward(Tensor grad, Tensor disparity, Tensor strength, Tensor? linear, int reach) -> (Tensor, Tensor)";
constexpr const char* kSeparate =
    "separate(Tensor linear, Tensor disparity, Tensor strength, Tensor? mask) -> (Tensor, Tensor, Tensor, Tensor)";
constexpr const char* kSeparateBackward =
    "separate_backward(Tensor grad_edge, Tensor grad_coverage, Tensor grad_color, Tensor grad_depth, Tensor linear, "
    "Tensor disparity, Tensor strength, Tensor? mask) -> (Tensor, Tensor, Tensor, Tensor)";
constexpr const char* kPushPull = "push_pull(Tensor values, Tensor weight) -> Tensor";
constexpr const char* kPushPullBackward =
    "push_pull_backward(Tensor grad, Tensor values, Tensor weight) -> (Tensor, Tensor)";
constexpr const char* kFillBehind = "fill_behind(Tensor values, Tensor defocus, Tensor lowest, int reach) -> Tensor";
constexpr const char* kFillBehindBackward =
    "fill_behind_backward(Tensor grad, Tensor values, Tensor defocus, Tensor lowest, int reach) -> (Tensor, Tensor)";
constexpr const char* kWeighSides =
    "weigh_sides(Tensor disparity, Tensor mask, Tensor means, Tensor sure, Tensor least) -> (Tensor, Tensor)";
constexpr const char* kWeighSidesBackward =
    "weigh_sides_backward(Tensor grad_weight, Tensor grad_occluder, Tensor disparity, Tensor mask, Tensor means, "
    "Tensor sure, Tensor least) -> (Tensor, Tensor, Tensor, Tensor, Tensor)";
constexpr const char* kLaySurfaces =
    "lay_surfaces(Tensor subject, Tensor rest, Tensor? mask, Tensor edge, Tensor coverage, Tensor depth, Tensor focus, "
    "Tensor strength, Tensor slab) -> (Tensor, Tensor)";
constexpr const char* kLaySurfacesBackward =
    "lay_surfaces_backward(Tensor grad_alpha, Tensor grad_defocus, Tensor subject, Tensor rest, Tensor? mask, Tensor "
    "edge, Tensor coverage, Tensor depth, Tensor focus, Tensor strength, Tensor slab) -> (Tensor, Tensor, Tensor, "
    "Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)";
constexpr const char* kDimLights = "dim_lights(Tensor color, Tensor brightest) -> Tensor";
constexpr const char* kDimLightsBackward =
    "dim_lights_backward(Tensor grad, Tensor color, Tensor brightest) -> (Tensor, Tensor)";
constexpr const char* kFindFarthest = "find_farthest(Tensor alpha, Tensor color, Tensor defocus) -> (Tensor, Tensor)";
constexpr const char* kFindFarthestBackward =
    "find_farthest_backward(Tensor grad_color, Tensor grad_defocus, Tensor alpha, Tensor color, Tensor defocus) -> "
    "(Tensor, Tensor, Tensor)";
constexpr const char* kEnlarge = "enlarge(Tensor values, int factor, int height, int width) -> Tensor";
constexpr const char* kEnlargeBackward = "enlarge_backward(Tensor grad, int factor, int height, int width) -> Tensor";
constexpr const char* kExtendLayers =
    "extend_layers(Tensor color, Tensor alpha, Tensor defocus, Tensor brightest, int margin) -> (Tensor, Tensor, "
    "Tensor)";
constexpr const char* kExtendLayersBackward =
    "extend_layers_backward(Tensor grad_color, Tensor grad_alpha, Tensor grad_defocus, Tensor color, Tensor brightest, "
    "int margin) -> (Tensor, Tensor, Tensor, Tensor)";
constexpr const char* kSrgbToLinear = "srgb_to_linear(Tensor x) -> Tensor";
constexpr const char* kSrgbToLinearBackward = "srgb_to_linear_backward(Tensor grad, Tensor x) -> Tensor";
constexpr const char* kLinearToSrgb = "linear_to_srgb(Tensor x) -> Tensor";
constexpr const char* kLinearToSrgbBackward = "linear_to_srgb_backward(Tensor grad, Tensor x) -> Tensor";

}  // namespace depthbokeh
