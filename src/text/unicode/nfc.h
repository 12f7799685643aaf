#pragma once

#include <string>
#include <string_view>

#include "text/unicode/offset_map.h"

namespace graft::text {

// Unicode normalisation form C of valid UTF-8, as the package `tokenizers` computes it: with the data of Unicode 9.
// Marks and compositions that later releases added are left as they are. `map` receives what changed.
std::string nfc(std::string_view text, OffsetMap* map = nullptr);

// False where nfc(text) is certainly the same text; a quick look.
bool may_change_under_nfc(std::string_view text);

}  // namespace graft::text
