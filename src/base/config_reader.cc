#include "base/config_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <tuple>

#include "base/strings.h"

namespace graft {
namespace {

using Kind = ConfigNode::Kind;

std::string shown(std::string_view text) { return printable(text, 60); }

// Suggests a full path, or the bare name inside the same section.
std::string suggest(const std::optional<std::string>& name) { return name ? "; did you mean " + *name + "?" : ""; }

std::string describe(const ConfigNode& node) {
  switch (node.kind) {
    case Kind::kNull:
      return "null";
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a section";
    case Kind::kScalar:
      break;
  }
  return node.quoted ? fmt::format("the string \"{}\"", shown(node.text)) : shown(node.text);
}

std::string_view without_plus(std::string_view text) {
  return text.size() > 1 && text[0] == '+' && text[1] != '-' ? text.substr(1) : text;
}

template <class T>
bool parse_all(std::string_view text, T& value) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size();
}

bool looks_like_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789+-.eE") == std::string_view::npos;
}

std::string outside(double value, const NumberBounds& bounds) {
  if (bounds.open_min && value <= bounds.min) return fmt::format("must be above {}, is {}", bounds.min, value);
  if (value < bounds.min) return fmt::format("must be at least {}, is {}", bounds.min, value);
  if (bounds.open_max && value >= bounds.max) return fmt::format("must be below {}, is {}", bounds.max, value);
  if (value > bounds.max) return fmt::format("must be at most {}, is {}", bounds.max, value);
  return "";
}

}  // namespace

struct ConfigReader::Report {
  struct Problem {
    int source;
    int line;
    std::string message;
  };

  const ConfigTree* tree;
  std::map<std::string, std::vector<std::string>> known;  // section's path -> its keys
  std::vector<Problem> problems;

  void add_known(const std::string& path, const std::string& key) {
    auto& keys = known[path];
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  }

  void add(std::vector<Problem>& list, int source, int line, const std::string& path,
           const std::string& message) const {
    list.push_back({source, line, fmt::format("{}: {}: {}", tree->place(source, line), printable(path), message)});
  }

  // What to write after "unknown key": a name like it in this section, or the section where that very name belongs.
  [[nodiscard]] std::string suggestion(const std::string& path, const std::string& key) const {
    const auto& keys = known.at(path);
    const std::string here = suggest(did_you_mean(key, keys));
    if (!here.empty()) return here;
    for (const auto& [section, names] : known) {
      if (section != path && std::find(names.begin(), names.end(), key) != names.end()) {
        return fmt::format("; did you mean {}{}{}?", section, section.empty() ? "" : ".", key);
      }
    }
    return keys.empty() || keys.size() > 12 ? "" : fmt::format("; known keys: {}", fmt::join(keys, ", "));
  }

  void find_unknown(const ConfigNode& node, const std::string& path, std::vector<Problem>& list) const {
    if (node.kind == Kind::kList) {
      for (size_t i = 0; i < node.items.size(); ++i) {
        find_unknown(node.items[i], fmt::format("{}.{}", path, i), list);
      }
      return;
    }
    const auto section = known.find(path);
    if (node.kind != Kind::kMap || section == known.end()) return;
    for (const auto& entry : node.entries) {
      const std::string child = path.empty() ? entry.key : path + "." + entry.key;
      if (std::find(section->second.begin(), section->second.end(), entry.key) != section->second.end()) {
        find_unknown(entry.value, child, list);
      } else {
        const int line = entry.line > 0 ? entry.line : entry.value.line;
        add(list, entry.value.source, line, child, "unknown key" + suggestion(path, entry.key));
      }
    }
  }
};

ConfigReader::ConfigReader(const ConfigTree& tree) : report_(std::make_shared<Report>()), node_(&tree.root()) {
  report_->tree = &tree;
  report_->known[""];
}

ConfigReader::ConfigReader(std::shared_ptr<Report> report, const ConfigNode* node, std::string path)
    : report_(std::move(report)), node_(node), path_(std::move(path)) {
  report_->known[path_];
}

std::string ConfigReader::path_of(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }

const ConfigNode* ConfigReader::node(const std::string& key) {
  report_->add_known(path_, key);
  return node_ == nullptr ? nullptr : node_->find(key);
}

bool ConfigReader::has(std::string_view key) const { return node_ != nullptr && node_->find(key) != nullptr; }

bool ConfigReader::is_null(std::string_view key) const { return has(key) && node_->find(key)->kind == Kind::kNull; }

const ConfigNode* ConfigReader::value(const std::string& key) {
  const ConfigNode* found = node(key);
  return found == nullptr || found->kind == Kind::kNull ? nullptr : found;
}

void ConfigReader::note(const ConfigNode& where, const std::string& key, const std::string& message) {
  report_->add(report_->problems, where.source, where.line, path_of(key), message);
}

void ConfigReader::fail(const std::string& key, const std::string& message) {
  const ConfigNode* where = node(key);
  if (where == nullptr) where = node_;
  if (where == nullptr) where = &report_->tree->root();
  note(*where, key, message);
}

std::optional<int64_t> ConfigReader::integer(const std::string& key, IntegerBounds bounds) {
  const ConfigNode* found = value(key);
  if (found == nullptr) return std::nullopt;
  int64_t number = 0;
  if (found->kind != Kind::kScalar || found->quoted || !parse_all(without_plus(found->text), number)) {
    note(*found, key, "expected an integer, found " + describe(*found));
    return std::nullopt;
  }
  if (number < bounds.min || number > bounds.max) {
    note(*found, key,
         number < bounds.min ? fmt::format("must be at least {}, is {}", bounds.min, number)
                             : fmt::format("must be at most {}, is {}", bounds.max, number));
    return std::nullopt;
  }
  return number;
}

