// The largest and the smallest value around every pixel.
#pragma once

#include "../windows.h"

namespace depthbokeh {

template <typename Real>
void local_extremes(const Windows<Real>& windows, const Extremes<Real>& to);

// Where the largest values around some pixels are. `at` must lie within the pictures.
template <typename Real>
void find_max(const Windows<Real>& windows, const int64_t* at, int64_t count, int64_t* to);

}  // namespace depthbokeh
