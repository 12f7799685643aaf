#include "recipe/data_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace graft::recipe {
namespace {

constexpr size_t kBars = 12;
constexpr int64_t kBarWidth = 40;

std::string count_text(int64_t count) {
  std::string digits = std::to_string(count);
  for (int64_t i = static_cast<int64_t>(digits.size()) - 3; i > 0; i -= 3) digits.insert(static_cast<size_t>(i), ",");
  return digits;
}

// A width of 1, 2 or 5 times a power of ten, so that at most kBars bars cover the range.
int64_t bar_width(int64_t range) {
  for (int64_t power = 1;; power *= 10) {
    for (const int64_t step : {1, 2, 5}) {
      if (step * power * static_cast<int64_t>(kBars) >= range) return step * power;
    }
  }
}

std::vector<HistogramBar> histogram_of(const std::vector<int32_t>& sorted) {
  const int64_t width = bar_width(int64_t{sorted.back()} - sorted.front() + 1);
  const int64_t first = sorted.front() / width;
  std::vector<HistogramBar> bars;
  for (int64_t i = first; i <= sorted.back() / width; ++i) bars.push_back({i * width, (i + 1) * width - 1, 0});
  for (const int64_t length : sorted) ++bars[static_cast<size_t>(length / width - first)].rows;
  return bars;
}

void measure_lengths(std::vector<int32_t> lengths, DataReport& report) {
  if (lengths.empty()) return;
  double sum = 0;
  for (const int32_t length : lengths) sum += length;
  std::sort(lengths.begin(), lengths.end());
  report.shortest = lengths.front();
  report.longest = lengths.back();
  report.mean = sum / static_cast<double>(lengths.size());
  for (const int percent : {50, 90, 95, 99}) {
    const auto rank = (lengths.size() * static_cast<size_t>(percent) + 99) / 100;  // nearest rank, from 1
    report.percentiles.emplace_back(percent, lengths[std::max<size_t>(rank, 1) - 1]);
  }
  report.histogram = histogram_of(lengths);
}

std::string same_rows_text(const SameRows& same, const char* what) {
  if (same.exact + same.near == 0) return "none";
  std::string text =
      fmt::format("{} exact, {} but for case and white space", count_text(same.exact), count_text(same.near));
  const char* before = ": ";
  for (const auto& [row, other] : same.examples) {
    text += fmt::format("{}row {} {} {}", before, row, what, other);
    before = ", ";
  }
  if (same.exact + same.near > static_cast<int64_t>(same.examples.size())) text += ", ...";
  return text;
}

nlohmann::ordered_json same_rows_json(const SameRows& same) {
  nlohmann::ordered_json pairs = nlohmann::ordered_json::array();
  for (const auto& [row, other] : same.examples) pairs.push_back({row, other});
  return {{"exact", same.exact}, {"near", same.near}, {"examples", pairs}};
}

std::string histogram_text(const DataReport& report) {
  int64_t most = 1;
  for (const HistogramBar& bar : report.histogram) most = std::max(most, bar.rows);
  std::string text;
  for (const HistogramBar& bar : report.histogram) {
    const int64_t length = bar.rows == 0 ? 0 : std::max<int64_t>(1, bar.rows * kBarWidth / most);
    text += fmt::format("  {:>9} - {:<9} {:<{}} {}\n", count_text(bar.from), count_text(bar.to),
                        std::string(static_cast<size_t>(length), '#'), kBarWidth, count_text(bar.rows));
  }
  return text;
}

std::string left_out_text(const DataReport& report) {
  std::string text;
  const auto line = [&](const char* name, int64_t rows) {
    if (rows > 0) text += fmt::format("  {:<26} {}\n", name, count_text(rows));
  };
  line("left out by sample_ratio", report.sampled_out);
  line("truncated", report.truncated);
  line("cut into pieces", report.cut);
  line("left out as too long", report.dropped);
  line("left out as invalid", report.invalid);
  for (const auto& [reason, rows] : report.invalid_reasons)
    text += fmt::format("    {}: {}\n", count_text(rows), reason);
  return text;
}

}  // namespace

