#include "serving/api/metric_text.h"

#include <cmath>
#include <cstdint>

#include "fmt/format.h"

namespace graft::serving::api {
namespace {

std::string escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out;
}

std::string number(double value) {
  const bool whole = std::abs(value) < 1e15 && value == std::floor(value);
  return whole ? fmt::format("{}", static_cast<int64_t>(value)) : fmt::format("{}", value);
}

}  // namespace

void MetricText::family(std::string_view name, std::string_view type, std::string_view help) {
  name_ = name;
  text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void MetricText::sample(const net::MetricLabels& labels, double value, std::string_view suffix) {
  text_ += fmt::format("{}{}", name_, suffix);
  char before = '{';
  for (const auto& [label, content] : labels) {
    text_ += fmt::format("{}{}=\"{}\"", before, label, escaped(content));
    before = ',';
  }
  text_ += fmt::format("{} {}\n", labels.empty() ? "" : "}", number(value));
}

}  // namespace graft::serving::api
