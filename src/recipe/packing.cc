#include "recipe/packing.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <set>
#include <utility>

#include "base/philox.h"
#include "recipe/random_streams.h"

namespace graft::recipe {
namespace {

constexpr size_t kOpenSteps = 16;  // steps that are filled side by side: more pack better, fewer mix lengths better

struct Bin {
  std::vector<int32_t> items;
  int64_t used = 0;
};

// The bin with the least room left that still takes `length`, or -1.
int64_t best_fit(const std::vector<Bin>& bins, size_t first_open, int64_t length, int64_t capacity) {
  int64_t best = -1;
  for (size_t i = first_open; i < bins.size(); ++i) {
    if (bins[i].used + length > capacity) continue;
    if (best < 0 || bins[i].used > bins[static_cast<size_t>(best)].used) best = static_cast<int64_t>(i);
  }
  return best;
}

// Finds what best_fit finds, in logarithmic time: a whole validation split is packed at once.
class RoomOrder {
 public:
  [[nodiscard]] int64_t best_fit(int64_t length, int64_t capacity) const {
    auto after = bins_.upper_bound({capacity - length, 0});
    return after == bins_.begin() ? -1 : -std::prev(after)->second;
  }
  void move(int64_t bin, int64_t used_before, int64_t used) {
    bins_.erase({used_before, -bin});
    bins_.emplace(used, -bin);
  }

