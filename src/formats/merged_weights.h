#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/model_source.h"
#include "formats/peft_adapter.h"

namespace graft::formats {

// Folds a module's change into its weight, in place and in float32 as PEFT's merge does: W + scale B A, and for a DoRA
// (arXiv:2402.09353) each row of that brought to the length that the magnitudes say. `weight` is [out, in].
Status fold_module(const AdapterModule& module, std::span<float> weight);

// The weights of a base model with an adapter folded in, read one at a time: what ExportOptions::read takes. LoRA,
// rsLoRA, rank and alpha patterns, DoRA. The source must outlive it.
class MergedWeights {
 public:
  // Errors: as PeftAdapter::open; unsupported where the adapter changes an output layer that is tied to the embedding,
  // which would change with it.
  // `read_base` gives other values for the base's weights, as ModelSource::read does; by default the source's own.
  using Read = std::function<Result<std::vector<float>>(const std::string& name)>;
  static Result<MergedWeights> open(const ModelSource& base, const std::filesystem::path& adapter, Read read_base = {});

  // As ModelSource::read. A result that is NaN or infinite is an error that names the tensor.
  [[nodiscard]] Result<std::vector<float>> read(const std::string& name) const;

  [[nodiscard]] const PeftAdapter& adapter() const { return adapter_; }

 private:
  MergedWeights(Read read_base, PeftAdapter adapter);

  Read read_base_;
  PeftAdapter adapter_;
  std::map<std::string, size_t> places_;  // of the module that changes a weight, by the weight's name
};

}  // namespace graft::formats
