#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace graft::chart {

struct ChartSeries {
  std::string name;
  std::string css_class;                          // colours come from the page: .CLASS sets color
  std::vector<std::pair<double, double>> points;  // x ascending; points that are not finite are left out
  bool markers = false;                           // a dot with a tooltip on each point
  bool faint = false;                             // drawn thin, behind the others, and not in the legend
};

struct ChartOptions {
  std::string label;  // what the chart shows, for screen readers
  std::string x_label;
  std::string y_label;
  int width = 860;
  int height = 300;
  std::optional<double> marked_x{};  // a dashed upright line, with this label
  std::string mark_label{};
  bool from_zero = false;  // the y axis begins at 0
};

// A line chart as one inline <svg>: axes with round ticks, a legend where there are several series. Long series are
// thinned to means of equal numbers of points.
std::string svg_chart(const std::vector<ChartSeries>& series, const ChartOptions& options);

// How often values are in each of 40 equal parts of their range, as bars. Values that are not finite are left out.
std::string svg_histogram(const std::vector<double>& values, const std::string& css_class, const ChartOptions& options);

// Exponential moving average of the y values, started with the first one and corrected for it.
std::vector<std::pair<double, double>> smoothed(const std::vector<std::pair<double, double>>& points, double keep);

// Round numbers that cover [low, high] in about `count` intervals.
std::vector<double> round_ticks(double low, double high, int count);

}  // namespace graft::chart
