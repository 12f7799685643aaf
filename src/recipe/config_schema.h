#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/config_reader.h"
#include "base/config_tree.h"
#include "recipe/training_config.h"

namespace graft::recipe {

// One key of the config: the row of a table that parsing, printing, the reference and the JSON Schema are made from.
struct Option {
  std::string path;  // "trainer.learning_rate"
  std::string type;  // integer, number, boolean, string, list of strings, list of numbers, section of numbers
  std::string help;
  bool nullable = false;
  bool from_graft = false;  // not one of Ludwig's keys
  bool folded = false;      // taken in, but never printed: resolution turns it into another key
  std::vector<std::string> choices;
  std::optional<NumberBounds> bounds;
  std::function<void(TrainingConfig&, ConfigReader&, const std::string&)> read;
  std::function<ConfigNode(const TrainingConfig&)> write;
  std::function<bool(const TrainingConfig&)> applies;  // empty: always; where it says no, it is not printed
};

std::span<const Option> options();

// A key of Ludwig's that graft knows and cannot honour. Written with a value of `harmless` it changes nothing and is
// accepted; anything else is refused with `why`.
struct UnsupportedOption {
  std::string path;
  std::vector<std::string> harmless;
  std::string why;
};

std::span<const UnsupportedOption> unsupported_options();

}  // namespace graft::recipe
