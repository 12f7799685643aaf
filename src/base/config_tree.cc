#include "base/config_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/config_parse.h"
#include "base/files.h"
#include "base/strings.h"
#include "base/utf8.h"

namespace graft {
namespace {

constexpr size_t kLargestFile = size_t{1} << 20;

Status check_text(std::string_view text, const std::string& name) {
  if (text.size() > kLargestFile) return invalid(name + ": larger than 1 MiB: this is not a config file");
  if (!is_valid_utf8(text)) return invalid(name + ": not valid UTF-8");
  if (text.find('\0') != std::string_view::npos) return invalid(name + ": contains a NUL byte");
  return {};
}

std::string_view without_byte_order_mark(std::string_view text) {
  return text.starts_with("\xEF\xBB\xBF") ? text.substr(3) : text;
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

Result<ConfigNode> parse_value(std::string_view value, const std::string& source) {
  value = trim(value);
  if (value.empty() || value == "null" || value == "~") return ConfigNode{};
  if (std::string_view("[{\"'").find(value.front()) != std::string_view::npos) return parse_yaml_node(value, source);
  ConfigNode node;
  node.kind = ConfigNode::Kind::kScalar;
  node.text = value;
  return node;
}

void set_source(ConfigNode& node, int source) {
  node.source = source;
  node.line = 0;
  for (auto& item : node.items) set_source(item, source);
  for (auto& entry : node.entries) {
    entry.line = 0;
    set_source(entry.value, source);
  }
}

// The child that a part of a dotted path names. New sections are empty maps.
Result<ConfigNode*> step_into(ConfigNode& node, const std::string& part, int source) {
  if (node.kind == ConfigNode::Kind::kList) {
    size_t index = 0;
    const auto [end, code] = std::from_chars(part.data(), part.data() + part.size(), index);
    if (code != std::errc() || end != part.data() + part.size() || index >= node.items.size()) {
      return invalid(fmt::format("'{}' is not an index into a list of {}", printable(part, 40), node.items.size()));
    }
    return &node.items[index];
  }
  if (node.kind == ConfigNode::Kind::kScalar)
    return invalid(fmt::format("'{}' is below a value, not a section", printable(part, 40)));
  if (node.kind == ConfigNode::Kind::kNull) {
    node = ConfigNode::map();
    node.source = source;
  }
  if (ConfigNode* child = node.find(part)) return child;
  ConfigNode fresh;
  fresh.source = source;
  return &node.put(part, fresh);
}

}  // namespace

ConfigNode ConfigNode::string(std::string value) {
  ConfigNode node;
  node.kind = Kind::kScalar;
  node.text = std::move(value);
  node.quoted = true;
  return node;
}

ConfigNode ConfigNode::integer(int64_t value) {
  ConfigNode node;
  node.kind = Kind::kScalar;
  node.text = std::to_string(value);
  return node;
}

ConfigNode ConfigNode::number(double value) {
  ConfigNode node;
  node.kind = Kind::kScalar;
  node.text = fmt::format("{}", value);  // the shortest text that reads back to the same double
  return node;
}

ConfigNode ConfigNode::boolean(bool value) {
  ConfigNode node;
  node.kind = Kind::kScalar;
  node.text = value ? "true" : "false";
  return node;
}

ConfigNode ConfigNode::list() { return list(std::vector<ConfigNode>()); }

ConfigNode ConfigNode::list(std::vector<ConfigNode> values) {
  ConfigNode node;
  node.kind = Kind::kList;
  node.items = std::move(values);
  return node;
}

ConfigNode ConfigNode::map() {
  ConfigNode node;
  node.kind = Kind::kMap;
  return node;
}

const ConfigNode* ConfigNode::find(std::string_view key) const {
  const auto entry =
      std::find_if(entries.begin(), entries.end(), [&](const ConfigEntry& candidate) { return candidate.key == key; });
  return entry == entries.end() ? nullptr : &entry->value;
}

ConfigNode* ConfigNode::find(std::string_view key) {
  return const_cast<ConfigNode*>(std::as_const(*this).find(key));  // NOLINT(cppcoreguidelines-pro-type-const-cast)
}

ConfigNode& ConfigNode::put(std::string key, ConfigNode value) {
  if (ConfigNode* present = find(key)) {
    *present = std::move(value);
    return *present;
  }
  const int key_line = value.line;
  return entries.emplace_back(ConfigEntry{std::move(key), key_line, std::move(value)}).value;
}

Result<ConfigTree> ConfigTree::parse_yaml(std::string_view text, std::string name) {
  GRAFT_CHECK_OK(check_text(text, name));
  GRAFT_TRY(ConfigNode root, parse_yaml_node(without_byte_order_mark(text), name));
  if (root.kind == ConfigNode::Kind::kNull) root = ConfigNode::map();
  if (root.kind != ConfigNode::Kind::kMap) return invalid(name + ": expected keys and values (key: value)");
  return ConfigTree(std::move(root), std::move(name));
}

Result<ConfigTree> ConfigTree::parse_json(std::string_view text, std::string name) {
  GRAFT_CHECK_OK(check_text(text, name));
  GRAFT_TRY(ConfigNode root, parse_json_node(without_byte_order_mark(text), name));
  if (root.kind != ConfigNode::Kind::kMap) return invalid(name + ": expected a JSON object");
  return ConfigTree(std::move(root), std::move(name));
}

Result<ConfigTree> ConfigTree::parse(std::string_view text, std::string name) {
  return name.ends_with(".json") ? parse_json(text, std::move(name)) : parse_yaml(text, std::move(name));
}

Result<ConfigTree> ConfigTree::load(const std::string& path) {
  GRAFT_TRY(const std::string text, read_file(path, kLargestFile));
  return parse(text, path);
}

Status ConfigTree::set(std::string_view assignment) {
  const std::string source = "--set " + printable(assignment, 80);
  const auto equals = assignment.find('=');
  const std::string_view path = trim(assignment.substr(0, equals));
  if (equals == std::string_view::npos || path.empty()) return invalid(source + ": expected KEY=VALUE");
  GRAFT_CHECK_OK(check_text(assignment, "--set"));
  GRAFT_TRY(ConfigNode value, parse_value(assignment.substr(equals + 1), source));

  const int index = static_cast<int>(sources_.size());
  set_source(value, index);
  ConfigNode changed = root_;  // a refused override changes nothing
  ConfigNode* node = &changed;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string part(path.substr(begin, end - begin));
    if (part.empty()) return invalid(source + ": a part of the key is empty");
    auto child = step_into(*node, part, index);
    if (!child.ok()) return at(source, child.error());
    node = *child;
    begin = end + 1;
  }
  *node = std::move(value);
  root_ = std::move(changed);
  sources_.push_back(source);
  return {};
}

std::string ConfigTree::place(int source, int line) const {
  const std::string& name = sources_[static_cast<size_t>(source)];
  return line > 0 ? fmt::format("{}:{}", name, line) : name;
}

}  // namespace graft
