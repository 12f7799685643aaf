#include "ops/cpu/dequantise.h"

#include "ops/cpu/parallel.h"
#include "ops/cpu/quant.h"

namespace graft::ops::cpu {

template <class T>
void dequantise_panels(WeightFormat format, const void* quantised, int64_t n, int64_t k, T* dense) {
  const int64_t panels = (n + kPanel - 1) / kPanel;
  const auto& kernels = typed_kernels<T>();
  const auto one = format == WeightFormat::kInt8 ? kernels.dequantise_int8 : kernels.dequantise_int4;
  parallel_for(panels, [&](int64_t p) {
    one(static_cast<const char*>(quantised) + p * quant_panel_bytes(format, k), k, dense + p * panel_elements(k));
  });
}

template void dequantise_panels<float>(WeightFormat, const void*, int64_t, int64_t, float*);
template void dequantise_panels<bf16>(WeightFormat, const void*, int64_t, int64_t, bf16*);

}  // namespace graft::ops::cpu
