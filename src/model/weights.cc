#include "model/weights.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <cstring>

#include "formats/safetensors.h"
#include "model/prepare.h"
#include "ops/cpu/parallel.h"

namespace graft::model {

namespace {

// Looks tensors up in one prepared file and checks them.
class Reader {
 public:
  Reader(std::shared_ptr<const formats::SafetensorsFile> file, WeightDType dtype)
      : file_(std::move(file)), dtype_(dtype) {}

  Result<const formats::TensorView*> find(const std::string& name, formats::DType dtype, int64_t elements) const {
    const formats::TensorView* view = file_->find(name);
    if (view == nullptr || view->dtype != dtype || view->elements() != elements) {
      return invalid(
          fmt::format("{}: tensor {} is missing or of another shape: the prepared file does not belong to "
                      "this model; remove it and import the model again",
                      file_->path().string(), name));
    }
    return view;
  }

  Result<at::Tensor> norm(const std::string& name, int64_t size) const {
    GRAFT_TRY(const formats::TensorView* view, find(name, formats::DType::kF32, size));
    at::Tensor out = at::empty({size}, at::TensorOptions().dtype(at::kFloat));
    std::memcpy(out.mutable_data_ptr(), view->data.data(), view->data.size());
    return out;
  }

  Status add_part(const std::string& name, int64_t n, int64_t k, ops::LinearWeight& to) const {
    const ops::LinearWeight as = stored_as({name, "", n, k, true}, dtype_);
    const formats::DType stored = stored_dtype(as);
    const int64_t elements = ops::stored_bytes(as, n, k) / formats::dtype_layout(stored).block_bytes;
    GRAFT_TRY(const formats::TensorView* view, find(name, stored, elements));
    to.dtype = as.dtype;
    to.format = as.format;
    to.in_features = k;
    to.parts.push_back({view->data.data(), n, to.out_features});
    to.out_features += n;
    to.owner = file_;
    return {};
  }

 private:
  std::shared_ptr<const formats::SafetensorsFile> file_;
  WeightDType dtype_;
};

Result<LayerWeights> read_layer(const Reader& reader, const formats::ModelSpec& spec, int64_t layer) {
  LayerWeights weights;
  const std::string prefix = fmt::format("layers.{}.", layer);
  GRAFT_TRY(weights.attention_norm, reader.norm(prefix + "attention_norm", spec.hidden_size));
  GRAFT_TRY(weights.mlp_norm, reader.norm(prefix + "mlp_norm", spec.hidden_size));
  for (const Projection p : kProjections) {
    GRAFT_CHECK_OK(reader.add_part(prefix + std::string(projection_name(p)), out_features(spec, p),
                                   in_features(spec, p), weights.linears[place_of(p).linear]));
  }
  return weights;
}

}  // namespace

at::Tensor dense_weight(const Weights& weights, int64_t layer, Projection projection) {
  const ProjectionPlace place = place_of(projection);
  const ops::LinearWeight& weight = weights.layers[static_cast<size_t>(layer)].linears[place.linear];
  const ops::cpu::WeightPart& part = weight.parts[static_cast<size_t>(place.part)];
  at::Tensor w = at::empty({part.n, weight.in_features}, at::TensorOptions().dtype(at::kFloat));
  auto* rows = w.mutable_data_ptr<float>();
  ops::cpu::parallel_for(part.n,
                         [&](int64_t row) { ops::read_row(weight, part, row, rows + row * weight.in_features); });
  return w;
}

formats::DType stored_dtype(const ops::LinearWeight& weight) {
  if (weight.format != ops::cpu::WeightFormat::kDense) return formats::DType::kU8;
  return weight.dtype == at::kBFloat16 ? formats::DType::kBF16 : formats::DType::kF32;
}

void release_pages(const Weights& weights) {
  if (weights.file == nullptr) return;
  const auto bytes = weights.file->bytes();  // mapped: nothing is lost
  madvise(const_cast<std::byte*>(bytes.data()), bytes.size(), MADV_DONTNEED);
}

Result<Weights> open_prepared(const std::filesystem::path& path, const formats::ModelSpec& spec) {
  GRAFT_TRY(auto opened, formats::SafetensorsFile::open(path));
  const auto file = std::make_shared<const formats::SafetensorsFile>(std::move(opened));
  const auto layout = file->metadata().find("layout");
  const auto dtype = file->metadata().find("dtype");
  if (layout == file->metadata().end() || layout->second != kLayoutVersion || dtype == file->metadata().end()) {
    return invalid(
        fmt::format("{}: not a prepared file of layout {}; import the model again", path.string(), kLayoutVersion));
  }
  if (const auto shapes = file->metadata().find("shapes");
      shapes == file->metadata().end() || shapes->second != shape_summary(spec)) {
    return invalid(fmt::format("{}: prepared for another model ({}); import the model again", path.string(),
                               shapes == file->metadata().end() ? "of unknown shape" : shapes->second));
  }
  const auto stored = weight_dtype_from_name(dtype->second);
  if (!stored) {
    return invalid(fmt::format("{}: prepared as {}, which this version does not know; import the model again",
                               path.string(), dtype->second));
  }
  Weights weights;
  weights.file = file;
  weights.dtype = *stored == WeightDType::kFloat32 ? at::kFloat : at::kBFloat16;
  const Reader reader(file, *stored);
  GRAFT_CHECK_OK(reader.add_part("embedding", spec.vocab_size, spec.hidden_size, weights.embedding));
  GRAFT_TRY(weights.final_norm, reader.norm("final_norm", spec.hidden_size));
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    GRAFT_TRY(LayerWeights read, read_layer(reader, spec, layer));
    weights.layers.push_back(std::move(read));
  }
  if (spec.tie_word_embeddings) {
    weights.lm_head = weights.embedding;
  } else {
    GRAFT_CHECK_OK(reader.add_part("lm_head", spec.vocab_size, spec.hidden_size, weights.lm_head));
  }
  return weights;
}

}  // namespace graft::model
