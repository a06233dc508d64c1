// A task owns some rows of a level: in the pull of means, which it makes from two finer rows each, and in the push of
// squares, each of which is filled in from two rows of means.
#include "fill.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "rows.h"

namespace depthbokeh {
namespace {

constexpr int64_t kTaskPixels = 1 << 15;  // that a thread takes at a time

// Rows of scratch memory, twice as long as one of the coarser level, with a value to be written to before and after.
template <typename Real>
class Rows {
 public:
  Rows(int count, int coarse_width) : stride_(2 * coarse_width + 32), memory_(size_t(count) * stride_) {}
  Real* operator[](int i) { return memory_.get() + i * stride_ + 16; }

 private:
  int stride_;
  Buffer<Real> memory_;
};

// What counts of a row of weights, and nothing beyond the border.
template <typename Real>
DEPTHBOKEH_INLINE void count_row(const Level<Real>& level, int64_t picture, int y, int padded, Real* __restrict to) {
  if (y >= level.height) {
    std::fill(to, to + padded, Real(0));
    return;
  }
  const Real* from = level.from.weight + picture * level.plane() + int64_t(y) * level.width;
  if (level.full)
    for (int x = 0; x < level.width; ++x) to[x] = from[x];
  else
    for (int x = 0; x < level.width; ++x) to[x] = from[x] > 1 ? Real(1) : from[x];
  for (int x = level.width; x < padded; ++x) to[x] = 0;
}

// A row of means, and of the gradient to what is filled in there: row y of the coarser level.
template <typename Real, bool kBack>
DEPTHBOKEH_INLINE void pull_row(const Level<Real>& fine, const Level<Real>& coarse, int64_t channels, int64_t picture,
                                int y, Rows<Real>& rows) {
  const int width = fine.width, half = coarse.width, first = 2 * y;
  const bool pair = first + 1 < fine.height;
  Real* __restrict upper = rows[0], * __restrict lower = rows[1], * __restrict sum = rows[2];
  Real* __restrict divisor = rows[3], * __restrict grad = rows[4];
  Real* weight[4] = {rows[5], upper, lower, rows[6]};  // of the rows from first - 1 on
  count_row(fine, picture, first, 2 * half, upper);
  count_row(fine, picture, first + 1, 2 * half, lower);
  Real* total = coarse.to.weight + picture * coarse.plane() + int64_t(y) * half;
  for (int x = 0; x < half; ++x) {
    total[x] = upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1];
    divisor[x] = 1 / divisor_of_mean(total[x]);
  }
  if (kBack) {
    if (first > 0) count_row(fine, picture, first - 1, width, weight[0]);
    if (first + 2 < fine.height) count_row(fine, picture, first + 2, width, weight[3]);
  }
  for (int64_t plane = picture * channels; plane < (picture + 1) * channels; ++plane) {
    const Real* from = fine.from.values + plane * fine.plane() + int64_t(first) * width;
    if (pair)
      for (int x = 0; x < width; ++x) sum[x] = from[x] * upper[x] + from[x + width] * lower[x];
    else
      for (int x = 0; x < width; ++x) sum[x] = from[x] * upper[x];
    sum[width] = 0;
    const int64_t at = plane * coarse.plane() + int64_t(y) * half;
    Real* mean = coarse.to.values + at;
    for (int x = 0; x < half; ++x) mean[x] = (sum[2 * x] + sum[2 * x + 1]) * divisor[x];
    if (!kBack) continue;
    std::fill(grad, grad + width, Real(0));
    for (int i = 0; i < 4; ++i) {
      const int row = first - 1 + i;
      if (row < 0 || row >= fine.height) continue;
      const Real share = share_of_mean<Real>(row, y, coarse.height);
      const Real *outer = fine.from.grad + plane * fine.plane() + int64_t(row) * width, *known = weight[i];
      for (int x = 0; x < width; ++x) grad[x] += share * (1 - known[x]) * outer[x];
    }
    // At the border a mean takes the place of the one beyond it.
    grad[-1] = grad[0];
    grad[width] = width % 2 ? 0 : grad[width - 1];
    grad[width + 1] = 0;
    Real* to = coarse.to.grad + at;
    for (int x = 0; x < half; ++x)
      to[x] = Real(0.75) * (grad[2 * x] + grad[2 * x + 1]) + Real(0.25) * (grad[2 * x - 1] + grad[2 * x + 2]);
  }
}

// Row y of the finer level as it is filled in from the coarser one, a plane of it.
template <typename Real>
DEPTHBOKEH_INLINE void enlarge_row(const Real* coarse, int height, int width, int y, Real* __restrict mean,
                                   Real* __restrict to) {
  const Real *own = coarse + int64_t(y / 2) * width, *other = coarse + int64_t(find_neighbour(y, height)) * width;
  for (int x = 0; x < width; ++x) mean[x] = Real(0.75) * own[x] + Real(0.25) * other[x];
  mean[-1] = mean[0];
  mean[width] = mean[width - 1];
  for (int x = 0; x < width; ++x) {
    to[2 * x] = Real(0.75) * mean[x] + Real(0.25) * mean[x - 1];
    to[2 * x + 1] = Real(0.75) * mean[x] + Real(0.25) * mean[x + 1];
  }
}

// Row y of the finer level.
template <typename Real, bool kBack>
DEPTHBOKEH_INLINE void push_row(const Level<Real>& fine, const Level<Real>& coarse, int64_t channels, int64_t picture,
                                int y, Rows<Real>& rows) {
  const int width = fine.width, half = coarse.width;
  Real* __restrict known = rows[0], * __restrict around = rows[1], * __restrict mean = rows[2];
  Real* __restrict handed = rows[3], * __restrict to_weight = rows[4], * __restrict means = rows[5];
  Real* __restrict divisor = rows[6];
  count_row(fine, picture, y, width, known);
  const int64_t parents = int64_t(y / 2) * half;
  const Real* total = fine.from.weight + picture * fine.plane() + int64_t(y) * width;
  if (kBack) {
    const Real* from = coarse.from.weight + picture * coarse.plane() + parents;
    for (int x = 0; x < half; ++x) to_weight[2 * x] = to_weight[2 * x + 1] = from[x];
    for (int x = 0; x < width; ++x) {
      means[x] = 0;
      divisor[x] = fine.full ? Real(1) : 1 / divisor_of_mean(total[x]);
    }
  }
  for (int64_t plane = picture * channels; plane < (picture + 1) * channels; ++plane) {
    enlarge_row(coarse.from.values + plane * coarse.plane(), coarse.height, half, y, mean, around);
    const int64_t at = plane * fine.plane() + int64_t(y) * width;
    const Real* value = fine.from.values + at;
    if (kBack) {
      const Real *from = coarse.from.grad + plane * coarse.plane() + parents, *outer = fine.from.grad + at;
      for (int x = 0; x < half; ++x) handed[2 * x] = handed[2 * x + 1] = from[x];
      Real* to = fine.to.grad + at;
      for (int x = 0; x < width; ++x) {
        const Real own = outer[x], whole = own + handed[x];
        to_weight[x] += whole * value[x] - own * around[x];
        const Real grad = known[x] * whole * divisor[x];
        means[x] += grad * value[x];
        to[x] = grad;
      }
    }
    if (Real* to = fine.to.values ? fine.to.values + at : nullptr)
      for (int x = 0; x < width; ++x) to[x] = value[x] * known[x] + (1 - known[x]) * around[x];
  }
  if (!kBack) return;
  Real* to = fine.to.weight + picture * fine.plane() + int64_t(y) * width;
  if (fine.full)
    std::copy(to_weight, to_weight + width, to);
  else
    for (int x = 0; x < width; ++x) to[x] = hand_down(total[x], to_weight[x], means[x]);
}

// Rows begin..end of the coarser level, of all pictures, or the squares of pixels that they are the means of.
#define DEPTHBOKEH_FILL_ROWS(Real, kBack, name)                                                               \
  DEPTHBOKEH_CLONES void pull_##name(const Level<Real>& fine, const Level<Real>& coarse, int64_t channels,    \
                                     int64_t begin, int64_t end, Rows<Real>& rows) {                          \
    for (; begin < end; ++begin)                                                                              \
      pull_row<Real, kBack>(fine, coarse, channels, begin / coarse.height, int(begin % coarse.height), rows); \
  }                                                                                                           \
  DEPTHBOKEH_CLONES void push_##name(const Level<Real>& fine, const Level<Real>& coarse, int64_t channels,    \
                                     int64_t begin, int64_t end, Rows<Real>& rows) {                          \
    for (; begin < end; ++begin) {                                                                            \
      const int first = 2 * int(begin % coarse.height), last = std::min(first + 2, fine.height);              \
      for (int y = first; y < last; ++y)                                                                      \
        push_row<Real, kBack>(fine, coarse, channels, begin / coarse.height, y, rows);                        \
    }                                                                                                         \
  }
