// Functions of every pixel in CUDA: a thread owns a pixel.
#pragma once

#include "pixel_maps.h"
#include "survey.cuh"

namespace depthbokeh::cuda {

constexpr int kMapThreads = kSurveyThreads;

// The gradients to a picture's numbers: every block has sums, and a block for every picture adds them up.
template <int kCount>
struct NumberSums {
  double value[kCount];

  DEPTHBOKEH_INLINE void add(const NumberSums& other) {
    for (int i = 0; i < kCount; ++i) value[i] += other.value[i];
  }
};

template <int kCount>
using SharedNumbers = NumberSums<kCount>[kMapThreads];

template <int kCount, typename Real>
struct NumberGrads {
  Real* to[kCount];
};

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

template <int kCount, typename Real>
__global__ void __launch_bounds__(kMapThreads) add_up_numbers(const NumberSums<kCount>* sums, int64_t blocks,
                                                              const __grid_constant__ NumberGrads<kCount, Real> to) {
  DEPTHBOKEH_SHARED(SharedNumbers<kCount>, shared);
  NumberSums<kCount> own = {};
  for (int64_t i = threadIdx.x; i < blocks; i += kMapThreads) own.add(sums[blockIdx.x * blocks + i]);
  own = reduce_block(shared, own);
  if (threadIdx.x != 0) return;
  for (int i = 0; i < kCount; ++i) to.to[i][blockIdx.x] = Real(own.value[i]);
}

}  // namespace depthbokeh::cuda
