// libFuzzer: the bytes are a GGUF file: its tensors, its tokenizer and the model that its metadata describe.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "formats/dequantise.h"
#include "formats/gguf.h"
#include "formats/gguf_model.h"

namespace {

// A model's file is mapped, so the bytes need to be one.
void read_spec(std::span<const uint8_t> bytes) {
  static const int file = memfd_create("input.gguf", 0);
  const auto size = static_cast<off_t>(bytes.size());
  if (file < 0 || ftruncate(file, size) != 0 || pwrite(file, bytes.data(), bytes.size(), 0) != size) std::abort();
  const auto opened = graft::formats::GgufFile::open("/proc/self/fd/" + std::to_string(file));
  if (!opened.ok()) return;
  const auto spec = graft::formats::spec_from_gguf(*opened);
  if (spec.ok() && spec->parameter_count() < 1) std::abort();
}

}  // namespace

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
  read_spec({data, size});
  return 0;
}
