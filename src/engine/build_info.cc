#include "engine/build_info.h"

#include <torch/version.h>

namespace graft::engine {

std::string version() { return GRAFT_VERSION; }

std::string build_description() {
  return std::string("graft ") + GRAFT_VERSION + ", gcc " + __VERSION__ + ", torch " + TORCH_VERSION;
}

}  // namespace graft::engine
