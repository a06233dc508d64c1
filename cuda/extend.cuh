// Bilinear enlargement, and layers gone on beyond the frame, in CUDA; depthbokeh/enlarging.py and
// depthbokeh/compositing.py define them. A thread owns what it writes.
#pragma once

#include "maps.cuh"

namespace depthbokeh::cuda {

constexpr int kExtendThreads = kSurveyThreads;

// Squares of factor x factor pixels along one axis, and the pixels between whose middles values are interpolated.
struct Squares {
  int factor, count, pixels;

  // A pixel lies between the middles of two squares: its own, and the one before or after it. Returns the share of the
  // latter, which is its own at the border.
  template <typename Real>
  DEPTHBOKEH_INLINE Real find(int pixel, int& own, int& other) const {
    own = pixel / factor;
    const Real offset = (pixel % factor + Real(0.5)) / factor - Real(0.5);
    other = larger(0, smaller(own + (offset < 0 ? -1 : 1), count - 1));
    return std::abs(offset);
  }
  // What a square counts for a pixel.
  template <typename Real>
  DEPTHBOKEH_INLINE Real weigh(int square, int pixel) const {
    int own, other;
    const Real share = find<Real>(pixel, own, other);
    return (own == square ? 1 - share : 0) + (other == square ? share : 0);
  }
  DEPTHBOKEH_INLINE int first(int square) const { return larger(0, (square - 1) * factor); }
  DEPTHBOKEH_INLINE int end(int square) const { return smaller(pixels, (square + 2) * factor); }
};

template <typename Real>
struct Enlargement {
  const Real* from;
  int64_t planes;
  Squares rows, columns;
};

template <typename Real>
__global__ void __launch_bounds__(kExtendThreads)
    enlarge_squares(const __grid_constant__ Enlargement<Real> p, Real* to) {
  const int64_t at = int64_t(blockIdx.x) * kExtendThreads + threadIdx.x, row = at / p.columns.pixels;
  if (at >= p.planes * p.rows.pixels * p.columns.pixels) return;
  int y, other_y, x, other_x;
  const Real down = p.rows.template find<Real>(static_cast<int>(row % p.rows.pixels), y, other_y);
  const Real right = p.columns.template find<Real>(static_cast<int>(at % p.columns.pixels), x, other_x);
  const Real* plane = p.from + row / p.rows.pixels * p.rows.count * p.columns.count;
  const Real *own = plane + int64_t(y) * p.columns.count, *other = plane + int64_t(other_y) * p.columns.count;
  to[at] = (1 - down) * ((1 - right) * own[x] + right * own[other_x]) +
           down * ((1 - right) * other[x] + right * other[other_x]);
}

// A thread for every square.
template <typename Real>
__global__ void __launch_bounds__(kExtendThreads)
    gather_squares(const __grid_constant__ Enlargement<Real> p, Real* to) {
  const int64_t at = int64_t(blockIdx.x) * kExtendThreads + threadIdx.x, row = at / p.columns.count;
  if (at >= p.planes * p.rows.count * p.columns.count) return;
  const int y = static_cast<int>(row % p.rows.count), x = static_cast<int>(at % p.columns.count);
  const Real* plane = p.from + row / p.rows.count * p.rows.pixels * p.columns.pixels;
  Real sum = 0;
  for (int i = p.rows.first(y); i < p.rows.end(y); ++i) {
    const Real weight = p.rows.template weigh<Real>(y, i);
    if (weight == 0) continue;
    Real part = 0;
    for (int j = p.columns.first(x); j < p.columns.end(x); ++j)
      part += p.columns.template weigh<Real>(x, j) * plane[int64_t(i) * p.columns.pixels + j];
    sum += weight * part;
  }
  to[at] = sum;
}

// Layers of pictures, (B, K, ...), and the frame around them.
template <typename Real>
struct Framed {
  const Real* brightest;  // (B,)
  int64_t batch;
  int count, height, width, margin;

