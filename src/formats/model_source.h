#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "formats/model_layout.h"
#include "formats/model_spec.h"

namespace graft::formats {

// A model as it comes: a Hugging Face directory (config.json, tokenizer.json, safetensors or PyTorch's .bin files), a
// .gguf file or any part of a split one.
// Opening checks that every weight of the architecture is there in the right shape and that none is left over.
class ModelSource {
 public:
  static Result<std::unique_ptr<ModelSource>> open(const std::filesystem::path& path);
  virtual ~ModelSource() = default;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] const ModelSpec& spec() const { return spec_; }

  // The weights under Hugging Face's names, in the order of the forward pass; lm_head.weight is absent where tied.
  [[nodiscard]] std::vector<WeightShape> weights() const { return weight_shapes(spec_); }
  [[nodiscard]] std::vector<std::string> tensor_names() const;

  // One weight as float32, row-major, shape as in weights(); rows of Q and K in Hugging Face's rotary order whatever
  // the file's. A NaN or an infinity is an error that names the tensor and the element. Safe from many threads.
  [[nodiscard]] virtual Result<std::vector<float>> read(std::string_view name) const = 0;

  [[nodiscard]] const std::string& tokenizer_json() const { return tokenizer_json_; }
  // clean_up_tokenization_spaces of tokenizer_config.json: whether decoding drops spaces in front of punctuation.
  [[nodiscard]] bool clean_up_spaces() const { return clean_up_spaces_; }
  [[nodiscard]] const std::string& chat_template() const { return chat_template_; }  // empty where there is none
  // All of a model's templates by name: "default", which is the one above, "tool_use", "rag", ... Empty where there are
  // none.
  [[nodiscard]] std::map<std::string, std::string> chat_templates() const {
    auto all = more_chat_templates_;
    if (!chat_template_.empty()) all["default"] = chat_template_;
    return all;
  }

  // "bos_token", "eos_token", "pad_token", "unk_token", ... -> text, those that are set: the variables of templates.
  [[nodiscard]] const std::map<std::string, std::string>& special_tokens() const { return special_tokens_; }

  // The files it was read from.
  [[nodiscard]] virtual std::vector<std::filesystem::path> files() const = 0;

  // SHA-256 over the names and bytes of everything above: config, tokenizer, template and every byte of the weights.
  // Reads the whole model.
  [[nodiscard]] virtual Result<std::string> digest() const = 0;

 protected:
  explicit ModelSource(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
  ModelSpec spec_;
  std::string tokenizer_json_;
  bool clean_up_spaces_ = false;
  std::string chat_template_;
  std::map<std::string, std::string> more_chat_templates_;
  std::map<std::string, std::string> special_tokens_;
};

}  // namespace graft::formats
