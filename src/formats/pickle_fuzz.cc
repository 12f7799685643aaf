#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/pickle.h"
#include "formats/torch_file.h"

// A checkpoint where the input is a zip archive, else a pickle by itself, which mutation gets further into.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  if (size > 1 && data[0] == 'P' && data[1] == 'K') {
    (void)graft::formats::parse_torch(bytes);
  } else {
    (void)graft::formats::read_pickled_tensors(bytes);
  }
  return 0;
}
