// Functions of every pixel, from tensors to the planes that a device's kernels read and write.
#pragma once

#include <optional>
#include <vector>

#include "pixel_maps.h"
#include "tensors.h"

namespace depthbokeh {

// The maps and numbers of a function of every pixel. A map may have any number of channels, and several maps of all
// pictures may lie one after the other along the first axis.
struct MapTensors {
  std::vector<std::optional<Tensor>> maps;
  std::vector<Tensor> numbers;  // one for every picture
  int64_t batch, height, width;

  MapTensors(const std::vector<std::optional<Tensor>>& maps_, const std::vector<Tensor>& numbers_)
      : batch(maps_[0]->size(0)), height(maps_[0]->size(-2)), width(maps_[0]->size(-1)) {
    const ScalarType type = first_type(*maps_[0]);
    for (const std::optional<Tensor>& map : maps_) maps.push_back(map ? std::optional(check(*map, type)) : map);
    for (const Tensor& values : numbers_) {
      STD_TORCH_CHECK(values.numel() == batch && values.scalar_type() == type && values.device() == device(),
                      "there must be one number for every picture, of the maps' dtype and device");
      numbers.push_back(torch::stable::contiguous(values));
    }
  }

  Tensor check(const Tensor& map, ScalarType type) const {
    STD_TORCH_CHECK(map.scalar_type() == type && (maps.empty() || map.device() == device()),
                    "maps must have one dtype and be on one device");
    STD_TORCH_CHECK(map.dim() >= 4 && map.size(-2) == height && map.size(-1) == width &&
                        (batch == 0 ? map.size(0) == 0 : map.size(0) % batch == 0),
                    "maps must be (B, ..., H, W) of one size");
    return torch::stable::contiguous(map);
  }

  auto device() const -> decltype(maps[0]->device()) { return maps[0]->device(); }
  int64_t pixels() const { return height * width; }

  // Like one of the maps.
  Tensor empty_like(size_t map) const { return torch::stable::new_empty(*maps[map], maps[map]->sizes()); }
  Tensor empty(int64_t pictures, int64_t channels) const {
    return torch::stable::new_empty(*maps[0], {pictures * batch, channels, height, width});
  }
  Tensor empty_surfaces(int64_t channels) const {
    return torch::stable::new_empty(*maps[0], {batch, 2, channels, height, width});
  }
  std::vector<Tensor> empty_numbers() const {
    std::vector<Tensor> made;
    for (const Tensor& values : numbers) made.push_back(torch::stable::new_empty(values, values.sizes()));
    return made;
  }

  // Appends a tensor's planes, for which there is room up to `end`.
  template <typename Real>
  void list(const Tensor& map, MapPlane<Real>*& to, const MapPlane<Real>* end) const {
    using Value = std::remove_const_t<Real>;
    Real* first;
    if constexpr (std::is_const_v<Real>)
      first = map.const_data_ptr<Value>();
    else
      first = map.mutable_data_ptr<Value>();
    const int64_t sets = map.size(0) / batch;
    int64_t channels = 1;
    for (int64_t axis = 1; axis < map.dim() - 2; ++axis) channels *= map.size(axis);
    STD_TORCH_CHECK(sets * channels <= end - to, "maps must have as many channels as the function reads");
    for (int64_t set = 0; set < sets; ++set)
      for (int64_t c = 0; c < channels; ++c)
        *to++ = {first + (set * batch * channels + c) * pixels(), channels * pixels()};
  }

  template <typename Function, typename Real>
  MapTask<Function, Real> task() const {
    MapTask<Function, Real> made = {};
    MapPlane<const Real>* plane = made.in;
    for (const std::optional<Tensor>& map : maps)
      if (map)
        list<const Real>(*map, plane, made.in + Function::kIn);
      else
        *plane++ = {nullptr, 0};
    STD_TORCH_CHECK(plane == made.in + Function::kIn, "maps must have as many channels as the function reads");
    for (int i = 0; i < Function::kNumbers; ++i) made.numbers[i] = numbers[i].const_data_ptr<Real>();
    made.batch = batch, made.pixels = pixels();
    return made;
  }

 private:
  static ScalarType first_type(const Tensor& map) {
    const ScalarType type = map.scalar_type();
    STD_TORCH_CHECK(type == ScalarType::Float || type == ScalarType::Double, "maps must be float32 or float64");
    return type;
  }
};

// Runs a function on all pixels by a device's kernels; the results are written to `out`.
template <typename Function, typename Kernels>
void run_maps(const MapTensors& tensors, const std::vector<Tensor>& out, const Kernels& kernels) {
  if (tensors.batch == 0) return;
  dispatch(out[0], [&](auto real) {
    using Real = decltype(real);
    MapTask<Function, Real> task = tensors.task<Function, Real>();
    MapPlane<Real>* plane = task.to;
    for (const Tensor& map : out) tensors.list<Real>(map, plane, task.to + Function::kOut);
    kernels.run(task);
  });
}

// The gradients to all maps that there are and then to all numbers.
template <typename Function, typename Kernels>
std::vector<Tensor> differentiate_maps(const MapTensors& tensors, const std::vector<Tensor>& grads,
                                       const Kernels& kernels) {
  std::vector<Tensor> found, outer;
  for (size_t i = 0; i < tensors.maps.size(); ++i)
    found.push_back(tensors.maps[i] ? tensors.empty_like(i) : torch::stable::new_empty(*tensors.maps[0], {0}));
  const std::vector<Tensor> to_numbers = tensors.empty_numbers();
  for (const Tensor& grad : grads) outer.push_back(tensors.check(grad, tensors.maps[0]->scalar_type()));
  if (tensors.batch)
    dispatch(found[0], [&](auto real) {
      using Real = decltype(real);
      MapTask<Function, Real> task = tensors.task<Function, Real>();
      MapPlane<const Real>* plane = task.grad;
      for (const Tensor& grad : outer) tensors.list<const Real>(grad, plane, task.grad + Function::kOut);
      STD_TORCH_CHECK(plane == task.grad + Function::kOut, "gradients must have as many channels as the results");
      MapPlane<Real>* to = task.to;
      for (size_t i = 0; i < found.size(); ++i)
        if (tensors.maps[i])
          tensors.list<Real>(found[i], to, task.to + Function::kIn);
        else
          *to++ = {nullptr, 0};
      Real* sums[MapTask<Function, Real>::kSlots] = {};
      for (int i = 0; i < Function::kNumbers; ++i) sums[i] = to_numbers[i].mutable_data_ptr<Real>();
      kernels.differentiate(task, sums);
    });
  found.insert(found.end(), to_numbers.begin(), to_numbers.end());
  return found;
}

}  // namespace depthbokeh
