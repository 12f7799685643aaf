// graft-simulate: what a day with many adapters looks like on one engine, fair and first come first served.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "serving/simulator/simulator.h"

namespace {

using graft::serving::Scheduling;
using namespace graft::serving::simulator;  // NOLINT(google-build-using-namespace)

void print_report(const std::string& when, const Report& report) {
  fmt::print("{:>5} {:8.0f} {:8.0f} {:7.1f}% {:8.0f} {:5.0f}% {:6.0f} {:6} {:6} {:5}", when, report.offered,
             report.completed,
             100 * static_cast<double>(report.refused) / std::max(1.0, report.offered * report.seconds),
             report.output_tokens, 100 * report.busy, report.batch, report.loads, report.evictions, report.preemptions);
  for (const GroupReport& group : report.groups) {
    fmt::print(" {:8.0f} {:8.0f}", group.first_token_ms.p50, group.first_token_ms.p99);
  }
  fmt::print("\n");
}

void print_day(const std::string& name, const Day& day, bool hours) {
  fmt::print("{}\n{:>5} {:>8} {:>8} {:>8} {:>8} {:>6} {:>6} {:>6} {:>6} {:>5} {:>17} {:>17} {:>17}\n", name, "", "", "",
             "", "output", "", "", "", "", "", "hot: first token", "warm", "cold");
  fmt::print("{:>5} {:>8} {:>8} {:>8} {:>8} {:>6} {:>6} {:>6} {:>6} {:>5}", "hour", "asked/s", "done/s", "refused",
             "tokens/s", "busy", "batch", "loads", "evict", "pre");
  for (int i = 0; i < 3; ++i) fmt::print(" {:>8} {:>8}", "p50 ms", "p99 ms");
  fmt::print("\n");
  for (size_t hour = 0; hours && hour < day.hours.size(); ++hour) print_report(std::to_string(hour), day.hours[hour]);
  print_report("day", day.total);
  fmt::print("\n");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Simulates a day of one engine: the real scheduler and adapter pool, virtual time, a model of step costs");
  WorkloadConfig workload;
  MachineConfig machine;
  double hour_seconds = 5;
  uint64_t seed = 1;
  bool quiet = false;
  std::string scheduling = "both";
  app.add_option("--adapters", workload.adapters, "adapters")->check(CLI::Range(1, 10'000'000))->capture_default_str();
  app.add_option("--zipf", workload.zipf, "exponent of their popularity")->capture_default_str();
  app.add_option("--tenants", workload.tenants, "tenants")->check(CLI::Range(1, 1'000'000))->capture_default_str();
  app.add_option("--rate", workload.requests_per_second, "requests a second, mean of the day")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--swing", workload.day_swing, "how far the rate swings over the day")
      ->check(CLI::Range(0.0, 0.99))
      ->capture_default_str();
  app.add_option("--prompt", workload.mean_prompt, "tokens of a prompt, mean")->capture_default_str();
  app.add_option("--output", workload.mean_output, "tokens of an output, mean")->capture_default_str();
  app.add_option("--hour-seconds", hour_seconds, "virtual seconds simulated of each hour; 3600: all of it")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--max-active-adapters", machine.max_active_adapters, "adapters in memory")->capture_default_str();
  app.add_option("--max-concurrent-requests", machine.max_concurrent, "more are refused")->capture_default_str();
  app.add_option("--max-batch-size", machine.max_running, "sequences of a step")->capture_default_str();
  app.add_option("--adapter-load-ms", machine.adapter_load_ms, "milliseconds to load an adapter")
      ->capture_default_str();
  app.add_option("--step-fixed-us", machine.cost.fixed, "cost of a step")->capture_default_str();
  app.add_option("--step-token-us", machine.cost.token, "cost of a token in it")->capture_default_str();
  app.add_option("--step-sequence-us", machine.cost.sequence, "cost of a sequence in it")->capture_default_str();
  app.add_option("--step-adapter-us", machine.cost.adapter, "cost of an adapter in it")->capture_default_str();
  app.add_option("--scheduling", scheduling, "fair, fcfs or both")
      ->check(CLI::IsMember({"fair", "fcfs", "both"}))
      ->capture_default_str();
  app.add_option("--seed", seed, "seed of the arrivals")->capture_default_str();
  app.add_flag("--quiet", quiet, "the day only, not its hours");
  CLI11_PARSE(app, argc, argv);

  fmt::print("{} adapters (zipf {}), {} tenants, {} requests/s, {} virtual seconds an hour, seed {}\n\n",
             workload.adapters, workload.zipf, workload.tenants, workload.requests_per_second, hour_seconds, seed);
  const std::vector<std::pair<std::string, Scheduling>> kinds{{"fcfs", Scheduling::kFirstComeFirstServed},
                                                              {"fair", Scheduling::kFair}};
  for (const auto& [name, kind] : kinds) {
    if (scheduling != "both" && scheduling != name) continue;
    machine.scheduling = kind;
    print_day(name, simulate_day(machine, workload, hour_seconds, seed), !quiet);
  }
  return 0;
}
