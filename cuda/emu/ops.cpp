// The library of the emulated kernels: the same operators under another name, for tensors on the CPU.
#include <torch/csrc/stable/library.h>

#include "../schemas.h"
#include "cuda_emu.h"

STABLE_TORCH_LIBRARY(depthbokeh_emu, m) {
  for (const char* schema : depthbokeh::kSchemas) m.def(schema);
  m.def("set_order(int order) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(depthbokeh_emu, CompositeExplicitAutograd, m) {
  m.impl("set_order", TORCH_BOX(&depthbokeh::emu::set_order));
}
