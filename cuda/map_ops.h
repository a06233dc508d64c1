// The operators that are functions of every pixel. `Kernels`, which are made of a tensor on their device, run them.
#pragma once

#include <tuple>

#include "map_tensors.h"

namespace depthbokeh {

template <typename Kernels>
std::tuple<Tensor, Tensor> weigh_sides(const Tensor& disparity, const Tensor& mask, const Tensor& means,
                                       const Tensor& sure, const Tensor& least) {
  const MapTensors tensors({disparity, mask, means, sure}, {least});
  const std::vector<Tensor> out = {tensors.empty(2, 1), tensors.empty(1, 1)};
  run_maps<WeighSides>(tensors, out, Kernels(disparity));
  return {out[0], out[1]};
}

template <typename Kernels>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> weigh_sides_backward(const Tensor& grad_weight,
                                                                        const Tensor& grad_occluder,
                                                                        const Tensor& disparity, const Tensor& mask,
                                                                        const Tensor& means, const Tensor& sure,
                                                                        const Tensor& least) {
  const auto found = differentiate_maps<WeighSides>(MapTensors({disparity, mask, means, sure}, {least}),
                                                    {grad_weight, grad_occluder}, Kernels(disparity));
  return {found[0], found[1], found[2], found[3], found[4]};
}

template <typename Kernels>
std::tuple<Tensor, Tensor> lay_surfaces(const Tensor& subject, const Tensor& rest, const std::optional<Tensor>& mask,
                                        const Tensor& edge, const Tensor& coverage, const Tensor& depth,
                                        const Tensor& focus, const Tensor& strength, const Tensor& slab) {
  const MapTensors tensors({subject, rest, mask, edge, coverage, depth}, {focus, strength, slab});
  const std::vector<Tensor> out = {tensors.empty_surfaces(1), tensors.empty_surfaces(1)};
  run_maps<LaySurfaces>(tensors, out, Kernels(subject));
  return {out[0], out[1]};
}

using SurfaceGradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

template <typename Kernels>
SurfaceGradients lay_surfaces_backward(const Tensor& grad_alpha, const Tensor& grad_defocus, const Tensor& subject,
                                       const Tensor& rest, const std::optional<Tensor>& mask, const Tensor& edge,
                                       const Tensor& coverage, const Tensor& depth, const Tensor& focus,
                                       const Tensor& strength, const Tensor& slab) {
  const auto f =
      differentiate_maps<LaySurfaces>(MapTensors({subject, rest, mask, edge, coverage, depth}, {focus, strength, slab}),
                                      {grad_alpha, grad_defocus}, Kernels(subject));
  return {f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8]};
}

template <typename Kernels>
Tensor dim_lights(const Tensor& color, const Tensor& brightest) {
  const MapTensors tensors({color}, {brightest});
  const Tensor out = tensors.empty_like(0);
  run_maps<DimLights>(tensors, {out}, Kernels(color));
  return out;
}

template <typename Kernels>
std::tuple<Tensor, Tensor> dim_lights_backward(const Tensor& grad, const Tensor& color, const Tensor& brightest) {
  const auto found = differentiate_maps<DimLights>(MapTensors({color}, {brightest}), {grad}, Kernels(color));
  return {found[0], found[1]};
}

template <typename Kernels>
std::tuple<Tensor, Tensor> find_farthest(const Tensor& alpha, const Tensor& color, const Tensor& defocus) {
  const MapTensors tensors({alpha, color, defocus}, {});
  const std::vector<Tensor> out = {tensors.empty(1, 3), tensors.empty(1, 1)};
  run_maps<FindFarthest>(tensors, out, Kernels(alpha));
  return {out[0], out[1]};
}

template <typename Kernels>
std::tuple<Tensor, Tensor, Tensor> find_farthest_backward(const Tensor& grad_color, const Tensor& grad_defocus,
                                                          const Tensor& alpha, const Tensor& color,
                                                          const Tensor& defocus) {
  const auto found = differentiate_maps<FindFarthest>(MapTensors({alpha, color, defocus}, {}),
                                                      {grad_color, grad_defocus}, Kernels(alpha));
  return {found[0], found[1], found[2]};
}

}  // namespace depthbokeh

// Registers them with a device's kernels.
#define DEPTHBOKEH_REGISTER_MAPS(m, Kernels)                                               \
  m.impl("weigh_sides", TORCH_BOX(&depthbokeh::weigh_sides<Kernels>));                     \
  m.impl("weigh_sides_backward", TORCH_BOX(&depthbokeh::weigh_sides_backward<Kernels>));   \
  m.impl("lay_surfaces", TORCH_BOX(&depthbokeh::lay_surfaces<Kernels>));                   \
  m.impl("lay_surfaces_backward", TORCH_BOX(&depthbokeh::lay_surfaces_backward<Kernels>)); \
  m.impl("dim_lights", TORCH_BOX(&depthbokeh::dim_lights<Kernels>));                       \
  m.impl("dim_lights_backward", TORCH_BOX(&depthbokeh::dim_lights_backward<Kernels>));     \
  m.impl("find_farthest", TORCH_BOX(&depthbokeh::find_farthest<Kernels>));                 \
  m.impl("find_farthest_backward", TORCH_BOX(&depthbokeh::find_farthest_backward<Kernels>));
