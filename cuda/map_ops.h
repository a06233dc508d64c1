// The operators that are functions of every pixel, for any device's kernels.
#pragma once

#include <tuple>

#include "map_tensors.h"

namespace depthbokeh {

template <typename Kernels>
std::tuple<Tensor, Tensor> weigh_sides(const Tensor& disparity, const Tensor& mask, const Tensor& means,
                                       const Tensor& sure, const Tensor& least, const Kernels& kernels) {
  const MapTensors tensors({disparity, mask, means, sure}, {least});
  const std::vector<Tensor> out = {tensors.empty(2, 1), tensors.empty(1, 1)};
  run_maps<WeighSides>(tensors, out, kernels);
  return {out[0], out[1]};
}

template <typename Kernels>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> weigh_sides_backward(const Tensor& grad_weight,
                                                                        const Tensor& grad_occluder,
                                                                        const Tensor& disparity, const Tensor& mask,
                                                                        const Tensor& means, const Tensor& sure,
                                                                        const Tensor& least, const Kernels& kernels) {
  const auto found = differentiate_maps<WeighSides>(MapTensors({disparity, mask, means, sure}, {least}),
                                                    {grad_weight, grad_occluder}, kernels);
  return {found[0], found[1], found[2], found[3], found[4]};
}

template <typename Kernels>
std::tuple<Tensor, Tensor> lay_surfaces(const Tensor& subject, const Tensor& rest, const std::optional<Tensor>& mask,
                                        const Tensor& edge, const Tensor& coverage, const Tensor& depth,
                                        const Tensor& focus, const Tensor& strength, const Tensor& slab,
                                        const Kernels& kernels) {
  const MapTensors tensors({subject, rest, mask, edge, coverage, depth}, {focus, strength, slab});
  const std::vector<Tensor> out = {tensors.empty_surfaces(1), tensors.empty_surfaces(1)};
  run_maps<LaySurfaces>(tensors, out, kernels);
  return {out[0], out[1]};
}

using SurfaceGradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

template <typename Kernels>
SurfaceGradients lay_surfaces_backward(const Tensor& grad_alpha, const Tensor& grad_defocus, const Tensor& subject,
                                       const Tensor& rest, const std::optional<Tensor>& mask, const Tensor& edge,
                                       const Tensor& coverage, const Tensor& depth, const Tensor& focus,
                                       const Tensor& strength, const Tensor& slab, const Kernels& kernels) {
  const auto f =
      differentiate_maps<LaySurfaces>(MapTensors({subject, rest, mask, edge, coverage, depth}, {focus, strength, slab}),
                                      {grad_alpha, grad_defocus}, kernels);
  return {f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8]};
}

template <typename Kernels>
Tensor dim_lights(const Tensor& color, const Tensor& brightest, const Kernels& kernels) {
  const MapTensors tensors({color}, {brightest});
  const Tensor out = tensors.empty_like(0);
  run_maps<DimLights>(tensors, {out}, kernels);
  return out;
}

template <typename Kernels>
std::tuple<Tensor, Tensor> dim_lights_backward(const Tensor& grad, const Tensor& color, const Tensor& brightest,
                                               const Kernels& kernels) {
  const auto found = differentiate_maps<DimLights>(MapTensors({color}, {brightest}), {grad}, kernels);
  return {found[0], found[1]};
}

template <typename Kernels>
std::tuple<Tensor, Tensor> find_farthest(const Tensor& alpha, const Tensor& color, const Tensor& defocus,
                                         const Kernels& kernels) {
  const MapTensors tensors({alpha, color, defocus}, {});
  const std::vector<Tensor> out = {tensors.empty(1, 3), tensors.empty(1, 1)};
  run_maps<FindFarthest>(tensors, out, kernels);
  return {out[0], out[1]};
}

template <typename Kernels>
std::tuple<Tensor, Tensor, Tensor> find_farthest_backward(const Tensor& grad_color, const Tensor& grad_defocus,
                                                          const Tensor& alpha, const Tensor& color,
                                                          const Tensor& defocus, const Kernels& kernels) {
  const auto found =
      differentiate_maps<FindFarthest>(MapTensors({alpha, color, defocus}, {}), {grad_color, grad_defocus}, kernels);
  return {found[0], found[1], found[2]};
}

}  // namespace depthbokeh

