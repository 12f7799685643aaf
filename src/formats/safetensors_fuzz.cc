#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "formats/dequantise.h"
#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto contents = graft::formats::parse_safetensors(std::as_bytes(std::span(data, size)));
  if (!contents.ok()) return 0;
  for (const graft::formats::TensorView& tensor : contents->tensors) {
    std::vector<float> values(static_cast<size_t>(tensor.elements()));
    (void)graft::formats::to_float32(tensor, values);
  }
  return 0;
}
