#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "recipe/prepare.h"
#include "serving/engine.h"
#include "training/batch_source.h"
#include "training/certificate.h"
#include "training/confusion.h"
#include "training/metrics.h"
#include "training/report.h"
#include "training/session.h"
#include "training/session_settings.h"
#include "training/train_data.h"

namespace graft::training {

// What a run that trains a classifier does differently from one that trains answers.

// Makes the session one of a classifier over the data's labels, where it has any; else nothing. Errors: one label only.
Status set_labels(const recipe::PreparedData& prepared, SessionSettings& session);

// "ham (120), spam (31)", of the train rows; the most frequent where there are many.
std::string label_counts(const recipe::PreparedData& prepared);

// How the session classifies these rows; nothing where `stop` was set. The labels are the session's.
Result<std::optional<Confusion>> classify_rows(Session& session, const MicroBatches& batches,
                                               const std::vector<std::string>& labels, const std::atomic<bool>& stop);

// accuracy and macro_f1: what every evaluation asks for.
Result<std::optional<MetricValues>> class_metrics(Session& session, const TrainData& data,
                                                  const std::atomic<bool>& stop);

// What the engine's adapter makes of some prompts. The base model has no head to compare with.
Result<std::vector<Sample>> class_samples(serving::Engine& engine, const std::string& adapter_id,
                                          const std::vector<SamplePrompt>& prompts, size_t count);

// Adds what session and engine say of the classes of some texts.
Status certify_classes(Session& session, serving::Engine& engine, const std::string& adapter_id,
                       const std::vector<std::vector<int32_t>>& texts, Certificate& certificate);

}  // namespace graft::training