// The functions above with a device's kernels, which make_kernels(tensor) makes, under names that torch can register.
#define DEPTHBOKEH_MAP_OPERATORS(make_kernels)                                                                        \
  std::tuple<Tensor, Tensor> run_weigh_sides(const Tensor& disparity, const Tensor& mask, const Tensor& means,        \
                                             const Tensor& sure, const Tensor& least) {                               \
    return weigh_sides(disparity, mask, means, sure, least, make_kernels(disparity));                                 \
  }                                                                                                                   \
  std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> run_weigh_sides_backward(                                        \
      const Tensor& grad_weight, const Tensor& grad_occluder, const Tensor& disparity, const Tensor& mask,            \
      const Tensor& means, const Tensor& sure, const Tensor& least) {                                                 \
    return weigh_sides_backward(grad_weight, grad_occluder, disparity, mask, means, sure, least,                      \
                                make_kernels(disparity));                                                             \
  }                                                                                                                   \
  std::tuple<Tensor, Tensor> run_lay_surfaces(                                                                        \
      const Tensor& subject, const Tensor& rest, const std::optional<Tensor>& mask, const Tensor& edge,               \
      const Tensor& coverage, const Tensor& depth, const Tensor& focus, const Tensor& strength, const Tensor& slab) { \
    return lay_surfaces(subject, rest, mask, edge, coverage, depth, focus, strength, slab, make_kernels(subject));    \
  }                                                                                                                   \
  SurfaceGradients run_lay_surfaces_backward(                                                                         \
      const Tensor& grad_alpha, const Tensor& grad_defocus, const Tensor& subject, const Tensor& rest,                \
      const std::optional<Tensor>& mask, const Tensor& edge, const Tensor& coverage, const Tensor& depth,             \
      const Tensor& focus, const Tensor& strength, const Tensor& slab) {                                              \
    return lay_surfaces_backward(grad_alpha, grad_defocus, subject, rest, mask, edge, coverage, depth, focus,         \
                                 strength, slab, make_kernels(subject));                                              \
  }                                                                                                                   \
  Tensor run_dim_lights(const Tensor& color, const Tensor& brightest) {                                               \
    return dim_lights(color, brightest, make_kernels(color));                                                         \
  }                                                                                                                   \
  std::tuple<Tensor, Tensor> run_dim_lights_backward(const Tensor& grad, const Tensor& color,                         \
                                                     const Tensor& brightest) {                                       \
    return dim_lights_backward(grad, color, brightest, make_kernels(color));                                          \
  }                                                                                                                   \
  std::tuple<Tensor, Tensor> run_find_farthest(const Tensor& alpha, const Tensor& color, const Tensor& defocus) {     \
    return find_farthest(alpha, color, defocus, make_kernels(alpha));                                                 \
  }                                                                                                                   \
  std::tuple<Tensor, Tensor, Tensor> run_find_farthest_backward(const Tensor& grad_color, const Tensor& grad_defocus, \
                                                                const Tensor& alpha, const Tensor& color,             \
                                                                const Tensor& defocus) {                              \
    return find_farthest_backward(grad_color, grad_defocus, alpha, color, defocus, make_kernels(alpha));              \
  }

#define DEPTHBOKEH_REGISTER_MAPS(m)                                       \
  m.impl("weigh_sides", TORCH_BOX(&run_weigh_sides));                     \
  m.impl("weigh_sides_backward", TORCH_BOX(&run_weigh_sides_backward));   \
  m.impl("lay_surfaces", TORCH_BOX(&run_lay_surfaces));                   \
  m.impl("lay_surfaces_backward", TORCH_BOX(&run_lay_surfaces_backward)); \
  m.impl("dim_lights", TORCH_BOX(&run_dim_lights));                       \
  m.impl("dim_lights_backward", TORCH_BOX(&run_dim_lights_backward));     \
  m.impl("find_farthest", TORCH_BOX(&run_find_farthest));                 \
  m.impl("find_farthest_backward", TORCH_BOX(&run_find_farthest_backward));
