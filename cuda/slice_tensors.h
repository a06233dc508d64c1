// What the operators on depth slices check of their tensors, on every device.
#pragma once

#include <initializer_list>

#include "tensors.h"

namespace depthbokeh {

// Of the type of the first one, contiguous, and where it is: what the kernels take their pointers from.
inline void check_alike(std::initializer_list<const Tensor*> tensors) {
  const Tensor& first = **tensors.begin();
  const ScalarType type = first.scalar_type();
  STD_TORCH_CHECK(type == ScalarType::Float || type == ScalarType::Double, "layers must be float32 or float64");
  for (const Tensor* t : tensors) {
    STD_TORCH_CHECK(t->scalar_type() == type, "all tensors of a slice must have one dtype");
    STD_TORCH_CHECK(t->is_contiguous(), "all tensors of a slice must be contiguous");
    STD_TORCH_CHECK(t->device() == first.device(), "all tensors of a slice must be on one device");
  }
}

inline void check_layers(const Tensor& color, const Tensor& alpha, const Tensor& defocus, const Tensor& origin,
                         const Tensor& scale) {
  check_alike({&color, &alpha, &defocus, &origin, &scale});
  STD_TORCH_CHECK(color.dim() == 5 && color.size(2) == 3, "color must be (B, K, 3, H, W)");
  const int64_t shape[5] = {color.size(0), color.size(1), 1, color.size(3), color.size(4)};
  for (const Tensor* t : {&alpha, &defocus}) {
    STD_TORCH_CHECK(t->dim() == 5, "alpha and defocus must be (B, K, 1, H, W)");
    for (int i = 0; i < 5; ++i) STD_TORCH_CHECK(t->size(i) == shape[i], "alpha and defocus must be (B, K, 1, H, W)");
  }
  STD_TORCH_CHECK(origin.numel() == color.size(0) && scale.numel() == color.size(0),
                  "origin and scale must have one value for every picture");
}

// Slices lie one after the other along the first axis. Returns how many there are of each picture.
inline int64_t count_slices(const Tensor& slices, int64_t batch) {
  STD_TORCH_CHECK(batch == 0 ? slices.size(0) == 0 : slices.size(0) % batch == 0,
                  "slices must be as many for every picture");
  return batch ? slices.size(0) / batch : 0;
}

// `layers`: the gradients to colour, alpha, defocus, origin and scale. Returns how many slices there are.
inline int64_t check_layer_grads(const Tensor& color, const Tensor& light, const Tensor& radius,
                                 std::initializer_list<const Tensor*> layers) {
  const int64_t batch = color.size(0), count = color.size(1), pixels = color.size(3) * color.size(4);
  check_alike({&color, &light, &radius});
  const int64_t slices = count_slices(light, batch);
  STD_TORCH_CHECK(light.numel() == 4 * slices * batch * pixels && radius.numel() == slices * batch * pixels,
                  "gradients of slices must have their shapes");
  const int64_t surfaces = batch * count * pixels, sizes[5] = {3 * surfaces, surfaces, surfaces, batch, batch};
  const int64_t* size = sizes;
  for (const Tensor* t : layers) {
    check_alike({&color, t});
    STD_TORCH_CHECK(t->numel() == *size++, "gradients of layers must have their shapes");
  }
  return slices;
}

// `totals` are of the pictures, `afters` of the slices. Returns how many slices there are.
inline int64_t check_cover(const Tensor& spread, const Tensor& picture, std::initializer_list<const Tensor*> totals,
                           std::initializer_list<const Tensor*> afters) {
  check_alike({&spread, &picture});
  STD_TORCH_CHECK(spread.dim() == 4 && spread.size(1) == 4, "spread must be (N B, 4, H, W)");
  STD_TORCH_CHECK(picture.dim() == 4 && picture.size(1) == 3 && picture.size(2) == spread.size(2) &&
                      picture.size(3) == spread.size(3),
                  "picture must be (B, 3, H, W)");
  for (const Tensor* total : totals) {
    check_alike({&spread, total});
    STD_TORCH_CHECK(3 * total->numel() == picture.numel(), "coverage must be (B, 1, H, W)");
  }
  for (const Tensor* after : afters) {
    check_alike({&spread, after});
    STD_TORCH_CHECK(4 * after->numel() == spread.numel(), "coverage with slices must be (N B, 1, H, W)");
  }
  return count_slices(spread, picture.size(0));
}

}  // namespace depthbokeh
