#include "load/load_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "chart/page.h"
#include "chart/svg_chart.h"
#include "load/summary.h"

namespace graft::load {
namespace {

using Points = std::vector<std::pair<double, double>>;

constexpr size_t kSlices = 40;
constexpr size_t kPerSlice = 8;  // fewer requests say nothing about a percentile

std::string milliseconds(double value) { return std::isnan(value) ? "-" : fmt::format("{:.1f} ms", value); }

std::string section(const std::string& heading, const std::string& body) {
  return fmt::format("<section><h2>{}</h2>{}</section>\n", chart::html_escape(heading), body);
}

size_t slice_count(const LoadRun& run) { return std::clamp<size_t>(run.requests.size() / kPerSlice, 1, kSlices); }

// The run cut into equal times by when requests were due; `value` of a request, NaN: none.
template <class Value>
std::vector<chart::ChartSeries> percentiles_over_time(const LoadRun& run, Value value) {
  const size_t slices = slice_count(run);
  std::vector<std::vector<double>> values(slices);
  for (const RequestRecord& one : run.requests) {
    const double of_this = value(one);
    if (!one.error.empty() || std::isnan(of_this) || run.seconds <= 0) continue;
    const auto slice = static_cast<size_t>(one.due / run.seconds * static_cast<double>(slices));
    values[std::min(slice, slices - 1)].push_back(of_this * 1000);
  }
  std::vector<chart::ChartSeries> series = {
      {"p50", "first", {}, true, false}, {"p90", "third", {}, true, false}, {"p99", "second", {}, true, false}};
  for (size_t slice = 0; slice < slices; ++slice) {
    if (values[slice].empty()) continue;
    std::sort(values[slice].begin(), values[slice].end());
    const double middle = (static_cast<double>(slice) + 0.5) * run.seconds / static_cast<double>(slices);
    series[0].points.emplace_back(middle, percentile(values[slice], 0.5));
    series[1].points.emplace_back(middle, percentile(values[slice], 0.9));
    series[2].points.emplace_back(middle, percentile(values[slice], 0.99));
  }
  return series;
}

// Output tokens a second: those of a request come evenly between its first token and its end.
Points throughput(const LoadRun& run) {
  const size_t slices = std::max<size_t>(kSlices, slice_count(run));
  const double width = run.seconds / static_cast<double>(slices);
  std::vector<double> tokens(slices);
  for (const RequestRecord& one : run.requests) {
    if (!one.error.empty() || width <= 0) continue;
    const double begin = std::isnan(one.first) ? one.sent : one.first;
    const double length = std::max(one.end - begin, 1e-9);
    for (size_t slice = 0; slice < slices; ++slice) {
      const double low = std::max(begin, static_cast<double>(slice) * width);
      const double high = std::min(one.end, static_cast<double>(slice + 1) * width);
      if (high > low) tokens[slice] += static_cast<double>(one.output_tokens) * (high - low) / length;
    }
  }
  Points points;
  for (size_t slice = 0; slice < slices && width > 0; ++slice) {
    points.emplace_back((static_cast<double>(slice) + 0.5) * width, tokens[slice] / width);
  }
  return points;
}

// Requests that are due and not ended, at each change.
Points in_flight(const LoadRun& run) {
  std::vector<std::pair<double, int>> changes;
  for (const RequestRecord& one : run.requests) {
    changes.emplace_back(one.due, 1);
    changes.emplace_back(one.end, -1);
  }
  std::sort(changes.begin(), changes.end());
  Points points;
  double open = 0;
  for (const auto& [at, change] : changes) points.emplace_back(at, open += change);
  return points;
}

chart::ChartOptions axes(const std::string& label, const std::string& x, const std::string& y, int width, int height) {
  chart::ChartOptions options;
  options.label = label;
  options.x_label = x;
  options.y_label = y;
  options.width = width;
  options.height = height;
  options.from_zero = true;
  return options;
}

std::string histogram(const std::string& heading, const std::string& css_class, const Distribution& all,
                      const std::vector<double>& values) {
  if (values.empty()) return "";
  chart::ChartOptions options = axes(heading, "ms", "requests", 420, 240);
  options.marked_x = all.p99;
  options.mark_label = "p99";
  return section(heading, chart::svg_histogram(values, css_class, options));
}

std::string charts(const LoadRun& run, const Summary& summary) {
  std::vector<double> first;
  std::vector<double> whole;
  for (const RequestRecord& one : run.requests) {
    if (!one.error.empty()) continue;
    whole.push_back((one.end - one.due) * 1000);
    if (!std::isnan(one.first)) first.push_back((one.first - one.due) * 1000);
  }
  std::string html;
  if (!first.empty()) {
    const auto series = percentiles_over_time(run, [](const RequestRecord& one) { return one.first - one.due; });
    html += section("Time to first token over the run",
                    chart::svg_chart(series, axes("time to first token by time of arrival", "s", "ms", 860, 280)));
  }
  const auto series = percentiles_over_time(run, [](const RequestRecord& one) { return one.end - one.due; });
  html += section("End-to-end latency over the run",
                  chart::svg_chart(series, axes("end-to-end latency by time of arrival", "s", "ms", 860, 280)));
  html += "<div class=\"pair\">" + histogram("Time to first token", "first", summary.first_token, first) +
          histogram("End-to-end latency", "third", summary.end_to_end, whole) + "</div>\n";
  html += "<div class=\"pair\">" +
          section("Throughput", chart::svg_chart({{"output tokens/s", "third", throughput(run), false, false}},
                                                 axes("output tokens a second", "s", "tokens/s", 420, 240))) +
          section("Requests in flight", chart::svg_chart({{"in flight", "first", in_flight(run), false, false}},
                                                         axes("requests in flight", "s", "", 420, 240))) +
          "</div>\n";
  return html;
}

std::string table(const Summary& summary) {
  std::string html =
      "<table class=\"curve\"><tr><th>milliseconds</th><th>mean</th><th>p50</th><th>p90</th><th>p99</th><th>max</th>"
      "</tr>";
  const auto row = [&](const char* name, const Distribution& one) {
    if (one.count == 0) return;
    html += fmt::format("<tr><td>{}</td>", name);
    for (const double value : {one.mean, one.p50, one.p90, one.p99, one.max})
      html += fmt::format("<td>{:.2f}</td>", value);
    html += "</tr>";
  };
  row("time to first token", summary.first_token);
  row("time per output token", summary.per_token);
  row("inter-token latency", summary.inter_token);
  row("end-to-end latency", summary.end_to_end);
  return section("Latencies", html + "</table>");
}

}  // namespace

std::string render_load_report(const LoadOptions& options, const LoadRun& run) {
  const Summary summary = summarise(run);
  std::string body = chart::tiles({{"time to first token, p50", milliseconds(summary.first_token.p50)},
                                   {"time to first token, p99", milliseconds(summary.first_token.p99)},
                                   {"per output token, p50", milliseconds(summary.per_token.p50)},
                                   {"output tokens/s", fmt::format("{:.1f}", summary.output_tokens_per_s)},
                                   {"requests/s", fmt::format("{:.2f}", summary.requests_per_s)}});
  if (summary.answered > 0) body += charts(run, summary);
  body += table(summary);
  chart::NamedValues errors;
  for (const auto& [kind, count] : summary.errors) {
    errors.emplace_back(fmt::format("{} ({})", kind, run.error_texts.at(kind)), std::to_string(count));
  }
  body += chart::table_section("Failed requests", errors);
  const std::string remark =
      summary.failed == 0 ? ""
                          : fmt::format("{} of {} requests failed. Latencies and throughput are those of the others.",
                                        summary.failed, run.requests.size());
  return chart::page("Load on " + options.url,
                     fmt::format("{}: {} answered in {:.1f} s, at most {} in flight.", describe(options),
                                 summary.answered, summary.seconds, summary.most_in_flight),
                     remark, body);
}

}  // namespace graft::load
