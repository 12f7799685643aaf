// libFuzzer: the bytes are the body of a request: read as JSON, and as LoRAX's parameters.

#include <cstdlib>
#include <string_view>

#include "serving/api/native_request.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);  // NOLINT: libFuzzer's interface
  const auto body = graft::serving::api::parse_body(text);
  if (!body.ok()) return 0;
  if (!body.value().is_object()) std::abort();
  (void)graft::serving::api::parse_native(body.value(), text);
  graft::serving::api::Fields fields(body.value(), "parameters.");
  for (const char* name : {"inputs", "stop", "seed", "stream", "messages", "model"}) {
    (void)fields.text(name);
    (void)fields.number(name);
    (void)fields.integer(name, 0, 100);
    (void)fields.unsigned_integer(name);
    (void)fields.text_or_texts(name);
    (void)fields.object(name);
    (void)fields.array(name);
    (void)fields.flag(name);
  }
  return 0;
}
