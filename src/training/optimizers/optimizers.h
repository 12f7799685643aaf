#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "training/optimizers/optimizer.h"

// Of this room alone: what its optimizers share, and what makes them.
namespace graft::training {

// Blocks, where each one's state lies, and how the elements are cut into tasks.
class Layout {
 public:
  // State at the parameters' own offsets, `elements` long.
  static Layout flat(std::vector<ParameterBlock> blocks, int64_t elements);
  // State of these blocks alone, one after the other.
  static Layout compact(std::vector<ParameterBlock> blocks);

  [[nodiscard]] const std::vector<ParameterBlock>& blocks() const { return blocks_; }
  [[nodiscard]] int64_t state_offset(size_t block) const { return state_[block]; }
  [[nodiscard]] size_t state_elements() const { return static_cast<size_t>(state_elements_); }

  // f(block, begin, end, state): elements [begin, end) of the flat parameters, whose state begins at `state`. Pieces
  // begin at multiples of 256 elements of their block.
  template <class F>
  void for_each_piece(const RunTasks& run, const F& f) const {
    run(static_cast<int64_t>(pieces_.size()), [&](int64_t i) {
      const Piece& piece = pieces_[static_cast<size_t>(i)];
      const ParameterBlock& block = blocks_[piece.block];
      f(block, block.offset + piece.begin, block.offset + piece.end, state_[piece.block] + piece.begin);
    });
  }

 private:
  struct Piece {
    size_t block;
    int64_t begin, end;  // within the block
  };
  Layout(std::vector<ParameterBlock> blocks, std::vector<int64_t> state, int64_t elements);

  std::vector<ParameterBlock> blocks_;
  std::vector<int64_t> state_;
  int64_t state_elements_;
  std::vector<Piece> pieces_;
};

std::unique_ptr<Optimizer> make_adamw(const AdamWSettings& settings, Layout layout);
std::unique_ptr<Optimizer> make_adamw_8bit(const AdamW8bitSettings& settings, std::vector<ParameterBlock> blocks);
std::unique_ptr<Optimizer> make_lion(const LionSettings& settings, Layout layout);
std::unique_ptr<Optimizer> make_adafactor(const AdafactorSettings& settings, Layout layout);
std::unique_ptr<Optimizer> make_muon(const MuonSettings& settings, const std::vector<ParameterBlock>& blocks);
std::unique_ptr<Optimizer> make_sgd(const SgdSettings& settings, Layout layout);

// AdamW's constants of one step, in the types in which they are used.
struct AdamWStep {
  AdamWStep(const AdamWSettings& settings, const ParameterBlock& block, const OptimizerInput& input, int64_t step);
  float beta1, beta2, one_beta1, one_beta2, scale, decay, step_size, root, eps;
};

inline float decay_factor(double learning_rate, double weight_decay, const ParameterBlock& block) {
  return block.decays ? static_cast<float>(1 - learning_rate * weight_decay) : 1.0F;
}

}  // namespace graft::training
