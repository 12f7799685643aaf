#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/file_lock.h"
#include "base/result.h"
#include "training/line_log.h"

namespace graft::training {

// A finished checkpoint, verified against its own list of files.
struct Checkpoint {
  int64_t step = 0;
  std::filesystem::path directory;
  nlohmann::json trainer;  // what the loop needs beside the session's state
};

// What a training run leaves on disk, and the contract with the platform that started it:
//
//   job.json            what was asked for: resolved config, base model and its digest, data, dtype, build, isa,
//   threads events.jsonl        what happens, one JSON object a line, each with "event" and "time" (seconds since
//   1970):
//                         step        step, epoch, loss, learning_rate, grad_norm, tokens, labelled_tokens, seconds,
//                                     total_tokens, total_seconds
//                         evaluation  step, validation_loss, validation_tokens, best, metrics (name: value) where there
//                         are checkpoint  step, checkpoint ("checkpoints/40") state       state (running, resumed,
//                         stopped, finished, failed), step, message
//                       tokens, labelled_tokens and seconds are the step's own, the totals count from the start of the
//                       run, evaluations and checkpoints included. The file is only ever appended to: what stands
//                       before a "resumed" line with a later step than that line's was undone.
//   checkpoints/<n>/    state after n optimizer steps: session/ (parameters, moments), adapter/ (PEFT files),
//                       checkpoint.json (the loop's state; every file with its size and SHA-256)
//                       Of a run that trains all weights: session/ alone, which holds them
//   adapter/            the result
//   model/              instead, where all weights are trained: a Hugging Face directory
//   lock                held while a run uses the directory
class JobDirectory {
 public:
  // The checks of open() without touching anything, for an early no.
  static Status check(const std::filesystem::path& path, bool resume);
  // Creates the directory, or with `resume` takes over an existing one (a new one is fine too). Errors: conflict where
  // another run holds it, or where it has files and `resume` is not set; invalid where it is not a job directory.
  static Result<JobDirectory> open(const std::filesystem::path& path, bool resume);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path adapter_path() const { return path_ / "adapter"; }
  [[nodiscard]] std::filesystem::path model_path() const { return path_ / "model"; }
  // job.json of the run that is resumed; nothing for a new one.
  [[nodiscard]] const std::optional<nlohmann::json>& job() const { return job_; }
  Status write_job(const nlohmann::json& job);

  // Adds "time" and writes the line.
  Status append_event(nlohmann::ordered_json event);

  // The newest checkpoint that is whole. One that is damaged is skipped and named in `warnings`; an error where all
  // are.
  Result<std::optional<Checkpoint>> latest_checkpoint(std::vector<std::string>& warnings) const;
  Result<Checkpoint> checkpoint(int64_t step) const;
  // `fill` writes its files into the directory it is given. Atomic and durable; on an error nothing is left behind.
  Status write_checkpoint(int64_t step, const nlohmann::json& trainer,
                          const std::function<Status(const std::filesystem::path&)>& fill);
  // Removes all but the newest `keep` checkpoints and the one of step `best`.
  Status prune_checkpoints(int32_t keep, std::optional<int64_t> best);
  [[nodiscard]] Result<std::vector<int64_t>> checkpoint_steps() const;  // ascending

  // Atomic and durable, like a checkpoint.
  Status write_adapter(const std::function<Status(const std::filesystem::path&)>& fill);
  Status write_model(const std::function<Status(const std::filesystem::path&)>& fill);

 private:
  JobDirectory(std::filesystem::path path, FileLock lock, LineLog events)
      : path_(std::move(path)), lock_(std::move(lock)), events_(std::move(events)) {}
  [[nodiscard]] std::filesystem::path checkpoint_path(int64_t step) const;

  std::filesystem::path path_;
  FileLock lock_;
  LineLog events_;
  std::optional<nlohmann::json> job_;
};

// One point of a curve.
struct HistoryStep {
  int64_t step = 0;
  double epoch = 0, loss = 0, learning_rate = 0, grad_norm = 0, seconds = 0;
  int64_t tokens = 0, total_tokens = 0;
};
struct HistoryEvaluation {
  int64_t step = 0;
  double loss = 0;
};
struct History {
  std::vector<HistoryStep> steps;              // ascending, each step once
  std::vector<HistoryEvaluation> evaluations;  // ascending, each step once
  int32_t resumes = 0;
  std::string state;  // of the last "state" line
};

// events.jsonl with everything left out that a resume undid. A torn last line is ignored.
Result<History> read_history(const std::filesystem::path& events);

}  // namespace graft::training