 private:
  std::set<std::pair<int64_t, int64_t>> bins_;  // (used, -bin): of the fullest that fit, the first one is the last
};

std::vector<std::vector<int32_t>> items_of(std::vector<Bin> bins) {
  std::vector<std::vector<int32_t>> result;
  result.reserve(bins.size());
  for (auto& bin : bins) result.push_back(std::move(bin.items));
  return result;
}

std::vector<std::vector<int32_t>> steps_by_rows(const std::vector<int32_t>& order, int64_t rows) {
  std::vector<std::vector<int32_t>> steps;
  const auto size = static_cast<size_t>(rows);
  for (size_t begin = 0; begin < order.size(); begin += size) {
    const size_t end = std::min(begin + size, order.size());
    steps.emplace_back(order.begin() + static_cast<int64_t>(begin), order.begin() + static_cast<int64_t>(end));
  }
  return steps;
}

std::vector<std::vector<int32_t>> steps_by_tokens(const std::vector<int32_t>& order, std::span<const int32_t> lengths,
                                                  int64_t tokens) {
  std::vector<Bin> bins;
  for (const int32_t index : order) {
    const int64_t length = lengths[static_cast<size_t>(index)];
    const size_t first_open = bins.size() > kOpenSteps ? bins.size() - kOpenSteps : 0;
    int64_t place = best_fit(bins, first_open, length, tokens);
    if (place < 0) {
      place = static_cast<int64_t>(bins.size());
      bins.emplace_back();
    }
    Bin& bin = bins[static_cast<size_t>(place)];
    bin.items.push_back(index);
    bin.used += length;
  }
  return items_of(std::move(bins));
}

}  // namespace

PackingSettings packing_settings(const TrainingConfig& config) {
  PackingSettings settings;
  settings.step_tokens = config.trainer.max_batch_tokens.value_or(0);
  settings.step_rows = config.trainer.effective_batch_size.value_or(0);
  settings.micro_batch_tokens = config.trainer.max_micro_batch_tokens;
  settings.seed = static_cast<uint64_t>(config.random_seed);
  return settings;
}

std::vector<MicroBatchIndices> micro_batches(std::span<const int32_t> lengths, std::span<const int32_t> indices,
                                             int64_t max_tokens) {
  std::vector<size_t> by_length(indices.size());  // positions in `indices`
  std::iota(by_length.begin(), by_length.end(), size_t{0});
  const auto length_at = [&](size_t position) { return lengths[static_cast<size_t>(indices[position])]; };
  std::stable_sort(by_length.begin(), by_length.end(), [&](size_t a, size_t b) { return length_at(a) > length_at(b); });
  std::vector<Bin> bins;  // of positions
  RoomOrder order;
  for (const size_t position : by_length) {
    int64_t place = order.best_fit(length_at(position), max_tokens);
    if (place < 0) {
      place = static_cast<int64_t>(bins.size());
      bins.emplace_back();
    }
    Bin& bin = bins[static_cast<size_t>(place)];
    bin.items.push_back(static_cast<int32_t>(position));
    order.move(place, bin.used, bin.used + length_at(position));
    bin.used += length_at(position);
  }
  auto batches = items_of(std::move(bins));
  for (auto& batch : batches) std::sort(batch.begin(), batch.end());
  std::sort(batches.begin(), batches.end());
  for (auto& batch : batches) {
    for (auto& position : batch) position = indices[static_cast<size_t>(position)];
  }
  return batches;
}

std::vector<std::vector<int32_t>> epoch_steps(std::span<const int32_t> lengths, const PackingSettings& settings,
                                              int64_t epoch) {
  std::vector<int32_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  philox_shuffle(std::span(order), settings.seed, random_stream(RandomUse::kOrder, static_cast<uint64_t>(epoch)));
  return settings.step_rows > 0 ? steps_by_rows(order, settings.step_rows)
                                : steps_by_tokens(order, lengths, settings.step_tokens);
}

TrainingOrder::TrainingOrder(std::vector<int32_t> lengths, PackingSettings settings, std::string digest)
    : lengths_(std::move(lengths)), settings_(settings), digest_(std::move(digest)) {
  open_epoch(0);
}

void TrainingOrder::open_epoch(int64_t epoch) {
  steps_ = epoch_steps(lengths_, settings_, epoch);
  epoch_ = epoch;
  step_ = 0;
  learned_ = 0;
}

StepPlan TrainingOrder::next() {
  const auto& examples = steps_[static_cast<size_t>(step_)];
  StepPlan plan;
  plan.micro_batches = micro_batches(lengths_, examples, settings_.micro_batch_tokens);
  learned_ += static_cast<int64_t>(examples.size());
  plan.epoch = static_cast<double>(epoch_) + static_cast<double>(learned_) / static_cast<double>(lengths_.size());
  if (++step_ == static_cast<int64_t>(steps_.size())) open_epoch(epoch_ + 1);
  return plan;
}

nlohmann::json TrainingOrder::cursor() const { return {{"epoch", epoch_}, {"step", step_}, {"data", digest_}}; }

Status TrainingOrder::seek(const nlohmann::json& cursor) {
  const auto number = [&](const char* key) -> int64_t {
    const bool there = cursor.is_object() && cursor.contains(key) && cursor[key].is_number_integer();
    return there ? cursor[key].get<int64_t>() : -1;
  };
  const int64_t epoch = number("epoch");
  const int64_t step = number("step");
  if (epoch < 0 || step < 0 || !cursor.contains("data") || !cursor["data"].is_string()) {
    return invalid("the data cursor is damaged: expected {epoch, step, data}");
  }
  if (cursor["data"] != digest_) {
    return invalid(
        "the training rows are not those the run began with: bring the data file and the config back as they "
        "were, or start a new run");
  }
  if (epoch > (int64_t{1} << 40)) return invalid("the data cursor is damaged: no such epoch");
  open_epoch(epoch);
  if (step >= static_cast<int64_t>(steps_.size())) {
    return invalid(
        fmt::format("the data cursor is at step {} of epoch {}, which has {} steps: the step size has changed; "
                    "bring the config back as it was, or start a new run",
                    step, epoch, steps_.size()));
  }
  for (; step_ < step; ++step_) learned_ += static_cast<int64_t>(steps_[static_cast<size_t>(step_)].size());
  return {};
}

int64_t TrainingOrder::steps_in(int64_t epochs) const {
  if (settings_.step_rows > 0) {
    const auto rows = static_cast<int64_t>(lengths_.size());
    return epochs * ((rows + settings_.step_rows - 1) / settings_.step_rows);
  }
  int64_t steps = 0;
  for (int64_t epoch = 0; epoch < epochs; ++epoch) {
    steps += static_cast<int64_t>(epoch_steps(lengths_, settings_, epoch).size());
  }
  return steps;
}

std::vector<int32_t> lengths_of(std::span<const Example> examples) {
  std::vector<int32_t> lengths;
  lengths.reserve(examples.size());
  for (const auto& example : examples) lengths.push_back(static_cast<int32_t>(example.tokens.size()));
  return lengths;
}

}  // namespace graft::recipe
