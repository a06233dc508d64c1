// Functions of every pixel on the CPU, kMapChunk of them at a time.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <array>
#include <vector>

#include "../pixel_maps.h"

namespace depthbokeh {

constexpr int64_t kMapChunk = 4096;

struct CpuMaps {
  explicit CpuMaps(const torch::stable::Tensor&) {}

  template <typename Task, typename Work>
  static void for_each_chunk(const Task& task, const Work& work) {
    const int64_t each = (task.pixels + kMapChunk - 1) / kMapChunk;
    torch::stable::parallel_for(0, task.batch * each, 1, [&](int64_t chunk, int64_t last) {
      for (; chunk < last; ++chunk) {
        const int64_t begin = chunk % each * kMapChunk;
        work(chunk, chunk / each, begin, std::min(task.pixels, begin + kMapChunk));
      }
    });
  }

  template <typename Function, typename Real>
  void run(const MapTask<Function, Real>& task) const {
    for_each_chunk(task, [&](int64_t, int64_t picture, int64_t begin, int64_t end) {
      for (int64_t pixel = begin; pixel < end; ++pixel) task.run(picture, pixel);
    });
  }

  template <typename Function, typename Real>
  void differentiate(const MapTask<Function, Real>& task, Real* (&to_numbers)[MapTask<Function, Real>::kSlots]) const {
    constexpr int kSlots = MapTask<Function, Real>::kSlots;
    const int64_t each = (task.pixels + kMapChunk - 1) / kMapChunk;
    std::vector<std::array<double, kSlots>> sums(task.batch * each);
    for_each_chunk(task, [&](int64_t chunk, int64_t picture, int64_t begin, int64_t end) {
      double own[kSlots] = {};
      for (int64_t pixel = begin; pixel < end; ++pixel) task.differentiate(picture, pixel, own);
      std::copy(own, own + kSlots, sums[chunk].begin());
    });
    // In the order of the chunks, whichever thread they fell to.
    for (int64_t picture = 0; picture < task.batch; ++picture)
      for (int i = 0; i < Function::kNumbers; ++i) {
        double sum = 0;
        for (int64_t chunk = 0; chunk < each; ++chunk) sum += sums[picture * each + chunk][i];
        to_numbers[i][picture] = Real(sum);
      }
  }
};

}  // namespace depthbokeh
