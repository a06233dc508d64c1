// scatter_blur in CUDA. As on the CPU every source adds its light at the left end of each of its rows and takes it away
// at the right end, and a running sum along x makes rows out of ends. A block owns a slab of the output, each of its
// warps adds up the ends of some sources there, and each lane those in one row, so no two threads ever add to the same
// place: no atomics, always the same order.
#pragma once

#include "survey.cuh"

namespace depthbokeh::cuda {

constexpr int kSlabRows = kWarp - 1;  // the last lane only finds where the last row ends
constexpr int kSlabWidth = 32;
constexpr int kAtOnce = 4;  // sources of a warp; each waits for much

template <typename Real>
struct ScatterTask {
  Picture<Real> picture;
  Shape<Real> shape;
  Survey<Real> survey;
};

// Some channels of a pixel, moved to and from shared memory as one.
template <typename Real, int kChannels>
struct alignas(kChannels * sizeof(Real) > 16 ? 16 : kChannels * sizeof(Real)) Cell {
  Real of[kChannels];
};

template <typename Real>
struct alignas(4 * sizeof(Real)) Source {
  Size<Real> size;
  Real middle;  // from the slab's left side
};

// What a warp has.
template <typename Acc, int kChannels, typename Real>
struct Slab {
  // One cell past the end takes what a right end at the edge leaves. The cells of a lane's row lie in banks of its own,
  // wherever its ends may be.
  Cell<Acc, kChannels> ends[kSlabWidth + 1][kWarp];
  Source<Real> source[kWarp];
  Cell<Real, kChannels> light[kWarp];  // of the sources, per area of their disks
};

template <typename Acc>
constexpr int kWarps = sizeof(Acc) == sizeof(float) ? 4 : 2;  // of a block

// Where a slab lies.
struct Place {
  int64_t image, first_channel;
  int x0, y0, rows, channels;  // rows, channels: of those it has room for
};

template <int kChannels, typename Real>
DEPTHBOKEH_INLINE Place find_place(const Picture<Real>& p, int64_t index) {
  const int64_t down = ceil_div(p.height, kSlabRows), across = ceil_div(p.width, kSlabWidth);
  const int64_t groups = ceil_div<int64_t>(p.channels, kChannels);
  Place place;
  place.y0 = static_cast<int>(index % down) * kSlabRows;
  place.x0 = static_cast<int>(index / down % across) * kSlabWidth;
  place.first_channel = index / (down * across) % groups * kChannels;
  place.image = index / (down * across * groups);
  place.rows = smaller(kSlabRows, p.height - place.y0);
  place.channels = static_cast<int>(smaller<int64_t>(kChannels, p.channels - place.first_channel));
  return place;
}

template <int kChannels, typename Real>
__host__ __device__ inline int64_t count_slabs(const Picture<Real>& p) {
  return p.batch * ceil_div<int64_t>(p.channels, kChannels) * ceil_div(p.height, kSlabRows) *
         ceil_div(p.width, kSlabWidth);
}

// Where an end lies: `part` of a pixel right of the left side of pixel `at`.
template <typename Real>
struct Split {
  int at;
  Real part;
};

// Of a number that is not negative and, in float, below 2^23.
DEPTHBOKEH_INLINE Split<double> split_end(double end) {
  const int at = static_cast<int>(end);
  return {at, end - at};
}
__device__ inline Split<float> split_end(float end) {
  // 2^23 + end has no fraction, and the integer in its bits.
  const float whole = __fadd_rz(end, 8388608.f);
  return {__float_as_int(whole) - 0x4b000000, end - (whole - 8388608.f)};
}

template <typename Acc, int kChannels, bool kSlope, typename Outline, typename Real>
struct ScatterWarp {
  struct Pixel {
    Real radius, light[kChannels];
  };
  using Light = Cell<Real, kChannels>;
  using Sum = Cell<Acc, kChannels>;

  const ScatterTask<Real>& task;
  const Place& place;
  Slab<Acc, kChannels, Real>& slab;
  int lane;
  Sum* row;    // of this lane
  Sum before;  // light that comes into it from the left

  __device__ ScatterWarp(const ScatterTask<Real>& task_, const Place& place_, Slab<Acc, kChannels, Real>& slab_)
      : task(task_), place(place_), slab(slab_), lane(threadIdx.x % kWarp), row(&slab.ends[0][lane]) {}

