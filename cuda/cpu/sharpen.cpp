// Soft depth edges made sharp: only the pixels between two sides, which are few, are looked at closely.
#include "../sharpen.h"

#include "contributions.h"
#include "edges.h"
#include "strips.h"

namespace depthbokeh {
namespace {

// Calls work(pixel, its number) for the pixels between two sides.
template <typename Real, typename Work>
DEPTHBOKEH_INLINE void for_each_between(const EdgeInputs<Real>& p, const Windows<Real>& w, const Extremes<Real>& e,
                                        int64_t picture, int64_t begin, int64_t end, const Work& work) {
  const Real strength = p.strength[picture];
  for (int64_t at = begin; at < end; ++at) {
    SoftPixel<Real> pixel(Jump<Real>(e, at, strength), p.disparity[at]);
    if (!pixel.is_between()) continue;
    pixel.look_around(p, w, at);
    work(pixel, at);
  }
}

}  // namespace

template <typename Real>
void sharpen(const EdgeInputs<Real>& p, int64_t reach, Real* to) {
  const Windows<Real> windows = windows_of(p, reach);
  const ExtremeMaps<Real> extremes(p, reach);
  for_each_strip(p.batch, p.height, p.width, [&](int64_t, int64_t picture, int64_t begin, int64_t end) {
    std::copy(p.disparity + begin, p.disparity + end, to + begin);
    for_each_between(p, windows, extremes.all, picture, begin, end,
                     [&](const SoftPixel<Real>& pixel, int64_t at) { to[at] += pixel.change(); });
  });
}

template <typename Real>
void sharpen_backward(const EdgeInputs<Real>& p, int64_t reach, const Real* grad, Real* to_disparity,
                      Real* to_strength) {
  const Windows<Real> windows = windows_of(p, reach), wide = windows_of(p, 2 * windows.reach);
  const Windows<Real> next = windows_of(p, 1);
  const ExtremeMaps<Real> extremes(p, reach);
  std::vector<Contributions<Real>> found(p.batch * count_strips(p.height));
  for_each_strip(p.batch, p.height, p.width, [&](int64_t strip, int64_t picture, int64_t begin, int64_t end) {
    std::copy(grad + begin, grad + end, to_disparity + begin);
    Contributions<Real>& own = found[strip];
    for_each_between(p, windows, extremes.all, picture, begin, end, [&](const SoftPixel<Real>& pixel, int64_t at) {
      const SoftGrads<Real> grads = pixel.differentiate(grad[at]);
      own.add(at, grads.own - grad[at]);
      own.add(next, at, pixel.largest, grads.largest);
      own.add(next, at, pixel.smallest, grads.smallest);
      own.add(windows, at, pixel.jump.high, grads.jump.high);
      own.add(windows, at, pixel.jump.low, grads.jump.low);
      own.add(wide, at, pixel.jump.higher, grads.jump.higher);
      own.add(wide, at, pixel.jump.lower, grads.jump.lower);
      own.strength += grads.jump.strength;
    });
  });
  add_up(found, to_disparity);
  add_up_strength(found, count_strips(p.height), to_strength);
}

#define DEPTHBOKEH_SHARPEN(Real)                                  \
  template void sharpen(const EdgeInputs<Real>&, int64_t, Real*); \
  template void sharpen_backward(const EdgeInputs<Real>&, int64_t, const Real*, Real*, Real*);
DEPTHBOKEH_SHARPEN(float)
DEPTHBOKEH_SHARPEN(double)
#undef DEPTHBOKEH_SHARPEN

}  // namespace depthbokeh
