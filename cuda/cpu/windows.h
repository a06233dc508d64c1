// The largest and the smallest value around every pixel.
#pragma once

#include "../windows.h"

namespace depthbokeh {

template <typename Real>
void local_extremes(const Windows<Real>& windows, const Extremes<Real>& to);

}  // namespace depthbokeh