Result<DataReport> make_data_report(const PreparedData& data, const TrainingConfig& config, int64_t limit) {
  DataReport report;
  report.shape = name_of(data.shape);
  report.rows = data.rows;
  std::vector<int32_t> lengths;
  lengths.reserve(static_cast<size_t>(data.records()));
  GRAFT_CHECK_OK(data.each_record([&](const RowRecord& record) {
    ++(record.split == Split::kTrain        ? report.train_rows
       : record.split == Split::kValidation ? report.validation_rows
                                            : report.test_rows);
    lengths.push_back(static_cast<int32_t>(record.tokens));
  }));
  report.sampled_out = data.sampled_out;
  report.truncated = data.truncated;
  report.cut = data.cut;
  report.dropped = data.dropped;
  report.invalid = data.invalid;
  report.invalid_reasons = data.invalid_reasons;
  report.labels = data.labels;
  report.limit = limit;
  measure_lengths(std::move(lengths), report);
  GRAFT_TRY(FoundRows found, find_same_rows(data));
  report.duplicates = std::move(found.duplicates);
  report.leaks = std::move(found.leaks);
  report.epoch_tokens = data.train.tokens();
  report.epoch_learned = data.train.learned();
  report.epochs = config.trainer.epochs;
  report.run_tokens = report.epoch_tokens * report.epochs;
  return report;
}

nlohmann::ordered_json to_json(const DataReport& report) {
  nlohmann::ordered_json bars = nlohmann::ordered_json::array();
  for (const HistogramBar& bar : report.histogram)
    bars.push_back({{"from", bar.from}, {"to", bar.to}, {"rows", bar.rows}});
  nlohmann::ordered_json tokens = {
      {"limit", report.limit}, {"min", report.shortest}, {"max", report.longest}, {"mean", report.mean}};
  for (const auto& [percent, length] : report.percentiles) tokens["p" + std::to_string(percent)] = length;
  tokens["histogram"] = bars;
  return {{"shape", report.shape},
          {"rows", report.rows},
          {"train", report.train_rows},
          {"validation", report.validation_rows},
          {"test", report.test_rows},
          {"sampled_out", report.sampled_out},
          {"truncated", report.truncated},
          {"cut", report.cut},
          {"dropped", report.dropped},
          {"invalid", report.invalid},
          {"invalid_reasons", report.invalid_reasons},
          {"labels", report.labels},
          {"tokens", tokens},
          {"duplicates", same_rows_json(report.duplicates)},
          {"leaks", same_rows_json(report.leaks)},
          {"billed",
           {{"tokens_per_epoch", report.epoch_tokens},
            {"tokens_with_loss_per_epoch", report.epoch_learned},
            {"epochs", report.epochs},
            {"tokens", report.run_tokens}}}};
}

std::string to_text(const DataReport& report) {
  std::string text =
      fmt::format("Rows\n  {:<26} {}\n  {:<26} {}\n", "shape", report.shape, "in the file", count_text(report.rows));
  text += fmt::format("  {:<26} {} train, {} validation, {} test\n", "used", count_text(report.train_rows),
                      count_text(report.validation_rows), count_text(report.test_rows));
  text += left_out_text(report);
  text += fmt::format("  {:<26} {}\n", "duplicates", same_rows_text(report.duplicates, "equals"));
  text += fmt::format("  {:<26} {}\n", "trained on and evaluated", same_rows_text(report.leaks, "is train row"));
  if (!report.labels.empty()) text += fmt::format("  {:<26} {}\n", "labels", fmt::join(report.labels, ", "));
  text += fmt::format("\nTokens of a row (the limit is {})\n", count_text(report.limit));
  text += histogram_text(report);
  text += fmt::format("  shortest {}, mean {:.1f}, longest {}", count_text(report.shortest), report.mean,
                      count_text(report.longest));
  for (const auto& [percent, length] : report.percentiles) text += fmt::format(", p{} {}", percent, count_text(length));
  text += fmt::format("\n\nCounted, and so billed\n  {:<26} {} tokens, {} of them with loss\n", "an epoch",
                      count_text(report.epoch_tokens), count_text(report.epoch_learned));
  text += fmt::format("  {:<26} {} tokens\n", fmt::format("the run ({} epochs)", count_text(report.epochs)),
                      count_text(report.run_tokens));
  return text;
}

}  // namespace graft::recipe
