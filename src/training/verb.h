#pragma once

#include <atomic>
#include <ostream>
#include <string>
#include <vector>

#include "base/progress.h"
#include "training/base_model.h"

namespace graft::training {

enum ExitCode : int { kExitDone = 0, kExitFailed = 1, kExitWrongUse = 2 };

// What a verb is run with, so that tests can look at all of it.
struct VerbContext {
  OpenBaseModel open_model;
  const std::atomic<bool>& stop;  // Ctrl-C, SIGTERM
  std::ostream& out;              // results
  std::ostream& err;              // progress, notes, errors
  ProgressStyle progress = ProgressStyle::kLines;
};

// "error: MESSAGE" on `err`; returns `code`.
int report_error(std::ostream& err, const Error& error, ExitCode code);

// Bytes for people: "1.2 GiB". Counts: "1234567" -> "1,234,567"; "4.9 M".
std::string format_bytes(int64_t bytes);
std::string format_count(int64_t count);
std::string format_short_count(int64_t count);

// The most that this process was ever resident in.
int64_t peak_resident_bytes();

// A shell command that can be pasted: words with special characters are quoted.
std::string shell_command(const std::vector<std::string>& words);

}  // namespace graft::training
