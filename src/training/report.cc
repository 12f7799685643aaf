#include "training/report.h"

#include <fmt/format.h>

#include "chart/page.h"
#include "chart/svg_chart.h"

namespace graft::training {
namespace {

using Points = std::vector<std::pair<double, double>>;

using chart::ChartOptions;
using chart::ChartSeries;
using chart::html_escape;
using chart::smoothed;
using chart::svg_chart;
using chart::table_section;
using chart::tiles;

constexpr size_t kTableRows = 25;

template <class T, class Value>
Points curve(const std::vector<T>& history, Value value) {
  Points points;
  for (const T& one : history) points.emplace_back(static_cast<double>(one.step), value(one));
  return points;
}

// The curve as numbers, for readers who cannot see it: at most kTableRows steps, evenly spread, the last included.
std::string curve_table(const History& history) {
  std::string html =
      "<table class=\"curve\"><tr><th>step</th><th>training loss</th><th>learning rate</th>"
      "<th>gradient norm</th><th>tokens</th></tr>";
  const size_t count = history.steps.size();
  const size_t rows = std::min(count, kTableRows);
  for (size_t row = 1; row <= rows; ++row) {
    const HistoryStep& step = history.steps[row * count / rows - 1];
    html += fmt::format("<tr><td>{}</td><td>{:.4f}</td><td>{:.3g}</td><td>{:.3g}</td><td>{}</td></tr>", step.step,
                        step.loss, step.learning_rate, step.grad_norm, step.total_tokens);
  }
  return html + "</table>";
}

std::string loss_section(const ReportData& data) {
  if (data.history.steps.empty() && data.history.evaluations.empty()) return "";
  const Points raw = curve(data.history.steps, [](const HistoryStep& step) { return step.loss; });
  const Points validation = curve(data.history.evaluations, [](const HistoryEvaluation& one) { return one.loss; });
  const std::vector<ChartSeries> series = {
      {"training, each step", "train", raw, false, true},
      {"training (smoothed)", "train", smoothed(raw, 0.8), false, false},
      {"validation", "validation", validation, true, false},
  };
  ChartOptions options{"training and validation loss by step",
                       "step",
                       data.confusion ? "nats per row" : "nats per token",
                       860,
                       300,
                       {},
                       {}};
  if (data.kept_step) {
    options.marked_x = static_cast<double>(*data.kept_step);
    options.mark_label = "adapter";
  }
  return fmt::format("<section><h2>Loss</h2>{}<details><summary>As numbers</summary>{}</details></section>\n",
                     svg_chart(series, options), curve_table(data.history));
}

std::string rate_section(const ReportData& data) {
  if (data.history.steps.empty()) return "";
  const std::vector<ChartSeries> rate = {
      {"learning rate", "rate", curve(data.history.steps, [](const HistoryStep& step) { return step.learning_rate; }),
       false, false}};
  const std::vector<ChartSeries> norm = {
      {"gradient norm", "train", curve(data.history.steps, [](const HistoryStep& step) { return step.grad_norm; }),
       false, false}};
  return fmt::format(
      "<div class=\"pair\"><section><h2>Learning rate</h2>{}</section><section><h2>Gradient norm before clipping</h2>{}"
      "</section></div>\n",
      svg_chart(rate, {"learning rate by step", "step", "", 420, 220, {}, {}}),
      svg_chart(norm, {"gradient norm by step", "step", "", 420, 220, {}, {}}));
}

std::string throughput_section(const ReportData& data) {
  Points raw;
  for (const HistoryStep& step : data.history.steps) {
    if (step.seconds > 0)
      raw.emplace_back(static_cast<double>(step.step), static_cast<double>(step.tokens) / step.seconds);
  }
  if (raw.empty()) return "";
  const std::vector<ChartSeries> series = {{"each step", "rate", raw, false, true},
                                           {"smoothed", "rate", smoothed(raw, 0.8), false, false}};
  ChartOptions options{"training tokens a second by step", "step", "tokens/s", 860, 180, {}, {}};
  options.from_zero = true;
  return fmt::format("<section><h2>Throughput</h2>{}</section>\n", svg_chart(series, options));
}

std::string answer(const std::string& heading, const std::string& text, bool match) {
  const std::string body = text.empty() ? "<p class=\"empty\">empty</p>" : "<p>" + html_escape(text) + "</p>";
  return fmt::format("<div{}><h3>{}</h3>{}</div>", match ? " class=\"match\"" : "", html_escape(heading), body);
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

std::string samples_section(const std::vector<Sample>& samples) {
  if (samples.empty()) return "";
  std::string html = "<section><h2>Samples: before and after</h2>";
  for (const Sample& sample : samples) {
    const auto matches = [&](const std::string& text) { return trimmed(text) == trimmed(sample.reference); };
    const std::string before =
        sample.before ? answer("Base model", *sample.before, matches(*sample.before)) : std::string();
    html += fmt::format("<div class=\"sample\"><div class=\"prompt\">{}</div><div class=\"answers\">{}{}{}</div></div>",
                        html_escape(sample.prompt), answer("Data", sample.reference, false), before,
                        answer("Fine-tuned", sample.after, matches(sample.after)));
  }
  return html + "</section>\n";
}

}  // namespace

std::string render_report(const ReportData& data) {
  std::string html = tiles(data.headline);
  html += loss_section(data);
  html += rate_section(data);
  html += throughput_section(data);
  if (data.confusion) html += confusion_section(*data.confusion);
  html += samples_section(data.samples);
  html += "<div class=\"pair\">" + table_section("Data", data.data) + table_section("Performance", data.performance) +
          "</div>\n";
  html += table_section("Where it ran", data.environment);
  html += fmt::format("<section><h2>Settings</h2><pre>{}</pre></section>\n", html_escape(data.config_yaml));
  return chart::page(data.title, data.outcome, data.remark, html);
}

}  // namespace graft::training
