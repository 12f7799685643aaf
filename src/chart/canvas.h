#pragma once

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "chart/svg_chart.h"

// The plane that charts are drawn on: values to places, axes, marks. Of this room only.
namespace graft::chart {

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void include(double value);
  void make_drawable(double margin_share);  // never empty, never a single value
};

class Canvas {
 public:
  Canvas(const ChartOptions& options, Range x, Range y) : options_(options), x_(x), y_(y) {}

  [[nodiscard]] double x(double value) const;
  [[nodiscard]] double y(double value) const;
  [[nodiscard]] double bottom() const;
  [[nodiscard]] double right() const;

  [[nodiscard]] std::string axes() const;
  [[nodiscard]] std::string mark() const;
  [[nodiscard]] std::string line(const ChartSeries& series, const std::vector<std::pair<double, double>>& points) const;

 private:
  const ChartOptions& options_;
  Range x_, y_;
};

}  // namespace graft::chart