DEPTHBOKEH_FILL_ROWS(float, false, rows)
DEPTHBOKEH_FILL_ROWS(double, false, rows)
DEPTHBOKEH_FILL_ROWS(float, true, rows_back)
DEPTHBOKEH_FILL_ROWS(double, true, rows_back)
#undef DEPTHBOKEH_FILL_ROWS

// Calls work(begin, end, scratch) for all rows of a level.
template <typename Real, typename Work>
void for_rows(const Level<Real>& coarse, int64_t batch, const Work& work) {
  const int64_t each = std::max<int64_t>(1, kTaskPixels / (4 * coarse.width));
  torch::stable::parallel_for(0, batch * coarse.height, each, [&](int64_t begin, int64_t end) {
    Rows<Real> rows(7, coarse.width);
    work(begin, end, rows);
  });
}

}  // namespace

template <typename Real>
void fill_pyramid(const std::vector<Level<Real>>& levels, int64_t batch, int64_t channels) {
  const bool back = levels[0].from.grad != nullptr;
  for (size_t i = 1; i < levels.size(); ++i)
    for_rows(levels[i], batch, [&](int64_t begin, int64_t end, Rows<Real>& rows) {
      if (back)
        pull_rows_back(levels[i - 1], levels[i], channels, begin, end, rows);
      else
        pull_rows(levels[i - 1], levels[i], channels, begin, end, rows);
    });
  for (int64_t picture = 0; picture < batch; ++picture) settle(levels.back(), channels, picture);
  for (size_t i = levels.size() - 1; i > 0; --i)
    for_rows(levels[i], batch, [&](int64_t begin, int64_t end, Rows<Real>& rows) {
      if (back)
        push_rows_back(levels[i - 1], levels[i], channels, begin, end, rows);
      else
        push_rows(levels[i - 1], levels[i], channels, begin, end, rows);
    });
}

template void fill_pyramid(const std::vector<Level<float>>&, int64_t, int64_t);
template void fill_pyramid(const std::vector<Level<double>>&, int64_t, int64_t);

}  // namespace depthbokeh
