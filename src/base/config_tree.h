#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace graft {

struct ConfigEntry;

// One value of a config file. Scalars keep their text: what type they are is the reader's question.
struct ConfigNode {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  std::string text;                  // kScalar
  bool quoted = false;               // kScalar: written in quotes (or a block), so a string whatever it looks like
  std::vector<ConfigNode> items;     // kList
  std::vector<ConfigEntry> entries;  // kMap, in the order of the file; keys are unique
  int line = 0;                      // from 1; 0: not from a file
  int source = 0;                    // index into ConfigTree::sources

  static ConfigNode string(std::string value);
  static ConfigNode integer(int64_t value);
  static ConfigNode number(double value);  // finite
  static ConfigNode boolean(bool value);
  static ConfigNode list();
  static ConfigNode list(std::vector<ConfigNode> values);
  static ConfigNode map();

  [[nodiscard]] const ConfigNode* find(std::string_view key) const;  // nullptr where there is none, or not a map
  ConfigNode* find(std::string_view key);
  ConfigNode& put(std::string key, ConfigNode value);  // kMap: replaces or appends
};

struct ConfigEntry {
  std::string key;
  int line = 0;
  ConfigNode value;
};

// A declarative config, strict: duplicate keys, anchors, aliases, tags, tabs as indentation, several documents, bad
// UTF-8, and more than 1 MiB or 64 levels are errors. The root is always a map.
class ConfigTree {
 public:
  // `name` is what errors call the text: "NAME:LINE: ...".
  static Result<ConfigTree> parse_yaml(std::string_view text, std::string name);
  static Result<ConfigTree> parse_json(std::string_view text, std::string name);
  // JSON where the name ends in .json, YAML otherwise.
  static Result<ConfigTree> parse(std::string_view text, std::string name);
  static Result<ConfigTree> load(const std::string& path);

  // One override, "a.b.c=value", as `--set` takes it. Sections are made as needed; a number in the path is an index
  // into a list. Values that begin with [ { " or ' are YAML; everything else is a plain scalar as it stands.
  Status set(std::string_view assignment);

  // The same sources with other nodes: for callers that bring several spellings into one shape before they read.
  [[nodiscard]] ConfigTree with_root(ConfigNode root) const {
    ConfigTree changed = *this;
    changed.root_ = std::move(root);
    return changed;
  }

  [[nodiscard]] const ConfigNode& root() const { return root_; }
  // Where a node came from: "FILE:LINE" or "--set a.b=value".
  [[nodiscard]] std::string place(const ConfigNode& node) const { return place(node.source, node.line); }
  [[nodiscard]] std::string place(int source, int line) const;

 private:
  ConfigTree(ConfigNode root, std::string name) : root_(std::move(root)), sources_{std::move(name)} {}

  ConfigNode root_;
  std::vector<std::string> sources_;
};

// Block-style YAML that ConfigTree::parse_yaml reads back to the same values. `root` is a map.
std::string to_yaml(const ConfigNode& root);

}  // namespace graft
