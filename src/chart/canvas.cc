#include "chart/canvas.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "chart/page.h"

namespace graft::chart {
namespace {

constexpr double kLeft = 64, kRight = 16, kTop = 14, kBottom = 44;

}  // namespace

void Range::include(double value) {
  low = std::min(low, value);
  high = std::max(high, value);
}

void Range::make_drawable(double margin_share) {
  if (!(low <= high)) {
    low = 0;
    high = 1;
  }
  if (high - low <= 1e-12 * std::max(std::abs(low), std::abs(high))) {
    const double half = low == 0 ? 0.5 : std::abs(low) * 0.05;
    low -= half;
    high += half;
  }
  const double margin = (high - low) * margin_share;
  low -= margin;
  high += margin;
}

double Canvas::x(double value) const {
  return kLeft + (value - x_.low) / (x_.high - x_.low) * (options_.width - kLeft - kRight);
}
double Canvas::y(double value) const {
  return kTop + (y_.high - value) / (y_.high - y_.low) * (options_.height - kTop - kBottom);
}
double Canvas::bottom() const { return options_.height - kBottom; }
double Canvas::right() const { return options_.width - kRight; }

std::string Canvas::axes() const {
  std::string svg = "<g class=\"axes\">";
  for (const double tick : round_ticks(y_.low, y_.high, 5)) {
    svg += fmt::format("<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", kLeft, right(), y(tick),
                       y(tick));
    svg +=
        fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{:.4g}</text>", kLeft - 8, y(tick) + 4, tick);
  }
  for (const double tick : round_ticks(x_.low, x_.high, 8)) {
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:.7g}</text>", x(tick), bottom() + 18,
                       tick);
  }
  svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\" class=\"axis-name\">{}</text>",
                     (kLeft + right()) / 2, options_.height - 6.0, html_escape(options_.x_label));
  svg += fmt::format(
      "<text transform=\"translate(14,{:.1f}) rotate(-90)\" text-anchor=\"middle\" class=\"axis-name\">{}</text></g>",
      (kTop + bottom()) / 2, html_escape(options_.y_label));
  return svg;
}

std::string Canvas::mark() const {
  if (!options_.marked_x) return "";
  const double at = x(*options_.marked_x);
  const bool near_right = at > (kLeft + right()) / 2;
  return fmt::format(
      "<g class=\"mark\"><line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>"
      "<text x=\"{3:.1f}\" y=\"{4:.1f}\" text-anchor=\"{5}\">{6}</text></g>",
      at, kTop, bottom(), near_right ? at - 6 : at + 6, kTop + 10, near_right ? "end" : "start",
      html_escape(options_.mark_label));
}

std::string Canvas::line(const ChartSeries& series, const std::vector<std::pair<double, double>>& points) const {
  std::string path;
  for (const auto& [px, py] : points) path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "" : " ", x(px), y(py));
  std::string svg = fmt::format("<g class=\"{}{}\"><polyline points=\"{}\"/>", html_escape(series.css_class),
                                series.faint ? " faint" : "", path);
  if (series.markers || points.size() == 1) {
    for (const auto& [px, py] : points) {
      svg +=
          fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\"><title>{}: {:.4g} at {} {:.7g}</title></circle>",
                      x(px), y(py), html_escape(series.name), py, html_escape(options_.x_label), px);
    }
  }
  return svg + "</g>";
}

std::vector<double> round_ticks(double low, double high, int count) {
  const double rough = (high - low) / count;
  if (!(rough > 0) || !std::isfinite(rough)) return {low};
  const double magnitude = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * magnitude;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * magnitude >= rough * 0.999) {
      step = factor * magnitude;
      break;
    }
  }
  std::vector<double> ticks;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i)
    ticks.push_back(i * step + 0.0);  // never -0
  return ticks;
}

}  // namespace graft::chart
