#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "chart/page.h"
#include "training/confusion.h"
#include "training/job_directory.h"

namespace graft::training {

// The same prompt, answered by the base model and by the result.
struct Sample {
  std::string prompt;
  std::string reference;              // what the data says
  std::optional<std::string> before;  // nothing: the base model cannot be asked
  std::string after;
};

using chart::NamedValues;

struct ReportData {
  std::string title;
  std::string outcome;   // "finished after 40 steps"
  std::string remark;    // what a reader must know about the result; may be empty
  NamedValues headline;  // the few numbers that matter
  History history;
  std::optional<int64_t> kept_step;  // whose parameters the adapter holds
  std::vector<Sample> samples;
  std::optional<Confusion> confusion;  // of a classifier, over the validation rows
  NamedValues data;                    // rows read, used, truncated, ...
  NamedValues performance;             // time, tokens/s, memory
  NamedValues environment;             // build, instruction set, threads, digests
  std::string config_yaml;             // resolved
};

// One HTML page without any external resource: curves as inline SVG, light and dark by the reader's preference.
std::string render_report(const ReportData& data);

}  // namespace graft::training
