#pragma once

#include <string>
#include <string_view>

namespace graft {

// RFC 4648's alphabet, padded.
std::string base64_encode(std::string_view bytes);

}  // namespace graft