std::optional<double> ConfigReader::to_number(const ConfigNode& node, const std::string& key,
                                              const NumberBounds& bounds) {
  double number = 0;
  if (node.kind != Kind::kScalar || node.quoted || !looks_like_number(node.text) ||
      !parse_all(without_plus(node.text), number) || !std::isfinite(number)) {
    note(node, key, "expected a number, found " + describe(node));
    return std::nullopt;
  }
  const std::string problem = outside(number, bounds);
  if (!problem.empty()) {
    note(node, key, problem);
    return std::nullopt;
  }
  return number;
}

std::optional<double> ConfigReader::number(const std::string& key, NumberBounds bounds) {
  const ConfigNode* found = value(key);
  return found == nullptr ? std::nullopt : to_number(*found, key, bounds);
}

std::optional<bool> ConfigReader::boolean(const std::string& key) {
  const ConfigNode* found = value(key);
  if (found == nullptr) return std::nullopt;
  const bool plain = found->kind == Kind::kScalar && !found->quoted;
  if (plain && (found->text == "true" || found->text == "True" || found->text == "TRUE")) return true;
  if (plain && (found->text == "false" || found->text == "False" || found->text == "FALSE")) return false;
  note(*found, key, "expected true or false, found " + describe(*found));
  return std::nullopt;
}

std::optional<std::string> ConfigReader::to_string(const ConfigNode& node, const std::string& key) {
  if (node.kind == Kind::kScalar) return node.text;
  note(node, key, "expected text, found " + describe(node));
  return std::nullopt;
}

std::optional<std::string> ConfigReader::string(const std::string& key) {
  const ConfigNode* found = value(key);
  return found == nullptr ? std::nullopt : to_string(*found, key);
}

std::optional<std::string> ConfigReader::choice(const std::string& key, std::span<const std::string> allowed) {
  auto text = string(key);
  if (!text || std::find(allowed.begin(), allowed.end(), *text) != allowed.end()) return text;
  fail(key, fmt::format("'{}' is not one of {}{}", shown(*text), fmt::join(allowed, ", "),
                        suggest(did_you_mean(*text, allowed))));
  return std::nullopt;
}

std::optional<std::vector<std::string>> ConfigReader::strings(const std::string& key) {
  const ConfigNode* found = value(key);
  if (found == nullptr) return std::nullopt;
  if (found->kind != Kind::kList) {
    note(*found, key, "expected a list, found " + describe(*found));
    return std::nullopt;
  }
  std::vector<std::string> result;
  for (const auto& item : found->items) {
    auto text = to_string(item, key);
    if (!text) return std::nullopt;
    result.push_back(std::move(*text));
  }
  return result;
}

std::optional<std::vector<double>> ConfigReader::numbers(const std::string& key, NumberBounds bounds) {
  const ConfigNode* found = value(key);
  if (found == nullptr) return std::nullopt;
  if (found->kind != Kind::kList) {
    note(*found, key, "expected a list of numbers, found " + describe(*found));
    return std::nullopt;
  }
  std::vector<double> result;
  for (const auto& item : found->items) {
    const auto number = to_number(item, key, bounds);
    if (!number) return std::nullopt;
    result.push_back(*number);
  }
  return result;
}

std::optional<std::vector<std::pair<std::string, double>>> ConfigReader::named_numbers(const std::string& key,
                                                                                       NumberBounds bounds) {
  const ConfigNode* found = value(key);
  if (found == nullptr) return std::nullopt;
  if (found->kind != Kind::kMap) {
    note(*found, key, "expected a section (name: number), found " + describe(*found));
    return std::nullopt;
  }
  std::vector<std::pair<std::string, double>> result;
  for (const auto& entry : found->entries) {
    const auto number = to_number(entry.value, key + "." + entry.key, bounds);
    if (!number) return std::nullopt;
    result.emplace_back(entry.key, *number);
  }
  return result;
}

ConfigReader ConfigReader::section(const std::string& key) {
  const ConfigNode* found = value(key);
  if (found != nullptr && found->kind != Kind::kMap) {
    note(*found, key, "expected a section (keys and values below it), found " + describe(*found));
    found = nullptr;
  }
  return {report_, found, path_of(key)};
}

std::vector<ConfigReader> ConfigReader::sections(const std::string& key) {
  const ConfigNode* found = value(key);
  std::vector<ConfigReader> result;
  if (found == nullptr) return result;
  if (found->kind != Kind::kList) {
    note(*found, key, "expected a list of sections, found " + describe(*found));
    return result;
  }
  for (size_t i = 0; i < found->items.size(); ++i) {
    const std::string name = fmt::format("{}.{}", key, i);
    if (found->items[i].kind != Kind::kMap) {
      note(found->items[i], name, "expected a section (keys and values), found " + describe(found->items[i]));
      continue;
    }
    result.push_back(ConfigReader(report_, &found->items[i], path_of(name)));
  }
  return result;
}

Status ConfigReader::finish() const {
  std::vector<Report::Problem> all = report_->problems;
  report_->find_unknown(report_->tree->root(), "", all);
  if (all.empty()) return {};
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return std::tie(a.source, a.line) < std::tie(b.source, b.line);
  });
  std::string message;
  for (const auto& problem : all) message += (message.empty() ? "" : "\n") + problem.message;
  return invalid(std::move(message));
}

}  // namespace graft