  DEPTHBOKEH_INLINE int64_t plane() const { return int64_t(height) * width; }
  DEPTHBOKEH_INLINE int outer_width() const { return width + 2 * margin; }
  DEPTHBOKEH_INLINE int64_t outer_plane() const { return int64_t(height + 2 * margin) * outer_width(); }
};

template <typename Real>
struct LayerPlanes {
  Real *color, *alpha, *defocus;  // (B, K, 3, H, W), (B, K, 1, H, W) twice
};

// A thread for every pixel of every layer, those of the frame included.
template <typename Real>
__global__ void __launch_bounds__(kExtendThreads)
    extend_pixels(const __grid_constant__ Framed<Real> p, const __grid_constant__ LayerPlanes<const Real> from,
                  const __grid_constant__ LayerPlanes<Real> to) {
  const Pixel pixel(p.outer_plane());  // a layer counts as a picture
  if (pixel.at >= p.outer_plane()) return;
  const int row = static_cast<int>(pixel.at / p.outer_width()) - p.margin;
  const int column = static_cast<int>(pixel.at % p.outer_width()) - p.margin;
  const int y = larger(0, smaller(row, p.height - 1)), x = larger(0, smaller(column, p.width - 1));
  const int64_t where = int64_t(y) * p.width + x, layer = pixel.picture;
  Real color[3], dimmed[3];
  for (int c = 0; c < 3; ++c) dimmed[c] = color[c] = from.color[(3 * layer + c) * p.plane() + where];
  if (y != row || x != column) DimLights::run(color, p.brightest + layer / p.count, dimmed);
  for (int c = 0; c < 3; ++c) to.color[(3 * layer + c) * p.outer_plane() + pixel.at] = dimmed[c];
  to.alpha[layer * p.outer_plane() + pixel.at] = from.alpha[layer * p.plane() + where];
  to.defocus[layer * p.outer_plane() + pixel.at] = from.defocus[layer * p.plane() + where];
}

// A thread for every pixel of every layer within the frame: it has the gradients of what was made of it. `brightest`: a
// sum for every block.
template <typename Real>
__global__ void __launch_bounds__(kExtendThreads)
    extend_pixels_backward(const __grid_constant__ Framed<Real> p, const Real* color,
                           const __grid_constant__ LayerPlanes<const Real> grad,
                           const __grid_constant__ LayerPlanes<Real> to, NumberSums<1>* brightest) {
  DEPTHBOKEH_SHARED(SharedNumbers<1>, shared);
  const Pixel pixel(p.plane());
  NumberSums<1> own = {};
  if (pixel.at < p.plane()) {
    const int64_t layer = pixel.picture, outer = layer * p.outer_plane();
    const int y = static_cast<int>(pixel.at / p.width), x = static_cast<int>(pixel.at % p.width);
    const int top = y == 0 ? 0 : y + p.margin, left = x == 0 ? 0 : x + p.margin;
    const int bottom = y + p.margin + (y == p.height - 1 ? p.margin : 0);
    const int right = x + p.margin + (x == p.width - 1 ? p.margin : 0);
    Real within[3] = {}, beyond[3] = {}, alpha = 0, defocus = 0;
    for (int i = top; i <= bottom; ++i)
      for (int j = left; j <= right; ++j) {
        const int64_t there = int64_t(i) * p.outer_width() + j;
        const bool inside = i == y + p.margin && j == x + p.margin;
        for (int c = 0; c < 3; ++c) {
          const Real value = grad.color[3 * outer + c * p.outer_plane() + there];
          within[c] += inside ? value : 0;
          beyond[c] += inside ? 0 : value;
        }
        alpha += grad.alpha[outer + there];
        defocus += grad.defocus[outer + there];
      }
    if (bottom > top || right > left) {
      Real light[3], dimmed[3], number;
      for (int c = 0; c < 3; ++c) light[c] = color[(3 * layer + c) * p.plane() + pixel.at];
      DimLights::differentiate(light, p.brightest + layer / p.count, beyond, dimmed, &number);
      for (int c = 0; c < 3; ++c) within[c] += dimmed[c];
      own.value[0] = number;
    }
    for (int c = 0; c < 3; ++c) to.color[(3 * layer + c) * p.plane() + pixel.at] = within[c];
    to.alpha[layer * p.plane() + pixel.at] = alpha;
    to.defocus[layer * p.plane() + pixel.at] = defocus;
  }
  own = reduce_block(shared, own);
  if (threadIdx.x == 0) brightest[blockIdx.x] = own;
}

}  // namespace depthbokeh::cuda
