// libFuzzer: the bytes are a config in YAML (or JSON, which is YAML); behind a zero byte an override as of `--set`.
// What is read must be written so that it reads the same again.

#include <cstdlib>
#include <string_view>

#include "base/config_tree.h"
#include "recipe/training_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);  // NOLINT: libFuzzer's interface
  const size_t end = input.find('\0');
  auto tree = graft::ConfigTree::parse(input.substr(0, end), "config.yaml");
  if (!tree.ok()) return 0;
  if (end != std::string_view::npos && !tree->set(input.substr(end + 1)).ok()) return 0;
  const auto config = graft::recipe::read_training_config(*tree);
  if (!config.ok()) return 0;
  const auto written = graft::ConfigTree::parse_yaml(graft::recipe::to_yaml(*config), "again.yaml");
  if (!written.ok()) std::abort();
  const auto again = graft::recipe::read_training_config(*written);
  if (!again.ok() || !(*again == *config)) std::abort();
  return 0;
}
