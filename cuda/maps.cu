// The CUDA side of the operators that are functions of every pixel, from tensors to kernels.
#include <torch/csrc/stable/library.h>

#include "launch.h"
#include "map_ops.h"
#include "maps.cuh"

namespace depthbokeh::cuda {
namespace {

class CudaMaps {
 public:
  explicit CudaMaps(const Tensor& tensor) : launcher_(tensor) {}

  template <typename Function, typename Real>
  void run(const MapTask<Function, Real>& task) const {
    launcher_.run(map_pixels<Function, Real>, task.batch * count_blocks(task.pixels), kMapThreads, 0, task);
  }

  template <typename Function, typename Real>
  void differentiate(const MapTask<Function, Real>& task, Real* (&to_numbers)[MapTask<Function, Real>::kSlots]) const {
    constexpr int kCount = MapTask<Function, Real>::kSlots;
    const int64_t blocks = count_blocks(task.pixels);
    NumberSums<kCount>* sums =
        Function::kNumbers > 0 ? launcher_.scratch<NumberSums<kCount>>(task.batch * blocks) : nullptr;
    launcher_.run(differentiate_pixels_of<Function, Real>, task.batch * blocks, kMapThreads,
                  sizeof(SharedNumbers<kCount>), task, sums);
    if constexpr (Function::kNumbers > 0) {
      NumberGrads<kCount, Real> to;
      for (int i = 0; i < kCount; ++i) to.to[i] = to_numbers[i];
      launcher_.run(add_up_numbers<kCount, Real>, task.batch, kMapThreads, sizeof(SharedNumbers<kCount>),
                    static_cast<const NumberSums<kCount>*>(sums), blocks, to);
    }
  }

 private:
  static int64_t count_blocks(int64_t pixels) { return ceil_div<int64_t>(pixels, kMapThreads); }  // of a picture

  mutable Launcher launcher_;
};

}  // namespace
}  // namespace depthbokeh::cuda

DEPTHBOKEH_CUDA_LIBRARY(m) { DEPTHBOKEH_REGISTER_MAPS(m, depthbokeh::cuda::CudaMaps) }
