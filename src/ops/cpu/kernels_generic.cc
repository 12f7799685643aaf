// The kernels for generic: the flags are set in src/ops/CMakeLists.txt.
#define GRAFT_ISA_NAMESPACE generic
#define GRAFT_ISA_ENUM Isa::kGeneric
#include "ops/cpu/kernels_impl.h"
