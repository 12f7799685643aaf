#pragma once

#include <string>
#include <string_view>

#include "net/metrics.h"

namespace graft::serving::api {

// Writes Prometheus' text format for values that somebody else counts.
class MetricText {
 public:
  // type: counter, gauge or summary. Its samples follow.
  void family(std::string_view name, std::string_view type, std::string_view help);
  // `suffix`: "" or, of a summary, "_sum" and "_count".
  void sample(const net::MetricLabels& labels, double value, std::string_view suffix = "");
  std::string take() { return std::move(text_); }

 private:
  std::string name_;
  std::string text_;
};

}  // namespace graft::serving::api
