// Pictures in strips of rows.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstdint>

#include "../edge.h"
#include "rows.h"
#include "windows.h"

namespace depthbokeh {

constexpr int kStripRows = 16;

inline int64_t count_strips(int height) { return (height + kStripRows - 1) / kStripRows; }

// Calls work(strip, picture, first pixel, last pixel + 1) for the strips of all pictures, from one strip of a picture
// on and every so many.
template <typename Work>
void for_each_strip(int64_t pictures, int height, int width, const Work& work, int64_t from = 0, int64_t every = 1) {
  const int64_t strips = count_strips(height), each = (strips - from + every - 1) / every;
  torch::stable::parallel_for(0, pictures * each, 1, [&](int64_t task, int64_t last) {
    for (; task < last; ++task) {
      const int64_t picture = task / each, strip = from + task % each * every, plane = int64_t(height) * width;
      const int64_t bottom = std::min<int64_t>(height, (strip + 1) * kStripRows);
      work(picture * strips + strip, picture, picture * plane + strip * kStripRows * width,
           picture * plane + bottom * width);
    }
  });
}

// The extremes around every pixel of the disparity.
template <typename Real>
class ExtremeMaps {
 public:
  ExtremeMaps(const EdgeInputs<Real>& p, int64_t reach) : maps_(4 * p.pixels()) {
    Real* first = maps_.get();
    const int64_t n = p.pixels();
    all = {first, first + n, first + 2 * n, first + 3 * n};
    local_extremes(windows_of(p, reach), all);
  }
  Extremes<Real> all;

 private:
  Buffer<Real> maps_;
};

}  // namespace depthbokeh
