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

// What was made of a pixel within the frame: rows top..bottom and columns left..right of the extended picture.
struct Copies {
  int row, column, top, bottom, left, right;  // `row`, `column`: itself

  template <typename Real>
  DEPTHBOKEH_INLINE Copies(const Framed<Real>& p, int y, int x)
      : row(y + p.margin),
        column(x + p.margin),
        top(y == 0 ? 0 : row),
        bottom(y == p.height - 1 ? row + p.margin : row),
        left(x == 0 ? 0 : column),
        right(x == p.width - 1 ? column + p.margin : column) {}
  DEPTHBOKEH_INLINE bool alone() const { return top == bottom && left == right; }
};

constexpr int kLayerValues = 5;  // red, green, blue, alpha, defocus

template <typename Real>
DEPTHBOKEH_INLINE void add_layer_values(const LayerPlanes<const Real>& from, int64_t layer, int64_t plane, int64_t at,
                                        Real (&sums)[kLayerValues]) {
  for (int c = 0; c < 3; ++c) sums[c] += from.color[(3 * layer + c) * plane + at];
  sums[3] += from.alpha[layer * plane + at];
  sums[4] += from.defocus[layer * plane + at];
}

// The gradients of every row of the extended picture summed over what was made of the first and of the last column:
// (B K, 2, H + 2 margin, kLayerValues). So no pixel at a corner needs to go through all that was made of it.
template <typename Real>
__global__ void __launch_bounds__(kExtendThreads)
    add_up_sides(const __grid_constant__ Framed<Real> p, const __grid_constant__ LayerPlanes<const Real> grad,
                 Real* sides) {
  const int64_t at = int64_t(blockIdx.x) * kExtendThreads + threadIdx.x;
  const int rows = p.height + 2 * p.margin;
  if (at >= p.batch * p.count * 2 * rows) return;
  const int64_t row = at % rows, layer = at / rows / 2;
  const Copies copies(p, 0, at / rows % 2 ? p.width - 1 : 0);
  Real sums[kLayerValues] = {};
  for (int j = copies.left; j <= copies.right; ++j)
    add_layer_values(grad, layer, p.outer_plane(), row * p.outer_width() + j, sums);
  for (int i = 0; i < kLayerValues; ++i) sides[at * kLayerValues + i] = sums[i];
}

// A thread for every pixel of every layer within the frame: it has the gradients of what was made of it. `brightest`: a
// sum for every block.
template <typename Real>
__global__ void __launch_bounds__(kExtendThreads)
    extend_pixels_backward(const __grid_constant__ Framed<Real> p, const Real* color,
                           const __grid_constant__ LayerPlanes<const Real> grad, const Real* sides,
                           const __grid_constant__ LayerPlanes<Real> to, NumberSums<1>* brightest) {
  DEPTHBOKEH_SHARED(SharedNumbers<1>, shared);
  const Pixel pixel(p.plane());
  NumberSums<1> own = {};
  if (pixel.at < p.plane()) {
    const int64_t layer = pixel.picture;
    const int y = static_cast<int>(pixel.at / p.width), x = static_cast<int>(pixel.at % p.width);
    const Copies copies(p, y, x);
    const int64_t begin = int64_t(copies.row) * p.outer_width();
    Real within[kLayerValues] = {}, beyond[kLayerValues] = {};
    add_layer_values(grad, layer, p.outer_plane(), begin + copies.column, within);
    if (!copies.alone()) {
      for (int j = copies.left; j <= copies.right; ++j)
        if (j != copies.column) add_layer_values(grad, layer, p.outer_plane(), begin + j, beyond);
      const int side = x == 0 ? 0 : 1, rows = p.height + 2 * p.margin;
      for (int i = copies.top; i <= copies.bottom; ++i) {
        if (i == copies.row) continue;
        if (copies.left == copies.right) {
          add_layer_values(grad, layer, p.outer_plane(), int64_t(i) * p.outer_width() + copies.column, beyond);
        } else {
          const Real* sums = sides + ((2 * layer + side) * rows + i) * kLayerValues;
          for (int c = 0; c < kLayerValues; ++c) beyond[c] += sums[c];
        }
      }
      Real light[3], outer[3], dimmed[3], number;
      for (int c = 0; c < 3; ++c) {
        light[c] = color[(3 * layer + c) * p.plane() + pixel.at];
        outer[c] = beyond[c];
      }
      DimLights::differentiate(light, p.brightest + layer / p.count, outer, dimmed, &number);
      for (int c = 0; c < 3; ++c) within[c] += dimmed[c];
      for (int c = 3; c < kLayerValues; ++c) within[c] += beyond[c];
      own.value[0] = number;
    }
    for (int c = 0; c < 3; ++c) to.color[(3 * layer + c) * p.plane() + pixel.at] = within[c];
    to.alpha[layer * p.plane() + pixel.at] = within[3];
    to.defocus[layer * p.plane() + pixel.at] = within[4];
  }
  own = reduce_block(shared, own);
  if (threadIdx.x == 0) brightest[blockIdx.x] = own;
}

}  // namespace depthbokeh::cuda
