#pragma once

#include <string>
#include <string_view>

#include "base/config_tree.h"
#include "base/result.h"

namespace graft {

// Text -> nodes, for ConfigTree, which checks size and encoding before. Empty YAML is null.
Result<ConfigNode> parse_yaml_node(std::string_view text, const std::string& name);
Result<ConfigNode> parse_json_node(std::string_view text, const std::string& name);

}  // namespace graft
