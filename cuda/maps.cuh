// Functions of every pixel in CUDA: a thread owns a pixel.
#pragma once

#include "pixel_maps.h"
#include "survey.cuh"

namespace depthbokeh::cuda {

constexpr int kMapThreads = kSurveyThreads;

template <typename Function, typename Real>
__global__ void __launch_bounds__(kMapThreads) map_pixels(const __grid_constant__ MapTask<Function, Real> task) {
  const Pixel pixel(task.pixels);
  if (pixel.at < task.pixels) task.run(pixel.picture, pixel.at);
}

template <typename Function, typename Real>
__global__ void __launch_bounds__(kMapThreads)
    differentiate_pixels_of(const __grid_constant__ MapTask<Function, Real> task,
                            NumberSums<MapTask<Function, Real>::kSlots>* sums) {
  constexpr int kSlots = MapTask<Function, Real>::kSlots;
  DEPTHBOKEH_SHARED(SharedNumbers<kSlots>, shared);
  const Pixel pixel(task.pixels);
  NumberSums<kSlots> own = {};
  if (pixel.at < task.pixels) task.differentiate(pixel.picture, pixel.at, own.value);
  if (Function::kNumbers == 0) return;
  own = reduce_block(shared, own);
  if (threadIdx.x == 0) sums[blockIdx.x] = own;
}

}  // namespace depthbokeh::cuda
