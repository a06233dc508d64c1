#include "launchers.h"
#include "scatter_blur.cuh"

namespace depthbokeh::cuda {
namespace {

template <typename Acc, int kChannels, bool kSlope, typename Outline, typename Real>
void launch(Launcher& launcher, const ScatterTask<Real>& task) {
  launcher.run(scatter_slabs<Acc, kChannels, kSlope, Outline, Real>, count_slabs<kChannels>(task.picture),
               kWarps<Acc> * kWarp, kWarps<Acc> * sizeof(Slab<Acc, kChannels, Real>), task);
}

template <int kChannels, bool kSlope, typename Outline, typename Real>
void launch_both(Launcher& launcher, const ScatterTask<Real>& task) {
  if (sizeof(Real) == sizeof(float)) launch<Real, kChannels, kSlope, Outline>(launcher, task);
  launch<double, kChannels, kSlope, Outline>(launcher, task);
}

template <bool kSlope, typename Outline, typename Real>
void launch_channels(Launcher& launcher, const ScatterTask<Real>& task) {
  if (task.picture.channels == 1)
    launch_both<1, kSlope, Outline>(launcher, task);
  else
    launch_both<4, kSlope, Outline>(launcher, task);
}

template <bool kSlope, typename Real>
void launch_outline(Launcher& launcher, const ScatterTask<Real>& task) {
  if (task.shape.ellipses)
    launch_channels<kSlope, EllipseOutline<Real>>(launcher, task);
  else
    launch_channels<kSlope, TableOutline<Real>>(launcher, task);
}

}  // namespace

template <typename Real>
void scatter_blur(Launcher& launcher, const Picture<Real>& picture, const Shape<Real>& shape, bool slope) {
  const ScatterTask<Real> task{picture, shape, make_survey(launcher, picture, shape)};
  if (slope)
    launch_outline<true>(launcher, task);
  else
    launch_outline<false>(launcher, task);
}

template void scatter_blur(Launcher&, const Picture<float>&, const Shape<float>&, bool);
template void scatter_blur(Launcher&, const Picture<double>&, const Shape<double>&, bool);

}  // namespace depthbokeh::cuda
