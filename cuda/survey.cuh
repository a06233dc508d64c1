// What the kernels ask of a picture beforehand: how far its pixels reach and how bright they are, by tiles.
#pragma once

#include "shape.cuh"

namespace depthbokeh::cuda {

constexpr int kTile = 32;            // side of a tile
constexpr int kSurveyThreads = 256;  // a power of two

template <typename Real>
struct Facts {
  Real smallest, largest;  // radius, that of pixels that are not blurred being 0
  Real brightest;          // magnitude in any channel
  double roots;            // sum of the square roots of magnitudes

  DEPTHBOKEH_INLINE static Facts none() { return {Real(INFINITY), 0, 0, 0}; }
  DEPTHBOKEH_INLINE void add(const Facts& other) {
    smallest = smaller(smallest, other.smallest);
    largest = larger(largest, other.largest);
    brightest = larger(brightest, other.brightest);
    roots += other.roots;
  }
};

template <typename Real>
struct Survey {
  Facts<Real>* tiles;   // (B, rows, columns)
  Facts<Real>* images;  // (B,)
  int rows, columns;
  int64_t values;  // of an image

  DEPTHBOKEH_INLINE const Facts<Real>& tile(int64_t image, int row, int column) const {
    return tiles[(image * rows + row) * columns + column];
  }
  // Running sums in float lose what is 1e-7 of the brightest value; see find_dazzling in cpu/tiles.h.
  DEPTHBOKEH_INLINE Real dazzling(int64_t image) const {
    const double mean = images[image].roots / double(values);
    return larger(Real(4), Real(32 * mean * mean));
  }
};

template <typename Real>
using SharedFacts = Facts<Real>[kSurveyThreads];

// Adds up what the threads of a block have found; thread 0 gets the sum. The order is always the same.
template <typename Found>
__device__ Found reduce_block(Found (&shared)[kSurveyThreads], const Found& own) {
  shared[threadIdx.x] = own;
  for (int half = kSurveyThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half) shared[threadIdx.x].add(shared[threadIdx.x + half]);
  }
  return shared[threadIdx.x];
}

// The pixel of a thread, where every picture has blocks of its own.
struct Pixel {
  int64_t picture, at;

  __device__ explicit Pixel(int64_t pixels) {
    const int64_t blocks = ceil_div<int64_t>(pixels, kSurveyThreads);
    picture = blockIdx.x / blocks;
    at = blockIdx.x % blocks * kSurveyThreads + threadIdx.x;
  }
};

// The gradients to a picture's numbers: every block has sums, and a block for every picture adds them up.
template <int kCount>
struct NumberSums {
  double value[kCount];

  DEPTHBOKEH_INLINE void add(const NumberSums& other) {
    for (int i = 0; i < kCount; ++i) value[i] += other.value[i];
  }
};

template <int kCount>
using SharedNumbers = NumberSums<kCount>[kSurveyThreads];

template <int kCount, typename Real>
struct NumberGrads {
  Real* to[kCount];
};

template <int kCount, typename Real>
__global__ void __launch_bounds__(kSurveyThreads) add_up_numbers(const NumberSums<kCount>* sums, int64_t blocks,
                                                                 const __grid_constant__ NumberGrads<kCount, Real> to) {
  DEPTHBOKEH_SHARED(SharedNumbers<kCount>, shared);
  NumberSums<kCount> own = {};
  for (int64_t i = threadIdx.x; i < blocks; i += kSurveyThreads) own.add(sums[blockIdx.x * blocks + i]);
  own = reduce_block(shared, own);
  if (threadIdx.x != 0) return;
  for (int i = 0; i < kCount; ++i) to.to[i][blockIdx.x] = Real(own.value[i]);
}

// A block for every tile.
template <typename Real>
__global__ void __launch_bounds__(kSurveyThreads)
    survey_tiles(const Picture<Real> p, const __grid_constant__ Shape<Real> shape, const Survey<Real> survey) {
  DEPTHBOKEH_SHARED(SharedFacts<Real>, shared);
  const int64_t tile = blockIdx.x, image = tile / (int64_t(survey.rows) * survey.columns);
  const int row = static_cast<int>(tile / survey.columns % survey.rows);
  const int column = static_cast<int>(tile % survey.columns);
  // A thread has some pixels of a column, loaded together.
  constexpr int kStep = kSurveyThreads / kTile, kEach = kTile / kStep;
  const int x = column * kTile + threadIdx.x % kTile, top = row * kTile + threadIdx.x / kTile;
  const int count = x < p.width ? smaller(kEach, ceil_div(larger(0, p.height - top), kStep)) : 0;
  const auto load = [&](const Real* plane, Real(&values)[kEach]) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) values[i] = i < count ? plane[int64_t(top + i * kStep) * p.width + x] : 0;
  };
  Facts<Real> own = Facts<Real>::none();
  Real values[kEach], roots = 0;
  load(p.radius + image * p.plane(), values);
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const Real blurred = shape.blurs(values[i]) ? values[i] : 0;
    own.largest = larger(own.largest, blurred);
    if (i < count) own.smallest = smaller(own.smallest, blurred);
  }
  for (int64_t c = 0; c < p.channels; ++c) {
    load(p.image + (image * p.channels + c) * p.plane(), values);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const Real light = std::abs(values[i]);
      own.brightest = larger(own.brightest, light);
      roots += quick_root(light);
    }
  }
  own.roots = roots;
  own = reduce_block(shared, own);
  if (threadIdx.x == 0) survey.tiles[tile] = own;
}

// A block for every image.
template <typename Real>
__global__ void __launch_bounds__(kSurveyThreads) survey_images(const Survey<Real> survey) {
  DEPTHBOKEH_SHARED(SharedFacts<Real>, shared);
  const int64_t tiles = int64_t(survey.rows) * survey.columns;
  Facts<Real> own = Facts<Real>::none();
  for (int64_t i = threadIdx.x; i < tiles; i += kSurveyThreads) own.add(survey.tiles[blockIdx.x * tiles + i]);
  own = reduce_block(shared, own);
  if (threadIdx.x == 0) survey.images[blockIdx.x] = own;
}

}  // namespace depthbokeh::cuda
