#include "runtime/executor/executor.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <numeric>

#include "formats/dequantise.h"
#include "model/peft.h"
#include "ops/cpu/parallel.h"

namespace graft::runtime {

namespace {

// The rows of one step, sorted by adapter.
struct RaggedBatch {
  std::vector<int32_t> tokens;
  std::vector<ops::KvSequence> sequences;
  std::vector<model::AdapterSegment> segments;
  std::vector<int64_t> first_row;  // by slice
};

const model::Adapter* adapter_of(const SequenceSlice& slice) {
  return slice.adapter == nullptr ? nullptr : &static_cast<const LoadedAdapter*>(slice.adapter)->adapter();
}

RaggedBatch gather(std::span<const SequenceSlice> slices) {
  std::vector<size_t> order(slices.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t x, size_t y) { return std::less<>()(slices[x].adapter, slices[y].adapter); });
  RaggedBatch batch;
  batch.first_row.resize(slices.size());
  for (const size_t i : order) {
    const SequenceSlice& slice = slices[i];
    const auto begin = static_cast<int64_t>(batch.tokens.size());
    batch.first_row[i] = begin;
    batch.tokens.insert(batch.tokens.end(), slice.tokens.begin(), slice.tokens.end());
    const auto end = static_cast<int64_t>(batch.tokens.size());
    batch.sequences.push_back({begin, end, slice.start, slice.blocks});
    const model::Adapter* adapter = adapter_of(slice);
    if (adapter == nullptr) continue;
    if (!batch.segments.empty() && batch.segments.back().adapter == adapter) {
      batch.segments.back().row_end = end;
    } else {
      batch.segments.push_back({begin, end, adapter});
    }
  }
  return batch;
}

// Rows of the batch whose logits, or hidden states, are asked for, in the order of the slices.
std::vector<int64_t> asked_rows(std::span<const SequenceSlice> slices, const RaggedBatch& batch, bool hidden) {
  std::vector<int64_t> rows;
  for (size_t i = 0; i < slices.size(); ++i) {
    if (slices[i].hidden != hidden) continue;
    const auto n = static_cast<int64_t>(slices[i].tokens.size());
    const int64_t from = slices[i].logits == LogitRows::kAll ? 0 : n - 1;
    if (slices[i].logits == LogitRows::kNone) continue;
    for (int64_t row = from; row < n; ++row) rows.push_back(batch.first_row[i] + row);
  }
  return rows;
}

at::Tensor select_rows(const at::Tensor& from, const std::vector<int64_t>& rows) {
  const int64_t width = from.size(1);
  at::Tensor out = at::empty({static_cast<int64_t>(rows.size()), width}, from.options());
  for (size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(out.mutable_data_ptr<float>() + static_cast<int64_t>(i) * width,
                from.const_data_ptr<float>() + rows[i] * width, static_cast<size_t>(width) * sizeof(float));
  }
  return out;
}

Result<std::optional<ClassificationHead>> head_of(const formats::PeftAdapter& files) {
  if (!files.head()) return std::optional<ClassificationHead>();
  ClassificationHead head;
  if (files.config().task == formats::PeftTask::kTokenClassification) head.kind = ClassificationHead::Kind::kToken;
  head.labels = files.head()->labels;
  head.weight.resize(static_cast<size_t>(files.head()->weight.elements()));
  GRAFT_CHECK_OK(formats::to_float32(files.head()->weight, head.weight));
  if (files.head()->bias) {
    head.bias.resize(head.labels.size());
    GRAFT_CHECK_OK(formats::to_float32(*files.head()->bias, head.bias));
  }
  return std::optional(std::move(head));
}

class PagedContext : public model::AttentionContext {
 public:
  PagedContext(const std::vector<ops::KvLayer>& cache, std::span<const ops::KvSequence> sequences)
      : cache_(&cache), sequences_(sequences) {}
  at::Tensor attend(int64_t layer, at::Tensor& qkv, const ops::AttentionShape& shape,
                    const ops::RopeTable& rope) override {
    return ops::paged_attention(qkv, shape, rope, (*cache_)[static_cast<size_t>(layer)], sequences_);
  }

 private:
  const std::vector<ops::KvLayer>* cache_;
  std::span<const ops::KvSequence> sequences_;
};

class Executor : public StepModel {
 public:
  Executor(std::shared_ptr<const model::Decoder> decoder, int32_t blocks, bool kv_int8) : decoder_(std::move(decoder)) {
    const formats::ModelSpec& spec = decoder_->spec();
    info_ = {spec.vocab_size, spec.max_position, blocks, static_cast<int32_t>(ops::kKvBlockSize), spec.hidden_size};
    for (int64_t i = 0; i < spec.num_layers; ++i) {
      cache_.push_back(
          ops::make_kv_layer(blocks, decoder_->attention_shape(), kv_int8 ? at::kChar : decoder_->dtype()));
    }
  }

  [[nodiscard]] const StepModelInfo& info() const override { return info_; }

