#include "training/optimizers/optimizer.h"

#include <algorithm>
#include <cmath>

#include "training/optimizers/optimizers.h"

namespace graft::training {
namespace {

constexpr int64_t kChunk = 1 << 16;

struct Maker {
  std::vector<ParameterBlock> blocks;
  int64_t elements;

  std::unique_ptr<Optimizer> operator()(const AdamWSettings& s) { return make_adamw(s, flat()); }
  std::unique_ptr<Optimizer> operator()(const AdamW8bitSettings& s) { return make_adamw_8bit(s, std::move(blocks)); }
  std::unique_ptr<Optimizer> operator()(const LionSettings& s) { return make_lion(s, flat()); }
  std::unique_ptr<Optimizer> operator()(const AdafactorSettings& s) { return make_adafactor(s, flat()); }
  std::unique_ptr<Optimizer> operator()(const MuonSettings& s) { return make_muon(s, blocks); }
  std::unique_ptr<Optimizer> operator()(const SgdSettings& s) { return make_sgd(s, flat()); }
  Layout flat() { return Layout::flat(std::move(blocks), elements); }
};

struct Namer {
  std::string_view operator()(const AdamWSettings& /*s*/) { return "adamw"; }
  std::string_view operator()(const AdamW8bitSettings& /*s*/) { return "adamw_8bit"; }
  std::string_view operator()(const LionSettings& /*s*/) { return "lion"; }
  std::string_view operator()(const AdafactorSettings& /*s*/) { return "adafactor"; }
  std::string_view operator()(const MuonSettings& /*s*/) { return "muon"; }
  std::string_view operator()(const SgdSettings& /*s*/) { return "sgd"; }
};

}  // namespace

void run_tasks_here(int64_t count, const std::function<void(int64_t)>& task) {
  for (int64_t i = 0; i < count; ++i) task(i);
}

Layout::Layout(std::vector<ParameterBlock> blocks, std::vector<int64_t> state, int64_t elements)
    : blocks_(std::move(blocks)), state_(std::move(state)), state_elements_(elements) {
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const int64_t n = blocks_[i].elements();
    for (int64_t begin = 0; begin < n; begin += kChunk) pieces_.push_back({i, begin, std::min(n, begin + kChunk)});
  }
}

Layout Layout::flat(std::vector<ParameterBlock> blocks, int64_t elements) {
  std::vector<int64_t> state;
  for (const ParameterBlock& block : blocks) state.push_back(block.offset);
  return {std::move(blocks), std::move(state), elements};
}

Layout Layout::compact(std::vector<ParameterBlock> blocks) {
  std::vector<int64_t> state;
  int64_t elements = 0;
  for (const ParameterBlock& block : blocks) {
    state.push_back(elements);
    elements += block.elements();
  }
  return {std::move(blocks), std::move(state), elements};
}

std::string_view optimizer_name(const OptimizerSettings& settings) { return std::visit(Namer{}, settings); }

std::unique_ptr<Optimizer> make_optimizer(const OptimizerSettings& settings, std::vector<ParameterBlock> blocks,
                                          int64_t elements) {
  return std::visit(Maker{std::move(blocks), elements}, settings);
}

int64_t state_bytes(Optimizer& optimizer) {
  int64_t bytes = 0;
  for (const StateTensor& tensor : optimizer.state()) {
    bytes += std::visit([](const auto& span) { return static_cast<int64_t>(span.size_bytes()); }, tensor.values);
  }
  return bytes;
}

double gradient_norm(std::span<const float> gradients, const RunTasks& run) {
  const auto n = static_cast<int64_t>(gradients.size());
  std::vector<double> sums(static_cast<size_t>((n + kChunk - 1) / kChunk));
  run(static_cast<int64_t>(sums.size()), [&](int64_t c) {
    double sum = 0;
    for (int64_t i = c * kChunk; i < std::min(n, (c + 1) * kChunk); ++i) {
      const auto g = static_cast<double>(gradients[static_cast<size_t>(i)]);
      sum += g * g;
    }
    sums[static_cast<size_t>(c)] = sum;
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

}  // namespace graft::training
