// The colours on both sides of a depth edge.
#pragma once

#include <cstddef>
#include <cstdint>

namespace depthbokeh {

constexpr int kSideValues = 5;  // red, green, blue, disparity, mask

// Pictures with depth edges: `at` are the pixels of the edges, numbered row by row through all pictures and ascending,
// `low` and `high` the disparities of the far and the near side of each of them.
template <typename Real>
struct EdgePixels {
  const Real* color;      // (B, 3, H, W), linear light
  const Real* disparity;  // (B, 1, H, W)
  const Real* edge;       // (B, 1, H, W), 0..1
  const Real* mask;       // (B, 1, H, W) or null
  int height, width;
  const int64_t* at;  // (N,)
  const Real *low, *high;
  int64_t count;
};

// Means of the near side, of the far side, and the pixel itself: (N, 3, kSideValues).
template <typename Real>
void side_means(const EdgePixels<Real>& p, Real* means);

// From the gradient of the means to those of everything else, which are added to; `mask` may be null.
template <typename Real>
struct EdgeGrads {
  Real *color, *disparity, *edge, *mask, *low, *high;
};

template <typename Real>
void side_means_backward(const EdgePixels<Real>& p, const Real* grad, const EdgeGrads<Real>& to);

}  // namespace depthbokeh
