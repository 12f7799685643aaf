#include "training/classifier_run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "training/class_requests.h"
#include "training/generate_all.h"
#include "training/verb.h"

namespace graft::training {

namespace {

constexpr size_t kShownLabels = 12;

}  // namespace

Status set_labels(const recipe::PreparedData& prepared, SessionSettings& session) {
  if (prepared.labels.empty()) return {};
  if (prepared.labels.size() == 1) {
    return invalid(fmt::format("all training rows have the label '{}': a classifier needs rows of two at least",
                               printable(prepared.labels.front(), 60)));
  }
  session.labels = prepared.labels;
  session.peft.task = formats::PeftTask::kSequenceClassification;
  return {};
}

std::string label_counts(const recipe::PreparedData& prepared) {
  std::vector<std::pair<int64_t, std::string>> counts;
  for (const std::string& label : prepared.labels) counts.emplace_back(0, printable(label, 40));
  for (const int32_t label : prepared.train.labels()) --counts[static_cast<size_t>(label)].first;
  std::stable_sort(counts.begin(), counts.end(), [](const auto& x, const auto& y) { return x.first < y.first; });
  std::vector<std::string> shown;
  for (const auto& [count, label] : counts) {
    if (shown.size() == kShownLabels) break;
    shown.push_back(fmt::format("{} ({})", label, format_count(-count)));
  }
  if (shown.size() < counts.size()) shown.push_back(fmt::format("and {} more", counts.size() - shown.size()));
  return fmt::format("{}", fmt::join(shown, ", "));
}

Result<std::optional<Confusion>> classify_rows(Session& session, const MicroBatches& batches,
                                               const std::vector<std::string>& labels, const std::atomic<bool>& stop) {
  Confusion confusion(labels);
  for (size_t batch = 0; batch < batches.size(); ++batch) {
    if (stop) return std::optional<Confusion>();
    GRAFT_TRY(const MicroBatch micro, batches.get(batch));
    GRAFT_TRY(const std::vector<float> logits, session.classify(micro.batch));
    const std::vector<int32_t>& ends = micro.batch.cu_seqlens;
    if (logits.size() != labels.size() * (ends.size() - 1)) return internal_error("not a logit for each class and row");
    for (size_t i = 0; i + 1 < ends.size(); ++i) {
      const int32_t label = micro.batch.labels[static_cast<size_t>(ends[i + 1] - 1)];
      if (label == kIgnoreLabel) continue;
      confusion.add(static_cast<size_t>(label), largest(logits.data() + i * labels.size(), labels.size()));
    }
  }
  return std::optional(std::move(confusion));
}

Result<std::optional<MetricValues>> class_metrics(Session& session, const TrainData& data,
                                                  const std::atomic<bool>& stop) {
  GRAFT_TRY(const auto confusion, classify_rows(session, data.validation, data.session.labels, stop));
  if (!confusion) return std::optional<MetricValues>();
  return std::optional(MetricValues{{"accuracy", confusion->accuracy()}, {"macro_f1", confusion->macro_f1()}});
}

Result<std::vector<Sample>> class_samples(serving::Engine& engine, const std::string& adapter_id,
                                          const std::vector<SamplePrompt>& prompts, size_t count) {
  std::vector<serving::GenerationRequest> requests;
  std::vector<const SamplePrompt*> asked;
  for (const SamplePrompt& prompt : prompts) {
    const bool fits = static_cast<int64_t>(prompt.tokens.size()) <= engine.limits().max_total_tokens;
    if (asked.size() == count || !fits || prompt.tokens.empty()) continue;
    asked.push_back(&prompt);
    requests.push_back(class_request(prompt.tokens, adapter_id));
  }
  GRAFT_TRY(const auto results, generate_all(engine, std::move(requests), {}));
  std::vector<Sample> samples;
  for (size_t i = 0; i < asked.size(); ++i) {
    samples.push_back({asked[i]->prompt, asked[i]->reference, std::nullopt, class_answer(results[i]).name});
  }
  return samples;
}

Status certify_classes(Session& session, serving::Engine& engine, const std::string& adapter_id,
                       const std::vector<std::vector<int32_t>>& texts, Certificate& certificate) {
  std::vector<serving::GenerationRequest> requests;
  std::vector<ClassCertificate> classes;
  for (const std::vector<int32_t>& tokens : texts) {
    PackedBatch batch;
    batch.tokens = tokens;
    batch.labels.assign(tokens.size(), kIgnoreLabel);
    batch.cu_seqlens = {0, static_cast<int32_t>(tokens.size())};
    GRAFT_TRY(std::vector<float> training, session.classify(batch));
    classes.push_back({tokens, std::move(training), {}});
    requests.push_back(class_request(tokens, adapter_id));
  }
  GRAFT_TRY(const auto results, generate_all(engine, std::move(requests), {}));
  for (size_t i = 0; i < results.size(); ++i) {
    ClassCertificate& one = classes[i];
    one.runtime = results[i].pooled;
    if (one.runtime.size() != one.training.size()) return internal_error("the engine has another number of classes");
    for (size_t j = 0; j < one.training.size(); ++j) {
      const double difference = std::abs(double{one.training[j]} - double{one.runtime[j]});
      certificate.largest_difference =
          std::isnan(difference) ? HUGE_VAL : std::max(certificate.largest_difference, difference);
    }
  }
  certificate.classes = std::move(classes);
  return {};
}

}  // namespace graft::training