  // Calls visit(tile row, tile column) for all tiles from which light gets here.
  template <typename Visit>
  __device__ void for_each_tile(const Visit& visit) const {
    const Picture<Real>& p = task.picture;
    const int reach = find_reach(task.survey.images[place.image].largest);
    const int top = larger(0, place.y0 - reach) / kTile, left = larger(0, place.x0 - reach) / kTile;
    const int bottom = smaller(p.height - 1, place.y0 + place.rows - 1 + reach) / kTile;
    const int right = smaller(p.width - 1, place.x0 + kSlabWidth - 1 + reach) / kTile;
    for (int i = top; i <= bottom; ++i)
      for (int j = left; j <= right; ++j)
        if (within_reach(task.survey.tile(place.image, i, j).largest, j * kTile, i * kTile, kTile - 1)) visit(i, j);
  }

  // Pixels that light of radius r gets in any direction, no more than the picture has.
  __device__ int find_reach(Real r) const {
    const Real most = larger(task.picture.height, task.picture.width);
    return static_cast<int>(smaller(task.shape.extent * r + 1, most));
  }

  // Whether light from a square of side + 1 pixels may get here if no radius there exceeds r. The nearest points of two
  // pixels are up to one pixel nearer to each other than their middles.
  __device__ bool within_reach(Real r, int x, int y, int side) const {
    const Real across = beyond(x, side, place.x0, kSlabWidth), down = beyond(y, side, place.y0, place.rows);
    const Real reach = task.shape.extent * r;
    return task.shape.blurs(r) && across * across + down * down <= reach * reach;
  }
  __device__ static Real beyond(int from, int side, int to, int count) {
    return larger(larger(to - (from + side), from - (to + count - 1)) - 1, 0);
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
    for (int c = 0; c < kChannels; ++c) before.of[c] = 0;
    for (int x = 0; x <= kSlabWidth; ++x) row[x * kWarp] = before;
  }

  // One end of a row. `moved` is the light that the derivative moves along with it.
  __device__ void add_end(Real end, const Light& light, Real sign, Real moved) {
    const Split<Real> split = split_end(end);
    Sum* to = row + split.at * kWarp;
    Sum here = to[0], next = to[kWarp];
    const Acc far = sign * split.part + moved, near = sign - far;
    for (int c = 0; c < kChannels; ++c) here.of[c] += light.of[c] * near, next.of[c] += light.of[c] * far;
    to[0] = here, to[kWarp] = next;
  }

  // A source's row, given from the slab's left side.
  __device__ void add_row(const Row<Real>& ends, const Light& light, Real sign, Real inverse) {
    if (!(ends.left < ends.right && ends.left < kSlabWidth && ends.right > 0)) return;
    const Real shade = kSlope ? -2 * sign * inverse : sign;
    if (ends.left > 0)
      add_end(ends.left, light, shade, kSlope ? sign * ends.left_slope : 0);
    else
      for (int c = 0; c < kChannels; ++c) before.of[c] += light.of[c] * Acc(shade);
    if (ends.right < kSlabWidth) add_end(ends.right, light, -shade, kSlope ? -sign * ends.right_slope : 0);
  }

  // The sources of the picture's row y for all bits of `mask`, some at a time, so that they wait for each other less.
  __device__ void spread(const Outline& outline, unsigned mask, int y) {
    const int dy = place.y0 + lane - y;
    while (mask) {
      int index[kAtOnce];
      Row<Real> ends[kAtOnce];
      Light light[kAtOnce];
      Real inverse[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        index[i] = __ffs(mask) - 1;  // -1 when there are no more
        mask &= mask - 1;
        const Source<Real> source = slab.source[larger(index[i], 0)];
        light[i] = slab.light[larger(index[i], 0)];
        const typename Outline::Level level = outline.level(dy - Real(0.5), source.size, kSlope);
        ends[i] = outline.row(dy, source.size, level, level.of_next_lane(kSlope));
        ends[i].left += source.middle, ends[i].right += source.middle;
        inverse[i] = source.size.inverse;
      }
      if (lane == kSlabRows) continue;
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i)
        if (index[i] >= 0) add_row(ends[i], light[i], outline.sign(), inverse[i]);
    }
  }

