#include "ops/cpu/kernels.h"

#include <cstdlib>
#include <string_view>

namespace graft::ops::cpu {

namespace generic {
extern const Kernels kTable;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kTable;
}
namespace avx512 {
extern const Kernels kTable;
}
#endif

const Kernels* kernels_for(Isa isa) {
  switch (isa) {
    case Isa::kGeneric:
      return &generic::kTable;
#if defined(__x86_64__)
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")
                 ? &avx2::kTable
                 : nullptr;
    case Isa::kAvx512Bf16:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                     __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16")
                 ? &avx512::kTable
                 : nullptr;
#else
    default:
      return nullptr;
#endif
  }
  return nullptr;
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kGeneric:
      return "generic";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512Bf16:
      return "avx512_bf16";
  }
  return "unknown";
}

const Kernels& kernels() {
  static const Kernels* const chosen = [] {
    const char* asked = std::getenv("GRAFT_ISA");
    const std::string_view limit = asked == nullptr ? "" : asked;
    if (limit == "generic") return kernels_for(Isa::kGeneric);
    const Kernels* table = limit == "avx2" ? nullptr : kernels_for(Isa::kAvx512Bf16);
    if (table == nullptr) table = kernels_for(Isa::kAvx2);
    return table == nullptr ? kernels_for(Isa::kGeneric) : table;
  }();
  return *chosen;
}

}  // namespace graft::ops::cpu
