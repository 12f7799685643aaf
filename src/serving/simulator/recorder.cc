#include "serving/simulator/recorder.h"

#include <algorithm>
#include <cmath>

namespace graft::serving::simulator {
namespace {

constexpr std::array<const char*, 3> kNames{"hot (10)", "warm (990)", "cold"};
constexpr int32_t kHot = 10;
constexpr int32_t kWarm = 1000;

Percentiles percentiles(std::vector<double> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  const auto at = [&](double share) {
    return 1000 * values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
  };
  return {at(0.5), at(0.9), at(0.99), at(1)};
}

}  // namespace

size_t Recorder::group_of(int32_t adapter) { return adapter < kHot ? 0 : adapter < kWarm ? 1 : 2; }

void Recorder::asked(int32_t adapter) { ++hour_.groups[group_of(adapter)].asked; }
void Recorder::refused(int32_t adapter) { ++hour_.groups[group_of(adapter)].refused; }
void Recorder::completed(int32_t adapter) { ++hour_.groups[group_of(adapter)].completed; }
void Recorder::first_token(int32_t adapter, double seconds) {
  hour_.first_tokens[group_of(adapter)].push_back(seconds);
}
void Recorder::output_token() { ++hour_.outputs; }

void Recorder::prompt(int32_t tokens, int32_t cached) {
  hour_.prompt_tokens += tokens;
  hour_.cached_tokens += cached;
}

void Recorder::step(double seconds, size_t sequences) {
  ++hour_.steps;
  hour_.busy += seconds;
  hour_.sequences += static_cast<int64_t>(sequences);
}

void Recorder::end_hour(double seconds, const Totals& totals) {
  hour_.seconds = seconds;
  hour_.totals = {totals.preemptions - before_.preemptions, totals.loads - before_.loads,
                  totals.evictions - before_.evictions};
  before_ = totals;
  hours_.push_back(hour_.report());
  day_.add(hour_);
  hour_ = {};
}

Day Recorder::day() const { return {day_.report(), hours_}; }

void Recorder::Counts::add(const Counts& other) {
  seconds += other.seconds;
  busy += other.busy;
  steps += other.steps;
  sequences += other.sequences;
  outputs += other.outputs;
  prompt_tokens += other.prompt_tokens;
  cached_tokens += other.cached_tokens;
  totals.preemptions += other.totals.preemptions;
  totals.loads += other.totals.loads;
  totals.evictions += other.totals.evictions;
  for (size_t i = 0; i < groups.size(); ++i) {
    groups[i].asked += other.groups[i].asked;
    groups[i].refused += other.groups[i].refused;
    groups[i].completed += other.groups[i].completed;
    first_tokens[i].insert(first_tokens[i].end(), other.first_tokens[i].begin(), other.first_tokens[i].end());
  }
}

Report Recorder::Counts::report() const {
  Report report;
  const auto per_second = [&](int64_t count) { return static_cast<double>(count) / std::max(seconds, 1e-9); };
  int64_t asked = 0;
  int64_t completed = 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    report.groups[i] = groups[i];
    report.groups[i].name = kNames[i];
    report.groups[i].first_token_ms = percentiles(first_tokens[i]);
    asked += groups[i].asked;
    completed += groups[i].completed;
    report.refused += groups[i].refused;
  }
  report.seconds = seconds;
  report.offered = per_second(asked);
  report.completed = per_second(completed);
  report.output_tokens = per_second(outputs);
  report.busy = busy / std::max(seconds, 1e-9);
  report.batch = static_cast<double>(sequences) / static_cast<double>(std::max<int64_t>(steps, 1));
  report.cached = static_cast<double>(cached_tokens) / static_cast<double>(std::max<int64_t>(prompt_tokens, 1));
  report.steps = steps;
  report.preemptions = totals.preemptions;
  report.loads = totals.loads;
  report.evictions = totals.evictions;
  return report;
}

}  // namespace graft::serving::simulator
