#include "text/jinja/text_operations.h"

#include <algorithm>

#include "text/jinja/failure.h"
#include "text/jinja/python_text.h"
#include "text/unicode/code_points.h"

namespace graft::text::jinja {
namespace {

bool is_line_end(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

std::vector<Value> split_at_space(const MarkedText& text, int64_t most) {
  std::vector<Value> parts;
  const std::string& bytes = text.bytes();
  size_t i = 0;
  const auto skip = [&](bool space) {
    while (i < bytes.size() && is_python_space(code_point_at(bytes, i).value) == space)
      i += code_point_at(bytes, i).size;
  };
  for (skip(true); i < bytes.size(); skip(true)) {
    if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
      parts.emplace_back(text.slice(i, bytes.size()));
      break;
    }
    const size_t begin = i;
    skip(false);
    parts.emplace_back(text.slice(begin, i));
  }
  return parts;
}

// Mirror image of split_at_space.
std::vector<Value> split_at_space_from_right(const MarkedText& text, int64_t most) {
  std::vector<Value> parts;
  const std::string& bytes = text.bytes();
  size_t end = bytes.size();
  const auto skip = [&](bool space) {
    while (end > 0 && is_python_space(code_point_before(bytes, end).value) == space) {
      end -= code_point_before(bytes, end).size;
    }
  };
  for (skip(true); end > 0; skip(true)) {
    if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
      parts.emplace_back(text.slice(0, end));
      break;
    }
    const size_t last = end;
    skip(false);
    parts.emplace_back(text.slice(end, last));
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace

MarkedText replace(Evaluator& evaluator, const MarkedText& text, const std::string& from, const MarkedText& to,
                   int64_t most) {
  MarkedText result;
  const std::string& bytes = text.bytes();
  int64_t count = 0;
  size_t done = 0;
  // An empty pattern is found before every character and at the end.
  for (size_t at = bytes.find(from); at != std::string::npos && (most < 0 || count < most); ++count) {
    result.append_slice(text, done, at);
    result.append(to);
    evaluator.budget.step();
    if (result.size() > kLargestString) evaluator.budget.made(result.size());
    done = at + from.size();
    if (!from.empty()) {
      at = bytes.find(from, done);
    } else if (at < bytes.size()) {
      at += code_point_at(bytes, at).size;
    } else {
      break;
    }
  }
  result.append_slice(text, done, bytes.size());
  return result;
}

std::vector<Value> split(Evaluator& evaluator, const MarkedText& text, const std::string* separator, int64_t most) {
  evaluator.budget.made(text.size());
  if (separator == nullptr) return split_at_space(text, most);
  if (separator->empty()) fail("empty separator");
  std::vector<Value> parts;
  size_t done = 0;
  for (size_t at = text.bytes().find(*separator);
       at != std::string::npos && (most < 0 || static_cast<int64_t>(parts.size()) < most);
       at = text.bytes().find(*separator, done)) {
    parts.emplace_back(text.slice(done, at));
    done = at + separator->size();
    evaluator.budget.step();
  }
  parts.emplace_back(text.slice(done, text.size()));
  return parts;
}

std::vector<Value> split_from_right(Evaluator& evaluator, const MarkedText& text, const std::string* separator,
                                    int64_t most) {
  evaluator.budget.made(text.size());
  if (separator == nullptr) return split_at_space_from_right(text, most);
  if (separator->empty()) fail("empty separator");
  std::vector<Value> parts;
  size_t end = text.size();
  while ((most < 0 || static_cast<int64_t>(parts.size()) < most) && end >= separator->size()) {
    const size_t at = text.bytes().rfind(*separator, end - separator->size());
    if (at == std::string::npos) break;
    parts.emplace_back(text.slice(at + separator->size(), end));
    end = at;
    evaluator.budget.step();
  }
  parts.emplace_back(text.slice(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<Value> split_lines(const MarkedText& text, bool keep_ends) {
  std::vector<Value> lines;
  const std::string& bytes = text.bytes();
  size_t begin = 0;
  for (size_t i = 0; i < bytes.size();) {
    const CodePoint c = code_point_at(bytes, i);
    const size_t end = i;
    i += c.size;
    if (!is_line_end(c.value)) continue;
    if (c.value == '\r' && i < bytes.size() && bytes[i] == '\n') ++i;
    lines.emplace_back(text.slice(begin, keep_ends ? i : end));
    begin = i;
  }
  if (begin < bytes.size()) lines.emplace_back(text.slice(begin, bytes.size()));
  return lines;
}

MarkedText join(Evaluator& evaluator, const MarkedText& separator, const std::vector<Value>& items, bool strings_only) {
  MarkedText joined;
  for (size_t i = 0; i < items.size(); ++i) {
    if (strings_only && items[i].as_text() == nullptr) {
      fail("sequence item " + std::to_string(i) + ": expected str instance, " + items[i].type_name() + " found");
    }
    if (i > 0) joined.append(separator);
    joined.append(to_text(items[i]));
    evaluator.budget.step();
    if (joined.size() > kLargestString) evaluator.budget.made(joined.size());
  }
  return joined;
}

MarkedText html_escaped(const MarkedText& text) {
  return text.map_characters([](char32_t c, std::string& out) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        append_utf8(out, c);
    }
  });
}

}  // namespace graft::text::jinja
