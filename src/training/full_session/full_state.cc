#include "training/full_session/full_state.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <filesystem>

#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"

namespace graft::training {
namespace {

constexpr const char* kFile = "session.safetensors";

struct Piece {
  std::string name;
  formats::DType dtype;
  std::span<std::byte> bytes;
};

std::span<std::byte> bytes_of(at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.mutable_data_ptr()), static_cast<size_t>(tensor.nbytes())};
}

std::vector<Piece> pieces(FullWeights& weights, PackedAdamW& optimizer) {
  const bool wide = weights.weights().dtype == at::kFloat;
  std::vector<Piece> all = {
      {"weights", wide ? formats::DType::kF32 : formats::DType::kBF16, bytes_of(weights.packed())},
      {"vectors", formats::DType::kF32, bytes_of(weights.vector_values())}};
  for (const StateTensor& tensor : optimizer.state()) {
    const bool floats = std::holds_alternative<std::span<float>>(tensor.values);
    all.push_back({tensor.name, floats ? formats::DType::kF32 : formats::DType::kU8,
                   std::visit([](const auto& values) { return std::as_writable_bytes(values); }, tensor.values)});
  }
  return all;
}

}  // namespace

Status save_full_state(const std::string& directory, FullWeights& weights, PackedAdamW& optimizer) {
  std::vector<formats::TensorView> views;
  const std::vector<Piece> all = pieces(weights, optimizer);
  for (const Piece& piece : all) {
    const auto elements = static_cast<int64_t>(piece.bytes.size()) / formats::dtype_layout(piece.dtype).block_bytes;
    views.push_back({piece.name, piece.dtype, {elements}, piece.bytes});
  }
  formats::SafetensorsWriterOptions options;
  options.metadata = {{"step", std::to_string(optimizer.steps())}, {"layout", model::kLayoutVersion}};
  return formats::write_safetensors(std::filesystem::path(directory) / kFile, views, options);
}

Status load_full_state(const std::string& directory, FullWeights& weights, PackedAdamW& optimizer) {
  const std::string path = (std::filesystem::path(directory) / kFile).string();
  GRAFT_TRY(const auto file, formats::SafetensorsFile::open(path));
  const auto layout = file.metadata().find("layout");
  if (layout == file.metadata().end() || layout->second != model::kLayoutVersion) {
    return invalid(
        fmt::format("{}: written by a version of graft with another layout of weights; start a new run", path));
  }
  const auto step = file.metadata().find("step");
  int64_t steps = -1;
  if (step != file.metadata().end()) {
    std::from_chars(step->second.data(), step->second.data() + step->second.size(), steps);
  }
  if (steps < 0) return invalid(fmt::format("{}: no step count: the checkpoint is damaged", path));
  const std::vector<Piece> all = pieces(weights, optimizer);
  for (const Piece& piece : all) {
    const formats::TensorView* view = file.find(piece.name);
    if (view == nullptr || view->dtype != piece.dtype || view->data.size() != piece.bytes.size()) {
      return invalid(fmt::format(
          "{}: {} is missing or of another size: the checkpoint is of another model or of another optimizer: leave "
          "base_model, trainer.dtype and trainer.optimizer.type as they were, or start a new run",
          path, piece.name));
    }
  }
  for (const Piece& piece : all)
    std::memcpy(piece.bytes.data(), file.find(piece.name)->data.data(), piece.bytes.size());
  optimizer.set_steps(steps);
  return {};
}

}  // namespace graft::training
