// The kernels for avx2: the flags are set in src/ops/CMakeLists.txt.
#define GRAFT_ISA_NAMESPACE avx2
#define GRAFT_ISA_ENUM Isa::kAvx2
#include "ops/cpu/kernels_impl.h"
