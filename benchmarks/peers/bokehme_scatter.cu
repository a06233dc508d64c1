// The scatter of BokehMe's classical renderer (Peng et al., CVPR 2022), from its formula: a thread for every source
// pixel, which adds its light to all taps of its disk by atomics, O(r^2).
//   y(p) = sum_q w x(q) / sum_q w,    w = (0.5 + 0.5 tanh(4 (r(q) - |p - q|))) / (r(q)^2 + 0.2)
// over the taps of a square that reaches floor(r) + 1 pixels to every side.
#include "peers.cuh"

namespace depthbokeh::peers {
namespace {

constexpr int kColors = 3;
// This far from the disk's edge the tanh is 1, or -1, in float32.
constexpr float kTail = 2;

// `sums`, (B, 4, H, W): colours times their weight, and the weight; added to.
__global__ void __launch_bounds__(kThreads) scatter_taps(const Pictures p, float* sums) {
  const int64_t index = int64_t(blockIdx.x) * kThreads + threadIdx.x, plane = p.plane();
  if (index >= p.batch * plane) return;
  const int64_t picture = index / plane, at = index % plane;
  const int y = static_cast<int>(at / p.width), x = static_cast<int>(at % p.width);
  const float r = p.radius[index], full = 1 / (r * r + 0.2f);
  const int reach = static_cast<int>(smaller(std::floor(r) + 1, float(larger(p.height, p.width))));
  float light[kColors];
  for (int c = 0; c < kColors; ++c) light[c] = p.image[(picture * kColors + c) * plane + at];
  float* to = sums + picture * (kColors + 1) * plane;
  for (int row = larger(0, y - reach); row <= smaller(p.height - 1, y + reach); ++row)
    for (int column = larger(0, x - reach); column <= smaller(p.width - 1, x + reach); ++column) {
      const float dy = float(row - y), dx = float(column - x), inside = r - std::sqrt(dy * dy + dx * dx);
      if (inside < -kTail) continue;
      const float weight = full * (inside > kTail ? 1 : 0.5f + 0.5f * std::tanh(4 * inside));
      float* tap = to + int64_t(row) * p.width + column;
      for (int c = 0; c < kColors; ++c) atomicAdd(tap + c * plane, weight * light[c]);
      atomicAdd(tap + kColors * plane, weight);
    }
}

__global__ void __launch_bounds__(kThreads) divide(const Pictures p, const float* sums, float* out) {
  const int64_t index = int64_t(blockIdx.x) * kThreads + threadIdx.x, plane = p.plane();
  if (index >= p.batch * plane) return;
  const int64_t picture = index / plane, at = index % plane;
  const float* from = sums + picture * (kColors + 1) * plane + at;
  for (int c = 0; c < kColors; ++c) out[(picture * kColors + c) * plane + at] = from[c * plane] / from[kColors * plane];
}

}  // namespace
}  // namespace depthbokeh::peers

// image and out: (B, 3, H, W), radius: (B, 1, H, W), sums: (B, 4, H, W), of zeros; all contiguous.
extern "C" int bokehme_scatter(const float* image, const float* radius, float* sums, float* out, int64_t batch,
                               int height, int width, void* stream) {
  using namespace depthbokeh::peers;
  const Pictures p{image, radius, batch, height, width};
  const int64_t blocks = ceil_div<int64_t>(batch * p.plane(), kThreads);
  const int error = launch(stream, scatter_taps, blocks, 0, p, sums);
  return error ? error : launch(stream, divide, blocks, 0, p, static_cast<const float*>(sums), out);
}