  // This warp's rows of a tile's sources, 32 neighbours at a time. While they are spread, the next ones are loaded.
  __device__ void spread_tile(int tile_row, int tile_column) {
    constexpr int kStep = kWarps<Acc>;
    const Picture<Real>& p = task.picture;
    const int reach = find_reach(task.survey.tile(place.image, tile_row, tile_column).largest);
    const int top = larger(tile_row * kTile, place.y0 - reach), x = tile_column * kTile + lane;
    const int bottom = smaller(smaller(p.height, (tile_row + 1) * kTile), place.y0 + place.rows + reach);
    int y = top + (threadIdx.x / kWarp + kStep - top % kStep) % kStep;
    if (y >= bottom) return;
    const int64_t at = int64_t(y) * p.width + smaller(x, p.width - 1), step = kStep * int64_t(p.width);
    const Real* radius = p.radius + place.image * p.plane() + at;
    const Real* light[kChannels];
#pragma unroll
    for (int c = 0; c < kChannels; ++c)
      light[c] = p.image +
                 (place.image * p.channels + smaller<int64_t>(place.first_channel + c, p.channels - 1)) * p.plane() +
                 at;
    Pixel next = take(radius, light, step);
    for (; y < bottom; y += kStep) {
      const Pixel pixel = next;
      if (y + kStep < bottom) next = take(radius, light, step);
      const unsigned mask = __ballot_sync(kWholeWarp, x < p.width && within_reach(pixel.radius, x, y, 0));
      if (!mask) continue;
      const Real inverse = quick_inverse(pixel.radius), density = Real(1 / kPi) * inverse * inverse;
      slab.source[lane] = {{pixel.radius, inverse}, x - place.x0 + Real(0.5)};
      Light shared;
#pragma unroll
      for (int c = 0; c < kChannels; ++c) shared.of[c] = pixel.light[c] * density;
      slab.light[lane] = shared;
      __syncwarp();
      for (int part = 0; part < Outline::parts(task.shape); ++part) spread(Outline(task.shape, part), mask, y);
      __syncwarp();
    }
  }

  // The pixel at these places, which move on.
  __device__ static Pixel take(const Real*& radius, const Real* (&light)[kChannels], int64_t step) {
    Pixel pixel;
    pixel.radius = *radius;
    radius += step;
#pragma unroll
    for (int c = 0; c < kChannels; ++c) pixel.light[c] = *light[c], light[c] += step;
    return pixel;
  }
};

// What the warps of a block have found: added up, summed along rows, written.
template <typename Acc, int kChannels, bool kSlope, typename Real>
__device__ void write_slab(const ScatterTask<Real>& task, const Place& place, Slab<Acc, kChannels, Real>* slabs) {
  const Picture<Real>& p = task.picture;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  for (int c = warp; c < kChannels; c += kWarps<Acc>) {
    Acc sum = 0;
    for (int x = 0; x < kSlabWidth; ++x) {
      for (int other = 0; other < kWarps<Acc>; ++other) sum += slabs[other].ends[x][lane].of[c];
      slabs[0].ends[x][lane].of[c] = sum;
    }
  }
  __syncthreads();
  for (int i = warp; i < place.rows; i += kWarps<Acc>)
    for (int column = lane; column < smaller(kSlabWidth, p.width - place.x0); column += kWarp) {
      const int64_t at = int64_t(place.y0 + i) * p.width + place.x0 + column;
      const Real r = p.radius[place.image * p.plane() + at];
      const bool keeps = !kSlope && !task.shape.blurs(r);
      const Cell<Acc, kChannels> sum = slabs[0].ends[column][i];
      for (int c = 0; c < place.channels; ++c) {
        const int64_t to = (place.image * p.channels + place.first_channel + c) * p.plane() + at;
        const Real blurred = static_cast<Real>(sum.of[c]) + (keeps ? p.image[to] : 0);
        p.out[to] = is_finite(r) ? blurred : Real(NAN);
      }
    }
}

// A block for every slab. Two kernels divide those of a float picture among them: one sums in float, the other, where
// it is needed, in double.
template <typename Acc, int kChannels, bool kSlope, typename Outline, typename Real>
__global__ void __launch_bounds__(kWarps<Acc>* kWarp) scatter_slabs(const __grid_constant__ ScatterTask<Real> task) {
  using Shared = Slab<Acc, kChannels, Real>[kWarps<Acc>];
  DEPTHBOKEH_SHARED(Shared, slabs);
  const Place place = find_place<kChannels>(task.picture, blockIdx.x);
  ScatterWarp<Acc, kChannels, kSlope, Outline, Real> warp(task, place, slabs[threadIdx.x / kWarp]);
  constexpr bool kWide = sizeof(Acc) == sizeof(double);
  if (sizeof(Real) < sizeof(double) && warp.dazzled() != kWide) return;
  warp.clear();
  __syncwarp();
  warp.for_each_tile([&](int i, int j) { warp.spread_tile(i, j); });
  for (int c = 0; c < kChannels; ++c) warp.row->of[c] += warp.before.of[c];
  __syncthreads();
  write_slab<Acc, kChannels, kSlope>(task, place, slabs);
}

}  // namespace depthbokeh::cuda
