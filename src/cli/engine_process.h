#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace graft::cli {

// graft-engine, which is built and installed beside this program.
Result<std::filesystem::path> engine_path();

// Becomes `graft-engine ARGUMENTS...`. Returns only where that failed.
Status exec_engine(const std::vector<std::string>& arguments);

// Whether the engine starts: its libraries are found and its --help ends well. What it prints is dropped, but for the
// loader's complaint, which is in the error.
Status probe_engine(const std::filesystem::path& engine);

}  // namespace graft::cli
