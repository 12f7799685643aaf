#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "serving/scheduling.h"
#include "serving/simulator/workload.h"

namespace graft::serving::simulator {

// What a step takes, in microseconds: so much at least, and for each token, sequence and different adapter in it.
struct StepCost {
  double fixed = 300;
  double token = 3;
  double sequence = 6;
  double adapter = 5;
};

struct MachineConfig {
  StepCost cost;
  int32_t max_concurrent = 4096;  // more are refused
  int32_t max_running = 512;
  int32_t max_step_tokens = 2048;
  int32_t num_blocks = 32'768;
  int32_t block_size = 16;
  int32_t max_active_adapters = 1024;
  double adapter_cycle_s = 2;
  double adapter_load_ms = 1;  // 4 MB from the page cache; one after the other
  Scheduling scheduling = Scheduling::kFair;
};

struct Percentiles {
  double p50 = 0, p90 = 0, p99 = 0, max = 0;
  bool operator==(const Percentiles&) const = default;
};

// Adapters of similar popularity: the 10 most popular ones, the next 990, the others.
struct GroupReport {
  std::string name;
  int64_t asked = 0, refused = 0, completed = 0;
  Percentiles first_token_ms;  // from the request to its first token
  bool operator==(const GroupReport&) const = default;
};

struct Report {
  double seconds = 0;
  double offered = 0, completed = 0;  // requests a second
  double output_tokens = 0;           // a second
  double busy = 0;                    // share of the time in steps
  double batch = 0;                   // sequences of a step, in the mean
  double cached = 0;                  // share of the prompts' tokens found in the prefix cache
  int64_t steps = 0, preemptions = 0, refused = 0, loads = 0, evictions = 0;
  std::array<GroupReport, 3> groups;
  bool operator==(const Report&) const = default;
};

struct Day {
  Report total;
  std::vector<Report> hours;
};

// Drives the real Scheduler, SchedulingPolicy, BlockPool and AdapterPool through a day of 24 hours, each of which lasts
// `hour_seconds`, in virtual time. The same arguments give the same numbers.
Day simulate_day(const MachineConfig& machine, const WorkloadConfig& workload, double hour_seconds, uint64_t seed);

}  // namespace graft::serving::simulator
