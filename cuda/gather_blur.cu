#include "gather_blur.cuh"
#include "launchers.h"

namespace depthbokeh::cuda {
namespace {

template <int kChannels, typename Outline, typename Real>
void launch(Launcher& launcher, const Picture<Real>& picture, const Shape<Real>& shape, const GatherTargets<Real>& to) {
  const int64_t rows = picture.batch * ceil_div<int64_t>(picture.channels, kChannels) * picture.height;
  Sums<kChannels>* sums = launcher.scratch<Sums<kChannels>>(rows * (picture.width + 1));
  launcher.run(sum_rows<kChannels, Real>, ceil_div<int64_t>(rows, kSumWarps), kSumWarps * kWarp, 0, picture, sums);
  const GatherTask<Real, kChannels> task{picture, shape, sums, to.slope, to.weight, to.slope_sum};
  const int64_t blocks =
      picture.batch * ceil_div(picture.height, kGatherHeight) * ceil_div(picture.width, kGatherWidth);
  constexpr int threads = kGatherHeight * kGatherWidth;
  if (to.slope || to.slope_sum)
    launcher.run(gather_pixels<true, Outline, kChannels, Real>, blocks, threads, 0, task);
  else
    launcher.run(gather_pixels<false, Outline, kChannels, Real>, blocks, threads, 0, task);
}

template <typename Outline, typename Real>
void launch_channels(Launcher& launcher, const Picture<Real>& picture, const Shape<Real>& shape,
                     const GatherTargets<Real>& to) {
  if (picture.channels == 1)
    launch<1, Outline>(launcher, picture, shape, to);
  else
    launch<4, Outline>(launcher, picture, shape, to);
}

}  // namespace

template <typename Real>
void gather_blur(Launcher& launcher, const Picture<Real>& picture, const Shape<Real>& shape,
                 const GatherTargets<Real>& to) {
  if (shape.ellipses)
    launch_channels<EllipseOutline<Real>>(launcher, picture, shape, to);
  else
    launch_channels<TableOutline<Real>>(launcher, picture, shape, to);
}

template void gather_blur(Launcher&, const Picture<float>&, const Shape<float>&, const GatherTargets<float>&);
template void gather_blur(Launcher&, const Picture<double>&, const Shape<double>&, const GatherTargets<double>&);

}  // namespace depthbokeh::cuda
