// From tensors to kernels: what every launcher needs.
#pragma once

#include <torch/csrc/stable/accelerator.h>
#ifndef DB_EMU
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#endif

#include <cstring>
#include <initializer_list>
#include <optional>
#include <vector>

#include "survey.cuh"
#include "tensors.h"

#ifndef DB_EMU
// Weak, so that the library loads beside a torch without CUDA, too.
#pragma weak aoti_torch_get_current_cuda_stream
#endif

// Registers operators where their tensors are: on the GPU, or, emulated, in the tests' own library.
#ifdef DB_EMU
#define DEPTHBOKEH_CUDA_LIBRARY(m) STABLE_TORCH_LIBRARY_IMPL(depthbokeh_emu, CPU, m)
#else
#define DEPTHBOKEH_CUDA_LIBRARY(m) STABLE_TORCH_LIBRARY_IMPL(depthbokeh, CUDA, m)
#endif

namespace depthbokeh::cuda {

// One call of an operator: the image's device, torch's current stream there, and scratch memory. Nothing waits for the
// device, and memory comes from torch's allocator, so calls can be captured in a CUDA graph.
class Launcher {
 public:
  explicit Launcher(const Tensor& image) : image_(image) {
#ifndef DB_EMU
    guard_.emplace(image.get_device_index());
    STD_TORCH_CHECK(aoti_torch_get_current_cuda_stream != nullptr, "this torch has no CUDA");
    void* stream = nullptr;
    STD_TORCH_CHECK(aoti_torch_get_current_cuda_stream(image.get_device_index(), &stream) == 0,
                    "torch has no current CUDA stream");
    stream_ = static_cast<cudaStream_t>(stream);
    // The library has a CUDA runtime of its own, which must be told, too. The guard puts back what was before.
    check(cudaSetDevice(image.get_device_index()));
#endif
  }

  // Uninitialised. Kernels that are under way may use it after it is given back, later ones come after them.
  template <typename T>
  T* scratch(int64_t count) {
    const int64_t bytes = larger<int64_t>(1, count) * int64_t(sizeof(T));
    scratch_.push_back(torch::stable::new_empty(image_, {bytes}, ScalarType::Byte));
    return reinterpret_cast<T*>(scratch_.back().mutable_data_ptr<uint8_t>());
  }

  template <typename... Parameters, typename... Arguments>
  void run(void (*kernel)(Parameters...), int64_t blocks, int threads, size_t shared, const Arguments&... arguments) {
    if (blocks == 0) return;
    STD_TORCH_CHECK(blocks < (int64_t(1) << 31), "the image is too large for one launch");
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(static_cast<unsigned>(blocks));
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    config.stream = stream_;
    // More than this must be asked for.
    if (shared > size_t(48) << 10)
      check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)));
    check(cudaLaunchKernelEx(&config, kernel, arguments...));
  }

 private:
  static void check(cudaError_t error) {
    STD_TORCH_CHECK(error == cudaSuccess, "a CUDA kernel did not start: ", cudaGetErrorString(error));
  }

  Tensor image_;
#ifndef DB_EMU
  std::optional<torch::stable::accelerator::DeviceGuard> guard_;
#endif
  cudaStream_t stream_ = nullptr;
  std::vector<Tensor> scratch_;
};

// The aperture's rows, which lie on the CPU, as the kernels read them.
template <typename Real>
Shape<Real> make_shape(Launcher& launcher, const Tensor& rows, ApertureKind kind) {
  const Tensor data = torch::stable::contiguous(rows);
  const Aperture<Real> aperture(kind, data.const_data_ptr<double>(), data.size(0));
  Shape<Real> shape = {};
  if (kind == ApertureKind::kGaussian) {
    shape.extent = Real(1.5);  // three sigma
    return shape;
  }
  shape.extent = aperture.extent, shape.bottom = aperture.bottom, shape.top = aperture.top;
  shape.shear = aperture.shear, shape.offset = aperture.offset;
  if (kind == ApertureKind::kEllipses) {
    STD_TORCH_CHECK(aperture.ellipses.size() <= size_t(Shape<Real>::kMostEllipses), "too many ellipses");
    for (const Ellipse<Real>& ellipse : aperture.ellipses) {
      EllipsePart<Real>& part = shape.ellipse[shape.ellipses++];
      static_cast<Ellipse<Real>&>(part) = ellipse;
      part.inverse_height = 1 / ellipse.height;
      part.scale = ellipse.height * ellipse.height * ellipse.width;
      const double cut = ellipse.cut, peak = std::sqrt(1 - cut * cut);
      part.peak = Real(peak);
      part.beyond = Real(disk_cap(1 - peak, std::sqrt(1 - peak)) + cut * peak);
      part.half = Real(kPi / 2) - 2 * part.beyond;
    }
    return shape;
  }
  shape.cells = static_cast<int>(data.size(0)) - 1;
  STD_TORCH_CHECK(shape.cells > 0 && shape.cells <= TableRows<Real>::kMost, "too many cells");
  shape.cells_per_height = shape.cells / (shape.top - shape.bottom);
  TableRows<Real> table = {};
  const double* from = data.const_data_ptr<double>() + 8;
  for (int i = 0; i < shape.cells; ++i, from += 8)
    static_cast<EdgeCell<Real>&>(table.cell[i]) = {{Real(from[0]), Real(from[1])},
                                                   {Real(from[2]), Real(from[3])},
                                                   {Real(from[4]), Real(from[5])},
                                                   Real(from[6]),
                                                   Real(from[7])};
  TableCell<Real>* cell = launcher.scratch<TableCell<Real>>(shape.cells);
  launcher.run(write_table<Real>, 1, TableRows<Real>::kMost, 0, table, shape.cells, cell);
  shape.cell = cell;
  return shape;
}

template <typename Real>
Survey<Real> make_survey(Launcher& launcher, const Picture<Real>& picture, const Shape<Real>& shape) {
  Survey<Real> survey;
  survey.rows = ceil_div(picture.height, kTile), survey.columns = ceil_div(picture.width, kTile);
  survey.values = picture.channels * picture.plane();
  const int64_t tiles = picture.batch * survey.rows * survey.columns;
  survey.tiles = launcher.scratch<Facts<Real>>(tiles);
  survey.images = launcher.scratch<Facts<Real>>(picture.batch);
  launcher.run(survey_tiles<Real>, tiles, kSurveyThreads, sizeof(SharedFacts<Real>), picture, shape, survey);
  launcher.run(survey_images<Real>, picture.batch, kSurveyThreads, sizeof(SharedFacts<Real>), survey);
  return survey;
}

}  // namespace depthbokeh::cuda
