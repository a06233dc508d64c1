// scatter_blur in CUDA. As on the CPU every source adds its light at the left end of each of its rows and takes it away
// at the right end, and a running sum along x makes rows out of ends. A warp owns a slab of the output, and each of its
// lanes one row and channel of it, so no two threads ever add to the same place: no atomics, always the same order.
#pragma once

#include "survey.cuh"

namespace depthbokeh::cuda {

constexpr int kSlabWidth = 64;
// One cell past the end takes what a right end at the edge leaves. With this pitch lanes of neighbouring rows, whose
// ends lie nearly below each other, meet different banks.
constexpr int kSlabPitch = kSlabWidth + 3;

template <typename Real>
struct ScatterTask {
  Picture<Real> picture;
  Shape<Real> shape;
  Survey<Real> survey;
  bool slope;
};

// kChannels channels of 32 / kChannels rows, for as many neighbouring sources at a time.
template <typename Acc, int kChannels, typename Real>
struct Slab {
  static constexpr int kRows = kWarp / kChannels;

  Acc ends[kRows][kSlabPitch][kChannels];
  Real light[kWarp][kChannels];  // of 32 sources, per area of their disks
  Real radius[kWarp];
};

template <typename Acc>
constexpr int kSlabs = sizeof(Acc) == sizeof(float) ? 4 : 2;  // in a block, one for every warp

// Where a slab lies, and what reaches it.
struct Place {
  int64_t image, first_channel;
  int x0, y0, rows, channels;  // rows, channels: of those it has room for
};

template <int kChannels, typename Real>
DEPTHBOKEH_INLINE Place find_place(const Picture<Real>& p, int64_t index) {
  constexpr int kRows = kWarp / kChannels;
  const int64_t down = ceil_div(p.height, kRows), across = ceil_div(p.width, kSlabWidth);
  const int64_t groups = ceil_div<int64_t>(p.channels, kChannels);
  Place place;
  place.y0 = static_cast<int>(index % down) * kRows;
  place.x0 = static_cast<int>(index / down % across) * kSlabWidth;
  place.first_channel = index / (down * across) % groups * kChannels;
  place.image = index / (down * across * groups);
  place.rows = smaller(kRows, p.height - place.y0);
  place.channels = static_cast<int>(smaller<int64_t>(kChannels, p.channels - place.first_channel));
  return place;
}

template <int kChannels, typename Real>
__host__ __device__ inline int64_t count_slabs(const Picture<Real>& p) {
  return p.batch * ceil_div<int64_t>(p.channels, kChannels) * ceil_div(p.height, kWarp / kChannels) *
         ceil_div(p.width, kSlabWidth);
}

template <typename Acc, int kChannels, typename Outline, typename Real>
struct ScatterWarp {
  using Slabs = Slab<Acc, kChannels, Real>;

  const ScatterTask<Real>& task;
  const Place& place;
  Slabs& slab;
  int lane;

  __device__ int row() const { return lane / kChannels; }
  __device__ int channel() const { return lane % kChannels; }

  // Whether light from rows y0..y1 and columns x0..x1 of the picture gets here if no radius there exceeds r.
  __device__ bool within_reach(Real r, int x0, int x1, int y0, int y1) const {
    const Picture<Real>& p = task.picture;
    const int columns = task.shape.columns(r, p.width);
    return task.shape.blurs(r) && y1 + task.shape.rows_below(r, p.height) >= place.y0 &&
           y0 - task.shape.rows_above(r, p.height) < place.y0 + place.rows && x1 + columns >= place.x0 &&
           x0 - columns < place.x0 + kSlabWidth;
  }

  // Calls visit(tile row, tile column) for all tiles from which light gets here.
  template <typename Visit>
  __device__ void for_each_tile(const Visit& visit) const {
    const Picture<Real>& p = task.picture;
    const Real largest = task.survey.images[place.image].largest;
    const int columns = task.shape.columns(largest, p.width);
    const int top = larger(0, place.y0 - task.shape.rows_below(largest, p.height)) / kTile;
    const int bottom =
        smaller(p.height - 1, place.y0 + place.rows - 1 + task.shape.rows_above(largest, p.height)) / kTile;
    const int left = larger(0, place.x0 - columns) / kTile;
    const int right = smaller(p.width - 1, place.x0 + kSlabWidth - 1 + columns) / kTile;
    for (int i = top; i <= bottom; ++i)
      for (int j = left; j <= right; ++j) {
        const Real most = task.survey.tile(place.image, i, j).largest;
        if (within_reach(most, j * kTile, (j + 1) * kTile - 1, i * kTile, (i + 1) * kTile - 1)) visit(i, j);
      }
  }

  // Whether float is not enough for the running sums here.
  __device__ bool dazzled() const {
    const Real limit = task.survey.dazzling(place.image);
    bool found = false;
    if (task.survey.images[place.image].brightest > limit)
      for_each_tile([&](int i, int j) { found = found || task.survey.tile(place.image, i, j).brightest > limit; });
    return found;
  }

  __device__ void clear() {
    Acc* cell = &slab.ends[0][0][0];
    for (int i = lane; i < int(sizeof(slab.ends) / sizeof(Acc)); i += kWarp) cell[i] = 0;
  }

  // One end at `edge`, from the slab's left side. `moved` is the light that the derivative moves along with it.
  __device__ void deposit(Real edge, Acc light, Acc moved) {
    const int at = static_cast<int>(edge);
    const Acc share = light * Acc(edge - at) + moved;
    slab.ends[row()][at][channel()] += light - share;
    slab.ends[row()][at + 1][channel()] += share;
  }

