#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/checkpoint.h"
#include "formats/model_spec.h"
#include "formats/peft_config.h"
#include "formats/tensor.h"

namespace graft::formats {

struct AdapterModule {
  AdapterSlot slot;
  TensorView a;  // [r, in]
  TensorView b;  // [out, r]
  // [out], of a DoRA (arXiv:2402.09353): row i of the changed weight is m[i] / ||(W + scale B A)[i]|| times
  // (W + scale B A)[i]. Without a value: a LoRA.
  std::optional<TensorView> magnitude;
};

// The linear layer that a classifier has on top of the decoder.
struct AdapterHead {
  TensorView weight;               // [labels, hidden]
  std::optional<TensorView> bias;  // [labels]
  std::vector<std::string> labels;
};

struct PeftOpenOptions {
  bool dora = false;  // the caller applies magnitudes; else DoRA adapters are refused
  bool head = false;  // the caller applies a classification head; else classifiers are refused
};

// A directory that PEFT or graft wrote: adapter_config.json, and adapter_model.safetensors or else adapter_model.bin,
// checked against the base model: every targeted module has both factors, and a DoRA's its magnitudes, in the right
// shape, nothing else is in the file, every value is finite. An adapter made for another base is refused with the
// module that shows it.
class PeftAdapter {
 public:
  static Result<PeftAdapter> open(const std::filesystem::path& directory, const ModelSpec& base,
                                  const PeftOpenOptions& options = {});

  [[nodiscard]] const PeftConfig& config() const { return config_; }
  [[nodiscard]] const std::vector<AdapterModule>& modules() const { return modules_; }  // in linear_modules() order
  // Of a classifier. Its labels' names are those of `id2label` in a config.json beside the adapter, where there is one
  // (PEFT does not keep them), else LABEL_0, LABEL_1, ...
  [[nodiscard]] const std::optional<AdapterHead>& head() const { return head_; }
  [[nodiscard]] const std::string& digest() const { return digest_; }  // SHA-256 of both files
  // All factors under PEFT's names, sorted by them.
  [[nodiscard]] std::vector<TensorView> tensors() const;

 private:
  PeftAdapter(PeftConfig config, std::unique_ptr<WeightFile> file)
      : config_(std::move(config)), file_(std::move(file)) {}

  PeftConfig config_;
  std::unique_ptr<WeightFile> file_;
  std::vector<AdapterModule> modules_;
  std::optional<AdapterHead> head_;
  std::string digest_;
};

// float32 factors of one module, row-major.
struct AdapterFactors {
  std::string path;
  int64_t r = 0;
  int64_t in = 0;
  int64_t out = 0;
  std::span<const float> a;               // [r, in]
  std::span<const float> b;               // [out, r]
  std::span<const float> magnitude = {};  // [out] where the configuration says use_dora, else empty
};

// A classifier's head, to write. config.task says of which kind.
struct HeadFactors {
  std::span<const float> weight;  // [labels, hidden]
  std::span<const float> bias;    // [labels], or empty
  std::vector<std::string> labels;
};

// Writes both files into an existing directory, each atomically, the configuration last: a directory with
// adapter_config.json is complete. PEFT loads it.
Status write_peft_files(const std::filesystem::path& directory, const PeftConfig& config,
                        std::span<const AdapterFactors> factors, const HeadFactors* head = nullptr);

// The same as a directory of its own that appears in one step, taking the place of what is there.
Status write_peft_adapter(const std::filesystem::path& destination, const PeftConfig& config,
                          std::span<const AdapterFactors> factors);

}  // namespace graft::formats
