#pragma once

#include <string>

namespace graft::engine {

std::string version();            // "0.1.0"
std::string build_description();  // version, compiler and torch: what decides whether two builds compute the same bits

}  // namespace graft::engine
