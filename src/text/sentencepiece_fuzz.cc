// Any bytes as a tokenizer.model: refused, or the same tokenizer as a tokenizer.json.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/utf8.h"
#include "formats/sentencepiece.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto json = graft::formats::tokenizer_json_from_sentencepiece_file(bytes, "");
  if (!json.ok()) return 0;
  const auto made = graft::text::Tokenizer::from_json(*json);
  if (!made.ok()) return 0;
  const auto ids = (*made)->encode(" the  abc \xFF <s>\xE2\x96\x81 12").ids;
  if (!graft::is_valid_utf8((*made)->decode(ids, false))) std::abort();
  return 0;
}
