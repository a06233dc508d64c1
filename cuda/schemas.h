// The operators' signatures, for every library that implements them. Some have kernels on CUDA alone: on the CPU, where
// nothing is launched, their definitions in Python run.
#pragma once

namespace depthbokeh {

constexpr const char* kSchemas[] = {
    "scatter_blur(Tensor image, Tensor radius, Tensor aperture, int kind, bool slope) -> Tensor",
    "gather_blur(Tensor image, Tensor radius, Tensor aperture, int kind, bool slope) -> Tensor",
    "gather_blur_backward(Tensor image, Tensor radius, Tensor weight, Tensor aperture, int kind) -> (Tensor, Tensor)",
    "take_slices(Tensor color, Tensor alpha, Tensor defocus, Tensor origin, Tensor scale, int first, int count) -> "
    "(Tensor, Tensor)",
    "take_slices_backward(Tensor grad_light, Tensor grad_radius, Tensor color, Tensor alpha, Tensor defocus, Tensor "
    "origin, Tensor scale, int first, Tensor(a!) grad_color, Tensor(b!) grad_alpha, Tensor(c!) grad_defocus, "
    "Tensor(d!) "
    "grad_origin, Tensor(e!) grad_scale) -> ()",
    "cover(Tensor spread, Tensor before, Tensor(a!) picture) -> Tensor",
    "cover_backward(Tensor grad_picture, Tensor spread, Tensor before, Tensor after, Tensor(a!) grad_total) -> Tensor",
    "sharpen(Tensor disparity, Tensor strength, Tensor? linear, int reach) -> Tensor",
    "sharpen_backward(Tensor grad, Tensor disparity, Tensor strength, Tensor? linear, int reach) -> (Tensor, Tensor)",
    "separate(Tensor linear, Tensor disparity, Tensor strength, Tensor? mask) -> (Tensor, Tensor, Tensor, Tensor)",
    "separate_backward(Tensor grad_edge, Tensor grad_coverage, Tensor grad_color, Tensor grad_depth, Tensor linear, "
    "Tensor disparity, Tensor strength, Tensor? mask) -> (Tensor, Tensor, Tensor, Tensor)",
    "push_pull(Tensor values, Tensor weight) -> Tensor",
    "push_pull_backward(Tensor grad, Tensor values, Tensor weight) -> (Tensor, Tensor)",
    "fill_behind(Tensor values, Tensor defocus, Tensor lowest, int reach) -> Tensor",
    "fill_behind_backward(Tensor grad, Tensor values, Tensor defocus, Tensor lowest, int reach) -> (Tensor, Tensor)",
    "weigh_sides(Tensor disparity, Tensor mask, Tensor means, Tensor sure, Tensor least) -> (Tensor, Tensor)",
    "weigh_sides_backward(Tensor grad_weight, Tensor grad_occluder, Tensor disparity, Tensor mask, Tensor means, "
    "Tensor sure, Tensor least) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    "lay_surfaces(Tensor subject, Tensor rest, Tensor? mask, Tensor edge, Tensor coverage, Tensor depth, Tensor focus, "
    "Tensor strength, Tensor slab) -> (Tensor, Tensor)",
    "lay_surfaces_backward(Tensor grad_alpha, Tensor grad_defocus, Tensor subject, Tensor rest, Tensor? mask, Tensor "
    "edge, Tensor coverage, Tensor depth, Tensor focus, Tensor strength, Tensor slab) -> (Tensor, Tensor, Tensor, "
    "Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    "dim_lights(Tensor color, Tensor brightest) -> Tensor",
    "dim_lights_backward(Tensor grad, Tensor color, Tensor brightest) -> (Tensor, Tensor)",
    "find_farthest(Tensor alpha, Tensor color, Tensor defocus) -> (Tensor, Tensor)",
    "find_farthest_backward(Tensor grad_color, Tensor grad_defocus, Tensor alpha, Tensor color, Tensor defocus) -> "
    "(Tensor, Tensor, Tensor)",
    "enlarge(Tensor values, int factor, int height, int width) -> Tensor",
    "enlarge_backward(Tensor grad, int factor, int height, int width) -> Tensor",
    "extend_layers(Tensor color, Tensor alpha, Tensor defocus, Tensor brightest, int margin) -> (Tensor, Tensor, "
    "Tensor)",
    "extend_layers_backward(Tensor grad_color, Tensor grad_alpha, Tensor grad_defocus, Tensor color, Tensor brightest, "
    "int margin) -> (Tensor, Tensor, Tensor, Tensor)",
    "srgb_to_linear(Tensor x) -> Tensor",
    "srgb_to_linear_backward(Tensor grad, Tensor x) -> Tensor",
    "linear_to_srgb(Tensor x) -> Tensor",
    "linear_to_srgb_backward(Tensor grad, Tensor x) -> Tensor",
};

}  // namespace depthbokeh
