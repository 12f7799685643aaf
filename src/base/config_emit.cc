#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/config_tree.h"

namespace graft {
namespace {

bool reads_as_something_else(std::string_view text) {
  // YAML 1.1 readers take the whole lot for booleans and nulls.
  static constexpr std::array<std::string_view, 10> kReserved = {"true", "false", "null", "yes", "no",
                                                                 "on",   "off",   "y",    "n",   "nan"};
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return std::find(kReserved.begin(), kReserved.end(), lower) != kReserved.end();
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

bool fits_plain(std::string_view text) {
  if (text.empty() || !is_letter(text.front()) || reads_as_something_else(text)) return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '/' || c == '-'; });
}

std::string in_quotes(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (c == '\n') {
      result += "\\n";
    } else if (c == '\t') {
      result += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  return result + '"';
}

// Whether a literal block keeps the text as it is: lines of plain ASCII, no lone spaces at the edges, and a single
// newline at the end or none.
bool fits_block(std::string_view text) {
  if (text.find('\n') == std::string_view::npos || text.front() == '\n' || text.front() == ' ') return false;
  if (text.ends_with("\n\n") || text == "\n") return false;
  char previous = '\n';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n') || byte >= 0x7F) return false;
    if (previous == ' ' && c == '\n') return false;
    previous = c;
  }
  return previous != ' ';
}

std::string block(std::string_view text, int indent) {
  const bool ends_with_newline = text.ends_with('\n');
  std::string result = ends_with_newline ? "|" : "|-";
  if (ends_with_newline) text.remove_suffix(1);
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    result += '\n';
    if (end > begin) result += std::string(static_cast<size_t>(indent), ' ');
    result += text.substr(begin, end - begin);
    begin = end + 1;
  }
  return result;
}

std::string scalar(const ConfigNode& node, int indent) {
  if (node.kind == ConfigNode::Kind::kNull) return "null";
  if (!node.quoted || fits_plain(node.text)) return node.text;
  return fits_block(node.text) ? block(node.text, indent) : in_quotes(node.text);
}

bool is_leaf(const ConfigNode& node) {
  return node.kind == ConfigNode::Kind::kNull || node.kind == ConfigNode::Kind::kScalar;
}

std::string flow(const ConfigNode& node) {
  std::string result;
  if (node.kind == ConfigNode::Kind::kList) {
    for (const auto& item : node.items) result += (result.empty() ? "" : ", ") + flow(item);
    return "[" + result + "]";
  }
  if (node.kind == ConfigNode::Kind::kMap) {
    for (const auto& entry : node.entries) {
      result += fmt::format("{}{}: {}", result.empty() ? "" : ", ", in_quotes(entry.key), flow(entry.value));
    }
    return "{" + result + "}";
  }
  if (node.kind == ConfigNode::Kind::kScalar && node.quoted && !fits_plain(node.text)) return in_quotes(node.text);
  return node.kind == ConfigNode::Kind::kNull ? "null" : node.text;
}

void emit(const ConfigNode& map, int indent, std::string& out) {
  const std::string pad(static_cast<size_t>(indent), ' ');
  for (const auto& entry : map.entries) {
    out += pad + (fits_plain(entry.key) ? entry.key : in_quotes(entry.key)) + ":";
    const ConfigNode& value = entry.value;
    if (value.kind == ConfigNode::Kind::kMap && !value.entries.empty()) {
      out += '\n';
      emit(value, indent + 2, out);
    } else if (is_leaf(value)) {
      out += " " + scalar(value, indent + 2) + "\n";
    } else {
      out += " " + flow(value) + "\n";
    }
  }
}

}  // namespace

std::string to_yaml(const ConfigNode& root) {
  if (root.entries.empty()) return "{}\n";
  std::string out;
  emit(root, 0, out);
  return out;
}

}  // namespace graft
