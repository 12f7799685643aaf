#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "recipe/training_config.h"
#include "training/base_model.h"
#include "training/certificate.h"
#include "training/confusion.h"
#include "training/job_directory.h"
#include "training/train_data.h"
#include "training/trainer.h"

namespace graft::training {

struct FinishedRun {
  const BaseModelInfo& base;
  const recipe::TrainingConfig& config;
  const TrainData& data;
  TrainOutcome outcome;
  const TrainState& state;
  int64_t kept_step;  // whose parameters the session holds
  std::string dataset;
};

struct RunResult {
  History history;
  Certificate certificate;
  std::vector<Sample> samples;
  std::optional<Confusion> confusion;  // of a classifier with validation rows
  double tokens_per_second = 0;        // over all training steps
};

// Asks base and result about the examples, writes the certificate, and publishes adapter/: the PEFT files, config.yaml,
// certificate.json, README.md (a model card) and report.html, all of it or nothing. Where all weights were trained it
// is model/, with the files of a Hugging Face directory in place of PEFT's.
Result<RunResult> finish_run(Session& session, JobDirectory& directory, const FinishedRun& run);

}  // namespace graft::training
