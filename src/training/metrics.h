#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "recipe/text_metrics.h"
#include "training/python_metric.h"

namespace graft::training {

using MetricValues = std::vector<std::pair<std::string, double>>;  // name -> value, in the order they were asked for

// The scores that somebody has asked for, of answers against the right ones.
class Metrics {
 public:
  // Each of `names` is one of recipe::text_metric_names(), or a Python file (*.py; its name is the file's, without
  // .py).
  static Result<Metrics> open(const std::vector<std::string>& names);

  // Of one answer; also added to the means. Errors name the row.
  Result<MetricValues> add(int64_t row, std::string_view prompt, std::string_view answer, std::string_view reference);
  [[nodiscard]] MetricValues means() const;  // 0 without rows
  void reset();

  [[nodiscard]] bool empty() const { return parts_.empty(); }

 private:
  struct Part {
    std::string name;
    recipe::TextMetric text = nullptr;
    std::optional<PythonMetric> python;
    double sum = 0;
  };
  std::vector<Part> parts_;
  int64_t rows_ = 0;
};

// Errors: neither a metric's name nor a Python file's.
Status check_metric_name(const std::string& name);
std::string metric_label(const std::string& name);  // "exact_match"; of "dir/score.py": "score"

}  // namespace graft::training
