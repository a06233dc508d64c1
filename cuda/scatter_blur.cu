#include "launchers.h"
#include "scatter_blur.cuh"

namespace depthbokeh::cuda {
namespace {

template <typename Acc, int kChannels, typename Outline, typename Real>
void launch(Launcher& launcher, const ScatterTask<Real>& task) {
  constexpr int slabs = kSlabs<Acc>;
  launcher.run(scatter_slabs<Acc, kChannels, Outline, Real>,
               ceil_div<int64_t>(count_slabs<kChannels>(task.picture), slabs), slabs * kWarp,
               slabs * sizeof(Slab<Acc, kChannels, Real>), task);
}

template <int kChannels, typename Outline, typename Real>
void launch_both(Launcher& launcher, const ScatterTask<Real>& task) {
  if (sizeof(Real) == sizeof(float)) launch<Real, kChannels, Outline>(launcher, task);
  launch<double, kChannels, Outline>(launcher, task);
}

template <typename Outline, typename Real>
void launch_channels(Launcher& launcher, const ScatterTask<Real>& task) {
  if (task.picture.channels == 1)
    launch_both<1, Outline>(launcher, task);
  else
    launch_both<4, Outline>(launcher, task);
}

}  // namespace

template <typename Real>
void scatter_blur(Launcher& launcher, const Picture<Real>& picture, const Shape<Real>& shape, bool slope) {
  const ScatterTask<Real> task{picture, shape, make_survey(launcher, picture, shape), slope};
  if (shape.ellipses)
    launch_channels<EllipseOutline<Real>>(launcher, task);
  else
    launch_channels<TableOutline<Real>>(launcher, task);
}

template void scatter_blur(Launcher&, const Picture<float>&, const Shape<float>&, bool);
template void scatter_blur(Launcher&, const Picture<double>&, const Shape<double>&, bool);

}  // namespace depthbokeh::cuda
