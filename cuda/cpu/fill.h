// Filling in what is not known.
#pragma once

#include <vector>

#include "../fill.h"

namespace depthbokeh {

// Fills the pyramids of several pictures and writes what the finest level has to be written: the filled values, or the
// gradients where it has one.
template <typename Real>
void fill_pyramid(const std::vector<Level<Real>>& levels, int64_t batch, int64_t channels);

}  // namespace depthbokeh
