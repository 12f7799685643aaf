#include "training/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace graft::training {
namespace {

using Points = std::vector<std::pair<double, double>>;

constexpr size_t kMaxPoints = 500;
constexpr double kLeft = 64, kRight = 16, kTop = 14, kBottom = 44;

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

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  void make_drawable(double margin_share) {
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
};

class Canvas {
 public:
  Canvas(const ChartOptions& options, Range x, Range y) : options_(options), x_(x), y_(y) {}

  [[nodiscard]] double x(double value) const { return kLeft + (value - x_.low) / (x_.high - x_.low) * plot_width(); }
  [[nodiscard]] double y(double value) const { return kTop + (y_.high - value) / (y_.high - y_.low) * plot_height(); }
  [[nodiscard]] double bottom() const { return options_.height - kBottom; }
  [[nodiscard]] double right() const { return options_.width - kRight; }

  [[nodiscard]] std::string axes() const {
    std::string svg = "<g class=\"axes\">";
    for (const double tick : round_ticks(y_.low, y_.high, 5)) {
      svg += fmt::format("<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", kLeft, right(), y(tick),
                         y(tick));
      svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{:.4g}</text>", kLeft - 8, y(tick) + 4,
                         tick);
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

  [[nodiscard]] std::string mark() const {
    if (!options_.marked_x) return "";
    const double at = x(*options_.marked_x);
    const bool near_right = at > (kLeft + right()) / 2;
    return fmt::format(
        "<g class=\"mark\"><line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>"
        "<text x=\"{3:.1f}\" y=\"{4:.1f}\" text-anchor=\"{5}\">{6}</text></g>",
        at, kTop, bottom(), near_right ? at - 6 : at + 6, kTop + 10, near_right ? "end" : "start",
        html_escape(options_.mark_label));
  }

  [[nodiscard]] std::string line(const ChartSeries& series, const Points& points) const {
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

 private:
  [[nodiscard]] double plot_width() const { return options_.width - kLeft - kRight; }
  [[nodiscard]] double plot_height() const { return options_.height - kTop - kBottom; }

  const ChartOptions& options_;
  Range x_, y_;
};

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
  y.make_drawable(0.05);
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

std::string html_escape(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

}  // namespace graft::training
