#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace graft::recipe {

// What `graft config show FILE [--set k=v]...` prints: the resolved config as YAML.
Result<std::string> config_show(const std::string& path, const std::vector<std::string>& overrides);

// What `graft config schema` prints: a JSON Schema (draft 2020-12) of the config file.
std::string config_schema_json();

// What `graft config schema --markdown` prints: docs/config-reference.md.
std::string config_schema_markdown();

}  // namespace graft::recipe
