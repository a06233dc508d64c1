// The operators that are functions of every pixel: their CPU side.
#include "map_ops.h"

#include <torch/csrc/stable/library.h>

#include "cpu/maps.h"

STABLE_TORCH_LIBRARY_IMPL(depthbokeh, CPU, m) { DEPTHBOKEH_REGISTER_MAPS(m, depthbokeh::CpuMaps) }
