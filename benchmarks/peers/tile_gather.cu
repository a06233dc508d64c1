// The same disk as the yardstick on the CPU (tap_loop.cpp), gathered by tiles: a block owns 16 x 16 pixels of the
// result and goes through the tiles that any light may come from, one after the other in shared memory; a thread tests
// every source of a tile. No atomics, O(R^2) with the largest radius R around.
//   weight = clamp(r(q) + 1/2 - |p - q|, 0, 1) / (pi r(q)^2)
#include "peers.cuh"

namespace depthbokeh::peers {
namespace {

constexpr int kChannels = 4, kSide = 16;
static_assert(kSide * kSide == kThreads);
constexpr float kTau = 6.28318531f;

struct Tiles {
  int down, across;
  float* largest;  // (B, down, across): radius

  DEPTHBOKEH_INLINE float& at(int64_t picture, int row, int column) const {
    return largest[(picture * down + row) * across + column];
  }
};

// The tile and the pixel of a thread.
struct Spot {
  int64_t picture;
  int tile_row, tile_column, y, x;

  __device__ explicit Spot(const Tiles& tiles) {
    const int64_t index = blockIdx.x;
    tile_column = static_cast<int>(index % tiles.across);
    tile_row = static_cast<int>(index / tiles.across % tiles.down);
    picture = index / tiles.across / tiles.down;
    y = tile_row * kSide + threadIdx.x / kSide;
    x = tile_column * kSide + threadIdx.x % kSide;
  }
};

using Radii = float[kThreads];

__global__ void __launch_bounds__(kThreads) find_largest(const Pictures p, const Tiles tiles) {
  DEPTHBOKEH_SHARED(Radii, shared);
  const Spot own(tiles);
  const bool there = own.y < p.height && own.x < p.width;
  shared[threadIdx.x] = there ? p.radius[own.picture * p.plane() + int64_t(own.y) * p.width + own.x] : 0;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half) shared[threadIdx.x] = larger(shared[threadIdx.x], shared[threadIdx.x + half]);
  }
  if (threadIdx.x == 0) tiles.at(own.picture, own.tile_row, own.tile_column) = shared[0];
}

struct Sources {
  float radius[kThreads], light[kChannels][kThreads];  // light of a whole tap
};

// The least distance between pixels of two tiles that lie so many tiles apart.
__device__ inline float gap(int tiles) { return tiles ? float((tiles < 0 ? -tiles : tiles) - 1) * kSide + 1 : 0; }

__global__ void __launch_bounds__(kThreads) gather_tiles(const Pictures p, const Tiles tiles, int reach, float* out) {
  DEPTHBOKEH_SHARED(Sources, shared);
  const Spot own(tiles);
  const int around = ceil_div(reach, kSide);
  float sums[kChannels] = {};
  for (int i = larger(0, own.tile_row - around); i <= smaller(tiles.down - 1, own.tile_row + around); ++i)
    for (int j = larger(0, own.tile_column - around); j <= smaller(tiles.across - 1, own.tile_column + around); ++j) {
      const float down = gap(i - own.tile_row), across = gap(j - own.tile_column);
      if (std::sqrt(down * down + across * across) >= tiles.at(own.picture, i, j) + 0.5f) continue;
      __syncthreads();
      const int y = i * kSide + threadIdx.x / kSide, x = j * kSide + threadIdx.x % kSide;
      const bool there = y < p.height && x < p.width;
      const int64_t at = int64_t(y) * p.width + x;
      const float r = there ? p.radius[own.picture * p.plane() + at] : 0;
      // Below half a pixel there is one tap of weight r + 1/2 alone: it keeps all light.
      const float share = 1 / larger(kTau / 2 * r * r, smaller(r + 0.5f, 1.0f));
      shared.radius[threadIdx.x] = r;
      for (int c = 0; c < kChannels; ++c)
        shared.light[c][threadIdx.x] = there ? share * p.image[(own.picture * kChannels + c) * p.plane() + at] : 0;
      __syncthreads();
      for (int k = 0; k < kThreads; ++k) {
        const float dy = float(i * kSide + k / kSide - own.y), dx = float(j * kSide + k % kSide - own.x);
        const float inside = shared.radius[k] + 0.5f - std::sqrt(dy * dy + dx * dx);
        if (inside <= 0) continue;
        for (int c = 0; c < kChannels; ++c) sums[c] += smaller(inside, 1.0f) * shared.light[c][k];
      }
    }
  if (own.y >= p.height || own.x >= p.width) return;
  const int64_t at = int64_t(own.y) * p.width + own.x;
  for (int c = 0; c < kChannels; ++c) out[(own.picture * kChannels + c) * p.plane() + at] = sums[c];
}

}  // namespace
}  // namespace depthbokeh::peers

// image and out: (B, 4, H, W), radius: (B, 1, H, W), 0..most, largest: one for every tile of 16 x 16; all contiguous.
extern "C" int tile_gather(const float* image, const float* radius, float* largest, float* out, int64_t batch,
                           int height, int width, float most, void* stream) {
  using namespace depthbokeh::peers;
  const Pictures p{image, radius, batch, height, width};
  const Tiles tiles{ceil_div(height, kSide), ceil_div(width, kSide), largest};
  const int64_t blocks = batch * tiles.down * tiles.across;
  const int reach = static_cast<int>(smaller(most, float(larger(height, width)))) + 1;
  const int error = launch(stream, find_largest, blocks, sizeof(Radii), p, tiles);
  return error ? error : launch(stream, gather_tiles, blocks, sizeof(Sources), p, tiles, reach, out);
}
