// Every mixed pixel is taken apart by itself.
#include "unmix.h"

#include <torch/csrc/stable/ops.h>

#include "rows.h"

namespace depthbokeh {
namespace {

constexpr int64_t kChunk = 4096;  // pixels that a thread takes at a time

#define DEPTHBOKEH_UNMIX_CHUNKS(Real)                                                                       \
  DEPTHBOKEH_CLONES void unmix_chunk(const Mixtures<Real>& p, int64_t begin, int64_t end, Real* surfaces) { \
    for (int64_t n = begin; n < end; ++n) p.at(n).write(surfaces + n * kSurfaceValues);                     \
  }                                                                                                         \
  DEPTHBOKEH_CLONES void back_chunk(const Mixtures<Real>& p, int64_t begin, int64_t end, const Real* grad,  \
                                    const MixtureGrads<Real>& to) {                                         \
    for (int64_t n = begin; n < end; ++n) differentiate_mixture(p, n, grad, to);                            \
  }
DEPTHBOKEH_UNMIX_CHUNKS(float)
DEPTHBOKEH_UNMIX_CHUNKS(double)
#undef DEPTHBOKEH_UNMIX_CHUNKS

}  // namespace

template <typename Real>
void unmix(const Mixtures<Real>& p, Real* surfaces) {
  torch::stable::parallel_for(0, p.count, kChunk,
                              [&](int64_t begin, int64_t end) { unmix_chunk(p, begin, end, surfaces); });
}

template <typename Real>
void unmix_backward(const Mixtures<Real>& p, const Real* grad, const MixtureGrads<Real>& to) {
  torch::stable::parallel_for(0, p.count, kChunk,
                              [&](int64_t begin, int64_t end) { back_chunk(p, begin, end, grad, to); });
}

#define DEPTHBOKEH_UNMIX(Real)                       \
  template void unmix(const Mixtures<Real>&, Real*); \
  template void unmix_backward(const Mixtures<Real>&, const Real*, const MixtureGrads<Real>&);
DEPTHBOKEH_UNMIX(float)
DEPTHBOKEH_UNMIX(double)
#undef DEPTHBOKEH_UNMIX

}  // namespace depthbokeh
