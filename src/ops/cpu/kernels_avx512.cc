// The kernels for avx512: the flags are set in src/ops/CMakeLists.txt.
#define GRAFT_ISA_NAMESPACE avx512
#define GRAFT_ISA_ENUM Isa::kAvx512Bf16
#include "ops/cpu/kernels_impl.h"
