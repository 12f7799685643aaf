#include "training/confusion.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "chart/page.h"

namespace graft::training {

namespace {

constexpr size_t kShownLabels = 24;

double share(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

// The labels with most rows, in their own order.
std::vector<size_t> shown_labels(const Confusion& confusion) {
  std::vector<size_t> order(confusion.labels().size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (order.size() <= kShownLabels) return order;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t x, size_t y) { return confusion.score(x).rows > confusion.score(y).rows; });
  order.resize(kShownLabels);
  std::sort(order.begin(), order.end());
  return order;
}

// Darker where more of a class's rows are.
std::string cell(int64_t count, int64_t rows, bool right) {
  return fmt::format("<td style=\"text-align:right;background:rgba({},{:.2f})\">{}</td>",
                     right ? "46,160,67" : "218,54,51", 0.55 * share(count, rows), count);
}

}  // namespace

Confusion::Confusion(std::vector<std::string> labels) : labels_(std::move(labels)), counts_(size() * size()) {}

void Confusion::add(size_t reference, size_t answer) {
  ++counts_[reference * size() + answer];
  ++rows_;
}

double Confusion::accuracy() const {
  int64_t right = 0;
  for (size_t i = 0; i < size(); ++i) right += count(i, i);
  return share(right, rows_);
}

Confusion::Score Confusion::score(size_t label) const {
  Score score;
  for (size_t i = 0; i < size(); ++i) {
    score.rows += count(label, i);
    score.answered += count(i, label);
  }
  score.precision = share(count(label, label), score.answered);
  score.recall = share(count(label, label), score.rows);
  score.f1 = share(2 * count(label, label), score.rows + score.answered);
  return score;
}

double Confusion::macro_f1() const {
  double sum = 0;
  int64_t labels = 0;
  for (size_t i = 0; i < size(); ++i) {
    const Score one = score(i);
    if (one.rows + one.answered == 0) continue;
    sum += one.f1;
    ++labels;
  }
  return labels == 0 ? 0.0 : sum / static_cast<double>(labels);
}

size_t largest(const float* logits, size_t count) {
  return static_cast<size_t>(std::max_element(logits, logits + count) - logits);
}

std::string confusion_section(const Confusion& confusion) {
  const std::vector<size_t> shown = shown_labels(confusion);
  std::string html = "<section><h2>Classes</h2><table class=\"confusion\"><tr><th>is \\ classified as</th>";
  for (const size_t label : shown) html += "<th>" + chart::html_escape(confusion.labels()[label]) + "</th>";
  html += "<th>rows</th><th>precision</th><th>recall</th><th>F1</th></tr>";
  for (const size_t row : shown) {
    const Confusion::Score score = confusion.score(row);
    html += "<tr><th>" + chart::html_escape(confusion.labels()[row]) + "</th>";
    for (const size_t column : shown) html += cell(confusion.count(row, column), score.rows, row == column);
    html += fmt::format("<td>{}</td><td>{:.3f}</td><td>{:.3f}</td><td>{:.3f}</td></tr>", score.rows, score.precision,
                        score.recall, score.f1);
  }
  html += "</table>";
  if (shown.size() < confusion.labels().size()) {
    html += fmt::format("<p>The {} most frequent of {} classes.</p>", shown.size(), confusion.labels().size());
  }
  return html + "</section>\n";
}

}  // namespace graft::training
