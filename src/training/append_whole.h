#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "base/result.h"

namespace graft::training {

// Writes `bytes` at the end of an open file of `size` bytes, all of them or, where the disk is full, none: the part
// that was written is cut off again. Counts them into `size`.
Status append_whole(int descriptor, int64_t& size, std::string_view bytes, const std::filesystem::path& path);

}  // namespace graft::training
