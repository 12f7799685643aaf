#pragma once

#include <string>

#include "base/result.h"

namespace graft {

// The address of a function in a library that this program loads when it first asks for it, and keeps: "arrow" is
// libgraft_arrow.so, looked for in ../lib beside the program (its run path), then where the system looks.
Result<void*> find_in_library(const std::string& library, const std::string& function);

}  // namespace graft
