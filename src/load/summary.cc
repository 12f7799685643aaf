#include "load/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace graft::load {
namespace {

using nlohmann::ordered_json;

constexpr double kMilliseconds = 1000;

const char* api_name(Api api) {
  switch (api) {
    case Api::kOpenAi:
      return "openai";
    case Api::kOpenAiChat:
      return "openai-chat";
    case Api::kLorax:
      break;
  }
  return "lorax";
}

ordered_json json_of(const Distribution& one) {
  if (one.count == 0) return nullptr;
  return {{"mean", one.mean}, {"p50", one.p50}, {"p90", one.p90}, {"p99", one.p99}, {"max", one.max}};
}

std::string row(const char* name, const Distribution& one) {
  if (one.count == 0) return fmt::format("{:<24}{:>10}\n", name, "-");
  return fmt::format("{:<24}{:>10.2f}{:>10.2f}{:>10.2f}{:>10.2f}{:>10.2f}\n", name, one.mean, one.p50, one.p90, one.p99,
                     one.max);
}

}  // namespace

double percentile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - static_cast<double>(below));
}

Distribution distribution(std::vector<double> values) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  if (values.empty()) return {0, kNone, kNone, kNone, kNone, kNone};
  std::sort(values.begin(), values.end());
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return {static_cast<int64_t>(values.size()),
          sum / static_cast<double>(values.size()),
          percentile(values, 0.5),
          percentile(values, 0.9),
          percentile(values, 0.99),
          values.back()};
}

Summary summarise(const LoadRun& run) {
  Summary summary;
  std::vector<double> first;
  std::vector<double> per_token;
  std::vector<double> gaps;
  std::vector<double> whole;
  for (const RequestRecord& one : run.requests) {
    if (!one.error.empty()) {
      ++summary.failed;
      ++summary.errors[one.error];
      continue;
    }
    ++summary.answered;
    summary.output_tokens += one.output_tokens;
    summary.prompt_tokens += one.prompt_tokens;
    whole.push_back((one.end - one.due) * kMilliseconds);
    for (const double gap : one.gaps) gaps.push_back(gap * kMilliseconds);
    if (std::isnan(one.first)) continue;
    first.push_back((one.first - one.due) * kMilliseconds);
    if (one.output_tokens > 1) {
      per_token.push_back((one.end - one.first) * kMilliseconds / static_cast<double>(one.output_tokens - 1));
    }
  }
  summary.most_in_flight = run.most_in_flight;
  summary.seconds = run.seconds;
  if (run.seconds > 0) {
    summary.requests_per_s = static_cast<double>(summary.answered) / run.seconds;
    summary.output_tokens_per_s = static_cast<double>(summary.output_tokens) / run.seconds;
    summary.prompt_tokens_per_s = static_cast<double>(summary.prompt_tokens) / run.seconds;
  }
  summary.first_token = distribution(std::move(first));
  summary.per_token = distribution(std::move(per_token));
  summary.inter_token = distribution(std::move(gaps));
  summary.end_to_end = distribution(std::move(whole));
  return summary;
}

std::string describe(const LoadOptions& options) {
  std::string text = fmt::format("{} requests, ", options.requests);
  if (options.rate > 0) {
    text += fmt::format("{:g} a second (open loop)", options.rate);
    if (options.concurrency > 0) text += fmt::format(", at most {} at a time", options.concurrency);
  } else {
    text += fmt::format("{} at a time (closed loop)", options.concurrency);
  }
  if (options.models.size() > 1) text += fmt::format(", {} models in turn", options.models.size());
  if (!options.prompts.empty()) {
    return text + fmt::format(", {} prompts from a file, {} new tokens", options.prompts.size(), options.max_tokens);
  }
  return text + fmt::format(", prompts of about {} tokens, {} new tokens", options.prompt_tokens, options.max_tokens);
}

ordered_json summary_json(const LoadOptions& options, const LoadRun& run) {
  const Summary summary = summarise(run);
  ordered_json json = {{"url", options.url},
                       {"api", api_name(options.api)},
                       {"models", options.models},
                       {"stream", options.stream},
                       {"requests", options.requests},
                       {"concurrency", options.concurrency},
                       {"rate", options.rate},
                       {"seed", options.seed},
                       {"answered", summary.answered},
                       {"failed", summary.failed},
                       {"errors", ordered_json::object()},
                       {"seconds", summary.seconds},
                       {"most_in_flight", summary.most_in_flight},
                       {"prompt_tokens", summary.prompt_tokens},
                       {"output_tokens", summary.output_tokens},
                       {"requests_per_s", summary.requests_per_s},
                       {"prompt_tokens_per_s", summary.prompt_tokens_per_s},
                       {"output_tokens_per_s", summary.output_tokens_per_s},
                       {"time_to_first_token_ms", json_of(summary.first_token)},
                       {"time_per_output_token_ms", json_of(summary.per_token)},
                       {"inter_token_latency_ms", json_of(summary.inter_token)},
                       {"end_to_end_latency_ms", json_of(summary.end_to_end)}};
  for (const auto& [kind, count] : summary.errors) {
    json["errors"][kind] = {{"count", count}, {"first", run.error_texts.at(kind)}};
  }
  return json;
}

std::string summary_text(const LoadOptions& options, const LoadRun& run) {
  const Summary summary = summarise(run);
  std::string text = fmt::format("{} ({}): {}\n\n", options.url, api_name(options.api), describe(options));
  text += fmt::format("{:<24}{:>10}{:>10}{:>10}{:>10}{:>10}\n", "milliseconds", "mean", "p50", "p90", "p99", "max");
  text += row("time to first token", summary.first_token);
  text += row("time per output token", summary.per_token);
  text += row("inter-token latency", summary.inter_token);
  text += row("end-to-end latency", summary.end_to_end);
  text += fmt::format(
      "\n{} answered in {:.2f} s, at most {} at once: {:.2f} requests/s, {:.1f} output tokens/s, {:.1f} prompt "
      "tokens/s\n",
      summary.answered, summary.seconds, summary.most_in_flight, summary.requests_per_s, summary.output_tokens_per_s,
      summary.prompt_tokens_per_s);
  for (const auto& [kind, count] : summary.errors) {
    text += fmt::format("{} failed: {} ({})\n", count, kind, run.error_texts.at(kind));
  }
  return text;
}

}  // namespace graft::load
