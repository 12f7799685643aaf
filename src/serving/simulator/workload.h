#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace graft::serving::simulator {

// Who asks for what. Adapter 0 is the most popular one, adapter k has popularity (k + 1)^-zipf; an adapter belongs to
// one tenant. A prompt begins with its adapter's own `shared_prefix` tokens. Lengths are log-normal.
struct WorkloadConfig {
  int32_t adapters = 10'000;
  double zipf = 1.0;
  int32_t tenants = 200;
  double requests_per_second = 1000;  // mean over the day
  double day_swing = 0.9;             // the rate swings by so much of it, lowest at hour 4, highest at hour 16
  int32_t mean_prompt = 128;
  int32_t shared_prefix = 64;
  int32_t max_prompt = 1024;
  int32_t mean_output = 32;
  int32_t max_output = 256;
};

struct Arrival {
  double time = 0;  // seconds
  int32_t adapter = 0;
  int32_t tenant = 0;
  int32_t prompt = 0;
  int32_t output = 0;
};

// A Poisson process. The same seed gives the same arrivals whatever is done with them.
class Workload {
 public:
  // `hour_seconds`: how long an hour of the day lasts here.
  Workload(WorkloadConfig config, double hour_seconds, uint64_t seed);

  Arrival next();
  [[nodiscard]] double rate_at(double time) const;

 private:
  double uniform();  // in (0, 1)
  int32_t length(int32_t mean, int32_t max);

  WorkloadConfig config_;
  double hour_seconds_;
  std::mt19937_64 random_;
  std::vector<double> popularity_;  // cumulative
  double now_ = 0;
};

}  // namespace graft::serving::simulator
