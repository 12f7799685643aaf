#include "training/metrics.h"

#include <fmt/format.h>

#include "base/files.h"
#include "base/strings.h"

namespace graft::training {

Status check_metric_name(const std::string& name) {
  if (name.ends_with(".py") || recipe::text_metric(name) != nullptr) return {};
  return invalid(fmt::format("'{}' is no metric, and no Python file (.py){}", printable(name, 60),
                             suggestion(name, recipe::text_metric_names())));
}

std::string metric_label(const std::string& name) {
  return name.ends_with(".py") ? fs::path(name).stem().string() : name;
}

Result<Metrics> Metrics::open(const std::vector<std::string>& names) {
  Metrics metrics;
  for (const std::string& name : names) {
    GRAFT_CHECK_OK(check_metric_name(name));
    Part part;
    part.name = metric_label(name);
    part.text = recipe::text_metric(name);
    if (part.text == nullptr) {
      GRAFT_TRY(PythonMetric started, PythonMetric::start(name));
      part.python.emplace(std::move(started));
    }
    metrics.parts_.push_back(std::move(part));
  }
  return metrics;
}

Result<MetricValues> Metrics::add(int64_t row, std::string_view prompt, std::string_view answer,
                                  std::string_view reference) {
  MetricValues values;
  for (Part& part : parts_) {
    double value = 0;
    if (part.text != nullptr) {
      value = part.text(reference, answer);
    } else {
      auto score = part.python->score(prompt, answer, reference);
      if (!score.ok()) return at(fmt::format("row {}", row), score.error());
      value = *score;
    }
    values.emplace_back(part.name, value);
  }
  for (size_t i = 0; i < parts_.size(); ++i) parts_[i].sum += values[i].second;
  ++rows_;
  return values;
}

MetricValues Metrics::means() const {
  MetricValues values;
  for (const Part& part : parts_) {
    values.emplace_back(part.name, rows_ == 0 ? 0.0 : part.sum / static_cast<double>(rows_));
  }
  return values;
}

void Metrics::reset() {
  rows_ = 0;
  for (Part& part : parts_) part.sum = 0;
}

}  // namespace graft::training
