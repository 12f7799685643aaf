#include "chart/svg_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "chart/canvas.h"
#include "chart/page.h"

namespace graft::chart {
namespace {

using Points = std::vector<std::pair<double, double>>;

constexpr size_t kMaxPoints = 500;

Points finite_points(const Points& points) {
  Points result;
  for (const auto& point : points) {
    if (std::isfinite(point.first) && std::isfinite(point.second)) result.push_back(point);
  }
  return result;
}

Points thinned(const Points& points) {
  if (points.size() <= kMaxPoints) return points;
  Points result;
  for (size_t bucket = 0; bucket < kMaxPoints; ++bucket) {
    const size_t begin = bucket * points.size() / kMaxPoints;
    const size_t end = (bucket + 1) * points.size() / kMaxPoints;
    double x = 0;
    double y = 0;
    for (size_t i = begin; i < end; ++i) {
      x += points[i].first;
      y += points[i].second;
    }
    const auto count = static_cast<double>(end - begin);
    result.emplace_back(x / count, y / count);
  }
  return result;
}

std::string legend(const std::vector<ChartSeries>& series) {
  std::string html;
  int named = 0;
  for (const ChartSeries& one : series) {
    if (one.faint || one.points.empty()) continue;
    ++named;
    html += fmt::format("<span class=\"{}\"><i></i>{}</span>", html_escape(one.css_class), html_escape(one.name));
  }
  return named > 1 ? "<div class=\"legend\">" + html + "</div>" : "";
}

}  // namespace

std::string svg_chart(const std::vector<ChartSeries>& series, const ChartOptions& options) {
  Range x;
  Range y;
  std::vector<Points> drawn;
  for (const ChartSeries& one : series) {
    drawn.push_back(thinned(finite_points(one.points)));
    for (const auto& [px, py] : drawn.back()) {
      x.include(px);
      y.include(py);
    }
  }
  x.make_drawable(0.0);
  if (options.from_zero) y.include(0);
  y.make_drawable(0.05);
  if (options.from_zero) y.low = 0;
  const Canvas canvas(options, x, y);
  std::string svg =
      fmt::format("{}<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">{}", legend(series), options.width,
                  options.height, html_escape(options.label), canvas.axes() + canvas.mark());
  for (const bool faint : {true, false}) {
    for (size_t i = 0; i < series.size(); ++i) {
      if (series[i].faint == faint && !drawn[i].empty()) svg += canvas.line(series[i], drawn[i]);
    }
  }
  return svg + "</svg>";
}

std::string svg_histogram(const std::vector<double>& values, const std::string& css_class,
                          const ChartOptions& options) {
  constexpr int kBars = 40;
  Range x;
  for (const double value : values) {
    if (std::isfinite(value)) x.include(value);
  }
  x.make_drawable(0.0);
  std::vector<size_t> counts(kBars);
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    const auto bar = static_cast<int>((value - x.low) / (x.high - x.low) * kBars);
    ++counts[static_cast<size_t>(std::clamp(bar, 0, kBars - 1))];
  }
  const size_t most = *std::max_element(counts.begin(), counts.end());
  const Canvas canvas(options, x, {0, std::max(1.0, static_cast<double>(most) * 1.05)});
  const double step = (x.high - x.low) / kBars;
  std::string bars = fmt::format("<g class=\"bars {}\">", html_escape(css_class));
  for (int bar = 0; bar < kBars; ++bar) {
    const size_t count = counts[static_cast<size_t>(bar)];
    if (count == 0) continue;
    const double left = canvas.x(x.low + bar * step);
    const double top = canvas.y(static_cast<double>(count));
    bars += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"><title>{} from {:.4g} to {:.4g} {}</title>"
        "</rect>",
        left, top, canvas.x(x.low + (bar + 1) * step) - left - 1, canvas.bottom() - top, count, x.low + bar * step,
        x.low + (bar + 1) * step, html_escape(options.x_label));
  }
  return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">{}{}</g>{}</svg>", options.width,
                     options.height, html_escape(options.label), canvas.axes(), bars, canvas.mark());
}

std::vector<std::pair<double, double>> smoothed(const std::vector<std::pair<double, double>>& points, double keep) {
  Points result;
  double average = 0;
  double weight = 0;
  for (const auto& [x, y] : points) {
    if (!std::isfinite(y)) continue;
    average = keep * average + (1 - keep) * y;
    weight = keep * weight + (1 - keep);
    result.emplace_back(x, average / weight);
  }
  return result;
}

}  // namespace graft::chart
