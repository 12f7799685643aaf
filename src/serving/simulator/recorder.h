#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "serving/simulator/simulator.h"

namespace graft::serving::simulator {

// Counts what happens, for the hour that goes on and for the whole day.
class Recorder {
 public:
  void asked(int32_t adapter);
  void refused(int32_t adapter);
  void first_token(int32_t adapter, double seconds);
  void completed(int32_t adapter);
  void prompt(int32_t tokens, int32_t cached);
  void step(double seconds, size_t sequences);
  void output_token();

  // Counters that others keep, since the beginning.
  struct Totals {
    int64_t preemptions = 0, loads = 0, evictions = 0;
  };
  void end_hour(double seconds, const Totals& totals);
  [[nodiscard]] Day day() const;

 private:
  struct Counts {
    double seconds = 0, busy = 0;
    int64_t steps = 0, sequences = 0, outputs = 0, prompt_tokens = 0, cached_tokens = 0;
    Totals totals;
    std::array<GroupReport, 3> groups;
    std::array<std::vector<double>, 3> first_tokens;
    void add(const Counts& other);
    [[nodiscard]] Report report() const;
  };
  static size_t group_of(int32_t adapter);

  Counts hour_, day_;
  Totals before_;
  std::vector<Report> hours_;
};

}  // namespace graft::serving::simulator
