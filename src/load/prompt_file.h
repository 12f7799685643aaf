#pragma once

#include <filesystem>
#include <vector>

#include "base/result.h"
#include "load/load_options.h"

namespace graft::load {

// Prompts from a file of JSON lines: {"prompt": TEXT} (also "inputs" or "text") or {"messages": [...]}, each with an
// optional "max_tokens". Errors name the file and the line.
Result<std::vector<Prompt>> read_prompts(const std::filesystem::path& path);

}  // namespace graft::load