  Result<std::span<const float>> step(std::span<const SequenceSlice> slices) override {
    if (auto checked = check(slices); !checked.ok()) return checked.error();
    try {
      return run(slices);
    } catch (const std::exception& e) {
      return internal_error(fmt::format("the forward pass failed: {}", first_line(e.what())));
    }
  }

  [[nodiscard]] std::span<const float> hidden() const override { return hidden_; }

  void for_each(int64_t count, const std::function<void(int64_t)>& task) const override {
    ops::cpu::parallel_for(count, [&](int64_t i) { task(i); });
  }

  [[nodiscard]] Result<std::shared_ptr<const AdapterWeights>> load_adapter(
      const std::string& directory) const override {
    try {
      GRAFT_TRY(const auto files,
                formats::PeftAdapter::open(directory, decoder_->spec(), {.dora = true, .head = true}));
      GRAFT_TRY(model::Adapter adapter, model::adapter_from_peft(files, decoder_->spec(), decoder_->weights(), false));
      GRAFT_TRY(auto head, head_of(files));
      return std::shared_ptr<const AdapterWeights>(
          std::make_shared<LoadedAdapter>(std::move(adapter), std::move(head)));
    } catch (const std::exception& e) {
      return internal_error(fmt::format("{}: the adapter could not be loaded: {}", directory, first_line(e.what())));
    }
  }

 private:
  static std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

  [[nodiscard]] Status check(std::span<const SequenceSlice> slices) const {
    for (const SequenceSlice& slice : slices) {
      const int64_t end = slice.start + static_cast<int64_t>(slice.tokens.size());
      if (slice.tokens.empty() || slice.start < 0 || end > info_.max_position ||
          static_cast<int64_t>(slice.blocks.size()) * info_.block_size < end) {
        return internal_error(
            fmt::format("a slice of {} tokens from position {} does not fit its {} blocks or the "
                        "model's {} positions",
                        slice.tokens.size(), slice.start, slice.blocks.size(), info_.max_position));
      }
      for (const int32_t token : slice.tokens) {
        if (token < 0 || token >= info_.vocab_size) {
          return invalid(fmt::format("token {} is outside the vocabulary of {}", token, info_.vocab_size));
        }
      }
    }
    return {};
  }

  std::span<const float> run(std::span<const SequenceSlice> slices) {
    const at::NoGradGuard no_grad;
    const RaggedBatch batch = gather(slices);
    PagedContext context(cache_, batch.sequences);
    const at::Tensor residual = decoder_->forward(batch.tokens, context, batch.segments);
    keep_hidden(residual, asked_rows(slices, batch, true));
    const std::vector<int64_t> rows = asked_rows(slices, batch, false);
    if (rows.empty()) return {};
    const auto count = static_cast<int64_t>(rows.size());
    if (!logits_.defined() || logits_.size(0) < count) {
      logits_ = at::empty({count, info_.vocab_size}, at::TensorOptions().dtype(at::kFloat));
    }
    decoder_->logits(decoder_->final_norm(select_rows(residual, rows)), logits_);
    return {logits_.const_data_ptr<float>(), static_cast<size_t>(count * info_.vocab_size)};
  }

  void keep_hidden(const at::Tensor& residual, const std::vector<int64_t>& rows) {
    hidden_.clear();
    if (rows.empty()) return;
    const at::Tensor normed = decoder_->final_norm(select_rows(residual, rows)).to(at::kFloat);
    hidden_.assign(normed.const_data_ptr<float>(), normed.const_data_ptr<float>() + normed.numel());
  }

  std::shared_ptr<const model::Decoder> decoder_;
  StepModelInfo info_;
  std::vector<ops::KvLayer> cache_;
  at::Tensor logits_;
  std::vector<float> hidden_;
};

}  // namespace

int64_t kv_bytes_per_token(const formats::ModelSpec& spec, at::ScalarType dtype, bool kv_int8) {
  const int64_t head = kv_int8 ? spec.head_dim + 4 : spec.head_dim * (dtype == at::kBFloat16 ? 2 : 4);
  return 2 * spec.num_layers * spec.num_kv_heads * head;
}

Result<std::unique_ptr<StepModel>> make_executor(std::shared_ptr<const model::Decoder> decoder,
                                                 const ExecutorOptions& options) {
  const int64_t blocks = (options.kv_tokens + ops::kKvBlockSize - 1) / ops::kKvBlockSize;
  if (blocks < 1 || blocks > INT32_MAX) {
    return invalid(fmt::format("a KV cache of {} tokens is not possible", options.kv_tokens));
  }
  try {
    return std::unique_ptr<StepModel>(
        std::make_unique<Executor>(std::move(decoder), static_cast<int32_t>(blocks), options.kv_int8));
  } catch (const std::exception&) {
    return overloaded(fmt::format("no memory for a KV cache of {} tokens: ask for less with --max-batch-total-tokens",
                                  options.kv_tokens));
  }
}

}  // namespace graft::runtime
