#include "gaussian.cuh"
#include "launchers.h"

namespace depthbokeh::cuda {
namespace {

// A level for every width up to that of `limit`, in memory that does not depend on what the radii are.
template <typename Real>
Levels<Real> make_levels(Launcher& launcher, const Picture<Real>& picture, const Survey<Real>& survey) {
  Levels<Real> levels = {};
  levels.most = larger(picture.height, picture.width);
  levels.limit = Real(128) * levels.most;
  levels.count = 1000;
  levels.count = levels.last(levels.limit);
  levels.taps = launcher.scratch<Real>(levels.count * int64_t(levels.most + 1));
  levels.reach = launcher.scratch<int>(levels.count);
  launcher.run(write_levels<Real>, levels.count, kSurveyThreads, 0, levels, survey, picture.batch);
  return levels;
}

}  // namespace

template <typename Real>
void gaussian_blur(Launcher& launcher, const Picture<Real>& picture, const Shape<Real>& shape, bool scatter, bool slope,
                   const Real* weight, Real* slope_sum) {
  Picture<Real> dark = picture;
  dark.channels = 0;  // no running sums here that brightness could spoil
  const Survey<Real> survey = make_survey(launcher, dark, shape);
  const GaussianTask<Real> task{picture, survey,   make_levels(launcher, picture, survey), scatter, slope,
                                weight,  slope_sum};
  const int64_t tiles = picture.batch * survey.rows * survey.columns;
  launcher.run(blur_gaussian<Real>, slope_sum ? tiles : tiles * picture.channels, kGaussianThreads,
               sizeof(GaussianShared<Real>), task);
}

#define DEPTHBOKEH_INSTANTIATE(Real) \
  template void gaussian_blur(Launcher&, const Picture<Real>&, const Shape<Real>&, bool, bool, const Real*, Real*);
DEPTHBOKEH_INSTANTIATE(float)
DEPTHBOKEH_INSTANTIATE(double)
#undef DEPTHBOKEH_INSTANTIATE

}  // namespace depthbokeh::cuda
