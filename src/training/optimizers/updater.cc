#include "training/optimizers/updater.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"

namespace graft::training {
namespace {

constexpr const char* kFile = "optimizer.safetensors";
constexpr int64_t kChunk = 1 << 16;

// Whether `part` is the name, or whole dotted parts of it.
bool names(const std::string& part, const std::string& name) {
  return ("." + name + ".").find("." + part + ".") != std::string::npos;
}

bool is_lora_b(const std::string& name) { return names("lora_B", name) || names("lora_embedding_B", name); }

std::span<const std::byte> bytes_of(const StateTensor& tensor) {
  return std::visit([](const auto& values) { return std::as_bytes(values); }, tensor.values);
}

formats::DType dtype_of(const StateTensor& tensor) {
  return std::holds_alternative<std::span<float>>(tensor.values) ? formats::DType::kF32 : formats::DType::kU8;
}

Status copy_into(const StateTensor& tensor, const formats::SafetensorsFile& file) {
  const formats::TensorView* view = file.find(tensor.name);
  const auto to = bytes_of(tensor);
  if (view == nullptr || view->dtype != dtype_of(tensor) || view->data.size() != to.size()) {
    return invalid(fmt::format("{}: {} is missing or of another size: the checkpoint is of another adapter",
                               file.path().string(), tensor.name));
  }
  std::visit(
      [&](const auto& values) {
        if (!values.empty()) std::memcpy(values.data(), view->data.data(), values.size_bytes());
      },
      tensor.values);
  return {};
}

Result<int64_t> step_of(const formats::SafetensorsFile& file) {
  const auto step = file.metadata().find("step");
  int64_t value = -1;
  if (step != file.metadata().end()) {
    std::from_chars(step->second.data(), step->second.data() + step->second.size(), value);
  }
  if (value < 0) return invalid(fmt::format("{}: no step count: the checkpoint is damaged", file.path().string()));
  return value;
}

}  // namespace

Status exempt_from_decay(const std::vector<std::string>& no_decay, std::vector<ParameterBlock>& blocks) {
  for (const std::string& part : no_decay) {
    bool used = false;
    for (ParameterBlock& block : blocks) {
      if (!names(part, block.name)) continue;
      used = true;
      block.decays = false;
    }
    if (used) continue;
    return invalid(fmt::format("trainer.optimizer.no_decay: '{}' names no trained parameter; their names look like {}",
                               part, blocks.empty() ? "lora_B" : blocks.back().name));
  }
  return {};
}

Result<Updater> Updater::create(const Optimization& optimization, std::vector<ParameterBlock> blocks,
                                std::span<float> parameters, std::span<float> gradients, RunTasks run) {
  for (ParameterBlock& block : blocks) {
    if (is_lora_b(block.name)) block.learning_rate_scale *= optimization.loraplus_lr_ratio;
  }
  GRAFT_CHECK_OK(exempt_from_decay(optimization.no_decay, blocks));
  return Updater(optimization, std::move(blocks), parameters, gradients, std::move(run));
}

Updater::Updater(Optimization optimization, std::vector<ParameterBlock> blocks, std::span<float> parameters,
                 std::span<float> gradients, RunTasks run)
    : optimization_(std::move(optimization)),
      parameters_(parameters),
      gradients_(gradients),
      run_(std::move(run)),
      optimizer_(make_optimizer(optimization_.optimizer, std::move(blocks), static_cast<int64_t>(parameters.size()))) {
  if (optimization_.ema_decay > 0) average_.resize(parameters.size());
}

double Updater::step(const StepParams& params) {
  show_trained();
  const double norm = gradient_norm(gradients_, run_);
  if (!std::isfinite(norm)) return norm;
  OptimizerInput input{parameters_, gradients_, params.learning_rate, 1.0};
  if (params.max_grad_norm > 0 && norm > params.max_grad_norm) {
    input.gradient_scale = params.max_grad_norm / (norm + 1e-6);
  }
  optimizer_->step(input, run_);
  std::fill(gradients_.begin(), gradients_.end(), 0.0F);
  update_average();
  return norm;
}

// The first average is the parameters after the first step.
void Updater::update_average() {
  if (average_.empty()) return;
  if (optimizer_->steps() == 1) {
    std::copy(parameters_.begin(), parameters_.end(), average_.begin());
    return;
  }
  const auto weight = static_cast<float>(1 - optimization_.ema_decay);
  const auto n = static_cast<int64_t>(average_.size());
  run_((n + kChunk - 1) / kChunk, [&](int64_t chunk) {
    const auto end = static_cast<size_t>(std::min(n, (chunk + 1) * kChunk));
    for (auto i = static_cast<size_t>(chunk * kChunk); i < end; ++i) {
      average_[i] += weight * (parameters_[i] - average_[i]);
    }
  });
}

bool Updater::show_trained() { return average_shown_ && exchange(); }

bool Updater::show_average() { return !average_.empty() && optimizer_->steps() > 0 && !average_shown_ && exchange(); }

bool Updater::exchange() {
  std::swap_ranges(parameters_.begin(), parameters_.end(), average_.begin());
  average_shown_ = !average_shown_;
  return true;
}

std::vector<StateTensor> Updater::tensors() {
  std::vector<StateTensor> all = {{"parameters", parameters_}};
  for (StateTensor& tensor : optimizer_->state()) all.push_back(std::move(tensor));
  if (!average_.empty()) all.push_back({"average", average_});
  return all;
}

Status Updater::save(const std::string& directory) {
  show_trained();
  const std::vector<StateTensor> all = tensors();
  std::vector<formats::TensorView> views;
  for (const StateTensor& tensor : all) {
    const auto n = static_cast<int64_t>(std::visit([](const auto& values) { return values.size(); }, tensor.values));
    views.push_back({tensor.name, dtype_of(tensor), {n}, bytes_of(tensor)});
  }
  formats::SafetensorsWriterOptions options;
  options.metadata = {{"step", std::to_string(optimizer_->steps())},
                      {"optimizer", std::string(optimizer_name(optimization_.optimizer))}};
  return formats::write_safetensors(std::filesystem::path(directory) / kFile, views, options);
}

Status Updater::load(const std::string& directory) {
  show_trained();
  const std::string path = (std::filesystem::path(directory) / kFile).string();
  GRAFT_CHECK_OK(load_tensors(path));
  std::fill(gradients_.begin(), gradients_.end(), 0.0F);
  return {};
}

Status Updater::load_tensors(const std::string& path) {
  GRAFT_TRY(const auto file, formats::SafetensorsFile::open(path));
  const auto found = file.metadata().find("optimizer");
  const std::string theirs = found == file.metadata().end() ? "adamw" : found->second;
  const std::string_view ours = optimizer_name(optimization_.optimizer);
  if (theirs != ours) {
    return invalid(
        fmt::format("{}: the checkpoint is of the optimizer {}, this run has {}: set "
                    "trainer.optimizer.type to {}, or start a new run",
                    path, theirs, ours, theirs));
  }
  if ((file.find("average") != nullptr) != !average_.empty()) {
    return invalid(
        fmt::format("{}: the checkpoint has {} average of the parameters, this run has {}: leave "
                    "trainer.ema_decay as it was",
                    path, average_.empty() ? "an" : "no", average_.empty() ? "none" : "one"));
  }
  GRAFT_TRY(const int64_t steps, step_of(file));
  for (const StateTensor& tensor : tensors()) GRAFT_CHECK_OK(copy_into(tensor, file));
  optimizer_->set_steps(steps);
  return {};
}

int64_t Updater::bytes() const {
  return state_bytes(*optimizer_) + static_cast<int64_t>(average_.size() * sizeof(float));
}

}  // namespace graft::training
