#include "serving/simulator/workload.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace graft::serving::simulator {
namespace {

constexpr double kSpread = 0.6;      // of the logarithm of lengths
constexpr double kQuietestHour = 4;  // of 24
constexpr double kHours = 24;

}  // namespace

Workload::Workload(WorkloadConfig config, double hour_seconds, uint64_t seed)
    : config_(config), hour_seconds_(hour_seconds), random_(seed) {
  double sum = 0;
  for (int32_t rank = 1; rank <= config_.adapters; ++rank) {
    sum += std::pow(static_cast<double>(rank), -config_.zipf);
    popularity_.push_back(sum);
  }
}

double Workload::rate_at(double time) const {
  const double phase = (time / hour_seconds_ - kQuietestHour) / kHours * 2 * std::numbers::pi;
  return config_.requests_per_second * (1 - config_.day_swing * std::cos(phase));
}

double Workload::uniform() { return (static_cast<double>(random_() >> 11U) + 0.5) * 0x1p-53; }

// The distributions of <random> differ between libraries; these do not.
int32_t Workload::length(int32_t mean, int32_t max) {
  const double normal = std::sqrt(-2 * std::log(uniform())) * std::cos(2 * std::numbers::pi * uniform());
  const double length = mean * std::exp(kSpread * normal - kSpread * kSpread / 2);
  return static_cast<int32_t>(std::clamp(length, 1.0, static_cast<double>(max)));
}

Arrival Workload::next() {
  now_ += -std::log(uniform()) / rate_at(now_);
  Arrival arrival;
  arrival.time = now_;
  const auto place = std::ranges::lower_bound(popularity_, uniform() * popularity_.back());
  arrival.adapter = static_cast<int32_t>(place - popularity_.begin());
  arrival.tenant = static_cast<int32_t>(static_cast<uint64_t>(arrival.adapter) * 2654435761U %
                                        static_cast<uint64_t>(std::max(1, config_.tenants)));
  arrival.prompt = length(config_.mean_prompt, config_.max_prompt);
  arrival.output = length(config_.mean_output, config_.max_output);
  return arrival;
}

}  // namespace graft::serving::simulator
