#include "recipe/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string_view>

namespace graft::recipe {
namespace {

constexpr int64_t kFloat = 4;

// Which inputs of a layer's linears the backward pass needs again: only those that feed an adapter.
struct AdaptedInputs {
  bool attention = false;  // q, k, v
  bool mlp = false;        // gate, up
  bool down = false;
};

AdaptedInputs adapted_inputs(const std::vector<formats::AdapterSlot>& slots) {
  AdaptedInputs inputs;
  for (const auto& slot : slots) {
    const std::string_view path = slot.path;
    inputs.attention =
        inputs.attention || path.ends_with("q_proj") || path.ends_with("k_proj") || path.ends_with("v_proj");
    inputs.mlp = inputs.mlp || path.ends_with("gate_proj") || path.ends_with("up_proj");
    inputs.down = inputs.down || path.ends_with("down_proj");
  }
  return inputs;
}

int64_t adapter_parameters(const std::vector<formats::AdapterSlot>& slots) {
  int64_t parameters = 0;
  for (const auto& slot : slots) parameters += slot.r * (slot.in + slot.out);
  return parameters;
}

// Kept from the forward pass until the backward pass, for a token.
int64_t saved_per_token(const MemoryInputs& inputs) {
  const auto& spec = inputs.spec;
  const AdaptedInputs adapted = adapted_inputs(inputs.slots);
  const int64_t heads = (spec.num_heads + 2 * spec.num_kv_heads) * spec.head_dim;
  int64_t floats = 2 * spec.hidden_size;       // the residual before each norm
  floats += spec.num_heads + 2;                // of the attention's softmax and the norms
  int64_t elements = heads;                    // rotated q, k, v
  elements += spec.num_heads * spec.head_dim;  // attended values
  elements += 2 * spec.intermediate_size;      // gate and up
  if (adapted.attention || inputs.full) elements += spec.hidden_size;
  if (adapted.mlp || inputs.full) elements += spec.hidden_size;
  if (adapted.down || inputs.full) elements += spec.intermediate_size;
  int64_t ranks = 0;
  for (const auto& slot : inputs.slots) ranks += slot.r;
  const int64_t layer = floats * kFloat + elements * inputs.dtype_bytes;
  if (!inputs.checkpointing) return spec.num_layers * layer + ranks * kFloat;
  const int64_t layers = std::max<int64_t>(spec.num_layers, 1);
  return spec.num_layers * spec.hidden_size * kFloat + layer + ranks * kFloat / layers;
}

// What the layer at work needs on top: the widest pair of a gradient and what it is computed from, and the residual's
// gradient.
int64_t working_per_token(const MemoryInputs& inputs) {
  const auto& spec = inputs.spec;
  const int64_t gradients = 4 * spec.intermediate_size * inputs.dtype_bytes + 3 * spec.hidden_size * kFloat;
  // The operands of a weight's gradient, in the kernels' order.
  const int64_t operands = inputs.full ? (2 * spec.intermediate_size + spec.hidden_size) * inputs.dtype_bytes : 0;
  return gradients + operands;
}

std::string human(int64_t bytes) {
  constexpr double kMiB = 1024.0 * 1024.0;
  const double mib = static_cast<double>(bytes) / kMiB;
  return mib < 1024 ? fmt::format("{:.0f} MiB", std::max(mib, bytes > 0 ? 1.0 : 0.0))
                    : fmt::format("{:.1f} GiB", mib / 1024);
}

}  // namespace

int64_t MemoryPlan::total() const {
  return std::accumulate(items.begin(), items.end(), int64_t{0},
                         [](int64_t sum, const MemoryItem& item) { return sum + item.bytes; });
}

double weight_bytes(const std::string& dtype) {
  if (dtype == "float32") return 4;
  if (dtype == "int8") return 8.5 / 8;
  return dtype == "int4" ? 5.0 / 8 : 2;
}

MemoryPlan plan_memory(const MemoryInputs& inputs) {
  const auto& spec = inputs.spec;
  const int64_t parameters = adapter_parameters(inputs.slots);
  MemoryPlan plan;
  plan.micro_batch_tokens = inputs.micro_batch_tokens;
  plan.checkpointing = inputs.checkpointing;
  plan.one_pass = inputs.full;
  plan.bytes_per_token = saved_per_token(inputs) + working_per_token(inputs);
  // Final norm, its gradient, and the logits of one chunk with their gradient.
  const int64_t output = 2 * inputs.micro_batch_tokens * spec.hidden_size * kFloat +
                         2 * inputs.engine.logit_rows * spec.vocab_size * kFloat;
  const int64_t cache =
      inputs.sample_tokens * spec.num_layers * 2 * spec.num_kv_heads * spec.head_dim * inputs.dtype_bytes;
  const auto weights = static_cast<int64_t>(static_cast<double>(spec.parameter_count()) * inputs.weight_bytes);
  const MemoryItem trained =
      inputs.full ? MemoryItem{"optimizer", spec.parameter_count() * inputs.optimizer_bytes}
                  : MemoryItem{"adapter, gradients, optimizer",
                               parameters * (2 * kFloat + inputs.optimizer_bytes + 2 * inputs.dtype_bytes)};
  plan.items = {
      {inputs.full ? "weights" : "base weights", weights},
      trained,
      {fmt::format("activations of {} tokens{}", inputs.micro_batch_tokens,
                   inputs.checkpointing ? ", checkpointed" : ""),
       inputs.micro_batch_tokens * plan.bytes_per_token},
      {"output layer and loss", output},
      {"cache for samples", cache},
      {"program", inputs.engine.fixed_bytes},
  };
  return plan;
}

MemoryPlan choose_plan(MemoryInputs inputs, std::optional<bool> wanted, std::optional<int64_t> available) {
  inputs.checkpointing = wanted.value_or(false);
  MemoryPlan plan = plan_memory(inputs);
  if (wanted || check_memory(plan, available).ok()) return plan;
  inputs.checkpointing = true;
  return plan_memory(inputs);
}

int64_t largest_micro_batch(const TrainerConfig& trainer, int64_t longest_row) {
  const int64_t limit = std::max(trainer.max_micro_batch_tokens, longest_row);
  if (trainer.max_batch_tokens) return std::min(limit, std::max(*trainer.max_batch_tokens, longest_row));
  const int64_t rows = std::min(trainer.effective_batch_size.value_or(1), limit);
  return std::min(limit, rows * longest_row);
}

std::string memory_table(const MemoryPlan& plan, std::optional<int64_t> available) {
  std::string table;
  const auto line = [&](const std::string& name, const std::string& value) {
    table += fmt::format("  {:<40}{:>10}\n", name, value);
  };
  for (const auto& item : plan.items) line(item.name, human(item.bytes));
  line("total", human(plan.total()));
  line("available", available ? human(*available) : "unknown");
  return table;
}

Status check_memory(const MemoryPlan& plan, std::optional<int64_t> available) {
  if (!available || plan.total() <= *available) return {};
  const int64_t activations = plan.micro_batch_tokens * plan.bytes_per_token;
  const int64_t room = *available - (plan.total() - activations);
  const int64_t tokens = plan.bytes_per_token > 0 ? room / plan.bytes_per_token : 0;
  const std::string needs =
      fmt::format("needs about {} of memory, {} are available", human(plan.total()), human(*available));
  const std::string checkpointing =
      plan.checkpointing ? "" : "leave trainer.enable_gradient_checkpointing on auto, or ";
  if (tokens < 64) {
    return unsupported(
        fmt::format("{}; {}use a smaller base model, or a machine with more memory", needs, checkpointing));
  }
  return unsupported(fmt::format(
      "{}; {}set trainer.{} to {} or less (and where rows are longer, "
      "preprocessing.global_max_sequence_length)",
      needs, checkpointing, plan.one_pass ? "max_batch_tokens" : "max_micro_batch_tokens", tokens / 64 * 64));
}

}  // namespace graft::recipe
