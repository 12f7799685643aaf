#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/config_tree.h"
#include "base/result.h"

namespace graft {

struct IntegerBounds {
  int64_t min = std::numeric_limits<int64_t>::min();
  int64_t max = std::numeric_limits<int64_t>::max();
};

// min and max belong to the range unless they are open. Not-a-number and infinity never do.
struct NumberBounds {
  double min = std::numeric_limits<double>::lowest();
  double max = std::numeric_limits<double>::max();
  bool open_min = false;
  bool open_max = false;
};

// Reads one section of a config tree. Every getter marks its key as known; a key that is absent or null gives nullopt,
// and so does one that is wrong, after noting the problem. finish() tells everything that is wrong at once, unknown
// keys included: read all keys first, then look at finish(), then use the values. The tree must outlive its readers.
//
//   ConfigReader root(tree);
//   ConfigReader trainer = root.section("trainer");
//   const double rate = trainer.number("learning_rate", {.min = 0, .open_min = true}).value_or(1e-4);
//   GRAFT_CHECK_OK(root.finish());
class ConfigReader {
 public:
  explicit ConfigReader(const ConfigTree& tree);

  std::optional<int64_t> integer(const std::string& key, IntegerBounds bounds = {});
  std::optional<double> number(const std::string& key, NumberBounds bounds = {});
  std::optional<bool> boolean(const std::string& key);
  std::optional<std::string> string(const std::string& key);
  std::optional<std::string> choice(const std::string& key, std::span<const std::string> allowed);
  std::optional<std::vector<std::string>> strings(const std::string& key);
  std::optional<std::vector<double>> numbers(const std::string& key, NumberBounds bounds = {});
  // A section whose keys are the user's own names.
  std::optional<std::vector<std::pair<std::string, double>>> named_numbers(const std::string& key,
                                                                           NumberBounds bounds = {});
  ConfigReader section(const std::string& key);                // an absent section reads as an empty one
  std::vector<ConfigReader> sections(const std::string& key);  // a list of sections

  // Marks a key as known without reading it.
  const ConfigNode* node(const std::string& key);
  [[nodiscard]] bool has(std::string_view key) const;      // there, null or not
  [[nodiscard]] bool is_null(std::string_view key) const;  // there, and null
  [[nodiscard]] bool present() const { return node_ != nullptr; }
  [[nodiscard]] const std::string& path() const { return path_; }

  // Notes a problem with a key's value: "FILE:LINE: PATH: MESSAGE". Works for absent keys too.
  void fail(const std::string& key, const std::string& message);

  // Ok, or every problem, one a line, in the order of the file.
  [[nodiscard]] Status finish() const;

 private:
  struct Report;
  ConfigReader(std::shared_ptr<Report> report, const ConfigNode* node, std::string path);

  const ConfigNode* value(const std::string& key);  // nullptr: absent or null
  void note(const ConfigNode& where, const std::string& key, const std::string& message);
  std::optional<double> to_number(const ConfigNode& node, const std::string& key, const NumberBounds& bounds);
  std::optional<std::string> to_string(const ConfigNode& node, const std::string& key);
  [[nodiscard]] std::string path_of(const std::string& key) const;

  std::shared_ptr<Report> report_;
  const ConfigNode* node_;  // a map, or nullptr
  std::string path_;
};

}  // namespace graft