  // The row of a source at (x, y) that falls into this lane's row, its ends within the slab.
  __device__ Row<Real> find_row(const Outline& outline, int x, int y) const {
    const int dy = place.y0 + row() - y;
    Row<Real> found =
        outline.row(dy, outline.level(dy - Real(0.5), task.slope), outline.level(dy + Real(0.5), task.slope));
    const Real middle = x - place.x0 + Real(0.5);
    clamp_end(middle, found.left, found.left_slope);
    clamp_end(middle, found.right, found.right_slope);
    return found;
  }

  __device__ static void clamp_end(Real middle, Real& end, Real& slope) {
    const Real edge = middle + end;
    end = larger(Real(0), smaller(edge, Real(kSlabWidth)));
    if (end != edge) slope = 0;
  }

  // The sources (x + i, y) for all bits i of `mask`, kChannels at a time: every lane of a row of the slab finds the
  // ends of one of them, then each adds its own channel of them all.
  __device__ void spread(unsigned mask, int x, int y) {
    while (mask) {
      int sources[kChannels], own = -1;
#pragma unroll
      for (int i = 0; i < kChannels; ++i) {
        const int next = __ffs(mask) - 1;  // -1 when there are no more
        mask &= mask - 1;
        own = channel() == i ? next : own;
        sources[i] = next;
      }
      for (int part = 0; part < Outline::parts(task.shape); ++part) {
        const Real sign = Outline::sign(task.shape, part);
        Row<Real> found{};
        if (own >= 0) found = find_row(Outline(task.shape, part, slab.radius[own]), x + own, y);
#pragma unroll
        for (int i = 0; i < kChannels; ++i) {
          if (sources[i] < 0) continue;
          const int from = lane - channel() + i;
          const Real left = __shfl_sync(kWholeWarp, found.left, from),
                     right = __shfl_sync(kWholeWarp, found.right, from);
          const Real light = sign * slab.light[sources[i]][channel()];
          if (!task.slope) {
            if (left < right) deposit(left, light, 0), deposit(right, -Acc(light), 0);
            continue;
          }
          const Real left_slope = __shfl_sync(kWholeWarp, found.left_slope, from);
          const Real right_slope = __shfl_sync(kWholeWarp, found.right_slope, from);
          const Acc faded = light * (-2 / slab.radius[sources[i]]);
          if (left < right) deposit(left, faded, light * left_slope), deposit(right, -faded, -light * right_slope);
        }
      }
    }
  }

  // All sources of a tile, 32 neighbours at a time.
  __device__ void spread_tile(int tile_row, int tile_column) {
    const Picture<Real>& p = task.picture;
    const int x = tile_column * kTile + lane;
    for (int y = tile_row * kTile; y < smaller(p.height, (tile_row + 1) * kTile); ++y) {
      const int64_t at = int64_t(y) * p.width + x;
      const Real r = x < p.width ? p.radius[place.image * p.plane() + at] : 0;
      const bool reaches = within_reach(r, x, x, y, y);
      const unsigned mask = __ballot_sync(kWholeWarp, reaches);
      if (!mask) continue;
      slab.radius[lane] = r;
      for (int c = 0; c < kChannels; ++c) {
        const bool there = reaches && c < place.channels;
        const int64_t plane = place.image * p.channels + place.first_channel + c;
        slab.light[lane][c] = there ? p.image[plane * p.plane() + at] * (Real(1 / kPi) / (r * r)) : 0;
      }
      __syncwarp();
      spread(mask, tile_column * kTile, y);
      __syncwarp();
    }
  }

  // The running sum of this lane's row, in place.
  __device__ void sum_up() {
    Acc sum = 0;
    for (int x = 0; x < kSlabWidth; ++x) {
      Acc& cell = slab.ends[row()][x][channel()];
      cell = sum += cell;
    }
  }

  __device__ void write() const {
    const Picture<Real>& p = task.picture;
    for (int i = 0; i < place.rows; ++i)
      for (int column = lane; column < smaller(kSlabWidth, p.width - place.x0); column += kWarp) {
        const int64_t at = int64_t(place.y0 + i) * p.width + place.x0 + column;
        const Real r = p.radius[place.image * p.plane() + at];
        const bool keeps = !task.slope && !task.shape.blurs(r);
        for (int c = 0; c < place.channels; ++c) {
          const int64_t to = (place.image * p.channels + place.first_channel + c) * p.plane() + at;
          const Real blurred = static_cast<Real>(slab.ends[i][column][c]) + (keeps ? p.image[to] : 0);
          p.out[to] = is_finite(r) ? blurred : Real(NAN);
        }
      }
  }
};

// Two kernels divide the slabs of a float picture among them: one sums in float, the other, where it is needed, in
// double.
template <typename Acc, int kChannels, typename Outline, typename Real>
__global__ void __launch_bounds__(kSlabs<Acc>* kWarp) scatter_slabs(const __grid_constant__ ScatterTask<Real> task) {
  using Shared = Slab<Acc, kChannels, Real>[kSlabs<Acc>];
  DEPTHBOKEH_SHARED(Shared, slabs);
  const int64_t index = int64_t(blockIdx.x) * kSlabs<Acc> + threadIdx.x / kWarp;
  if (index >= count_slabs<kChannels>(task.picture)) return;
  const Place place = find_place<kChannels>(task.picture, index);
  ScatterWarp<Acc, kChannels, Outline, Real> warp{task, place, slabs[threadIdx.x / kWarp], int(threadIdx.x % kWarp)};
  constexpr bool kWide = sizeof(Acc) == sizeof(double);
  if (sizeof(Real) < sizeof(double) && warp.dazzled() != kWide) return;
  warp.clear();
  __syncwarp();
  warp.for_each_tile([&](int i, int j) { warp.spread_tile(i, j); });
  warp.sum_up();
  __syncwarp();
  warp.write();
}

}  // namespace depthbokeh::cuda
