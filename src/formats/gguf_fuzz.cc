#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/log.h"
#include "formats/dequantise.h"
#include "formats/gguf.h"
#include "formats/gguf_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  [[maybe_unused]] static const bool quiet = [] {
    spdlog::set_level(spdlog::level::off);
    return true;
  }();
  const auto contents = graft::formats::parse_gguf(std::as_bytes(std::span(data, size)));
  if (!contents.ok()) return 0;
  for (const graft::formats::TensorView& tensor : contents->tensors) {
    std::vector<float> values(static_cast<size_t>(tensor.elements()));
    (void)graft::formats::to_float32(tensor, values);
  }
  (void)graft::formats::tokenizer_json_from_gguf(contents->metadata);
  return 0;
}
