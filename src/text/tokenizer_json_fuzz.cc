// Any bytes as a tokenizer.json: refused, or a tokenizer that takes any text and gives UTF-8 back.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/utf8.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr std::string_view kText =
      "abc x 123 bb  <s> \xFF\xE2\x82 a\xCC\x81\xE2\x96\x81 \xEA\xB0\x80\n\tDON'T \xF0\x9F\x91\x8D\xE4\xB8\xAD "
      "\xC4\xB0";
  const auto made = graft::text::Tokenizer::from_json({reinterpret_cast<const char*>(data), size});
  if (!made.ok()) return 0;
  const auto encoding = (*made)->encode(kText);
  for (const auto& [begin, end] : encoding.offsets) {
    if (begin > end || end > kText.size()) std::abort();
  }
  if (!graft::is_valid_utf8((*made)->decode(encoding.ids, false))) std::abort();
  return 0;
}
