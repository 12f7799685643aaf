#pragma once

#include <string>
#include <string_view>

#include "text/unicode/offset_map.h"

namespace graft::text {

// Unicode's normalisation forms (UAX 15): decomposed or composed, canonical or compatible (with the K).
enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// The form of valid UTF-8, as the package `tokenizers` computes it: with the data of Unicode 9. Marks, compositions and
// compatibility characters that later releases added are left as they are. `map` receives what changed.
std::string normal_form(NormalForm form, std::string_view text, OffsetMap* map = nullptr);

// False where normal_form() certainly gives the same text; a quick look.
bool may_change_under(NormalForm form, std::string_view text);

}  // namespace graft::text
