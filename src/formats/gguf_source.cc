#include <algorithm>
#include <array>

#include "base/digest.h"
#include "base/strings.h"
#include "formats/gguf_model.h"
#include "formats/model_sources.h"

namespace graft::formats {
namespace {

// llama.cpp rotates neighbouring pairs, Hugging Face the two halves of a head; so its converter reorders the rows of
// Q and K of Llama: row 2j + t of a head there is row t * half + j here. Works for weights and, with columns = 1, for
// biases.
std::vector<float> undo_rotary_order(const std::vector<float>& rows, int64_t heads, int64_t head_dim, int64_t columns) {
  std::vector<float> out(rows.size());
  const int64_t half = head_dim / 2;
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t j = 0; j < half; ++j) {
      for (int64_t t = 0; t < 2; ++t) {
        const int64_t from = (head * head_dim + 2 * j + t) * columns;
        const int64_t to = (head * head_dim + t * half + j) * columns;
        std::copy_n(rows.begin() + from, columns, out.begin() + to);
      }
    }
  }
  return out;
}

class GgufSource final : public ModelSource {
 public:
  GgufSource(std::filesystem::path path, GgufFile file) : ModelSource(std::move(path)), file_(std::move(file)) {}

  Status load() {
    GRAFT_TRY(spec_, spec_from_gguf(file_));
    GRAFT_CHECK_OK(refuse_unknown_weights());
    GRAFT_CHECK_OK(check_weights(spec_, [this](const std::string& name) { return find(name); }));
    GRAFT_CHECK_OK(refuse_other_tensors());
    GRAFT_TRY(tokenizer_json_, tokenizer_json_from_gguf(file_.metadata()));
    GRAFT_TRY(chat_template_, file_.metadata().text_or("tokenizer.chat_template", ""));
    return read_special_tokens();
  }

  Result<std::vector<float>> read(std::string_view name) const override {
    const TensorView* view = find(name);
    if (view == nullptr) return not_found(path_.string() + ": no tensor '" + printable(name) + "'");
    auto values = read_weight(*view);
    if (!values.ok()) return at(path_.string(), values.error());
    const bool query = name.find(".self_attn.q_proj.") != std::string_view::npos;
    const bool key = name.find(".self_attn.k_proj.") != std::string_view::npos;
    if ((!query && !key) || spec_.model_type != "llama") return values;
    const int64_t columns = view->shape.size() == 2 ? view->shape[1] : 1;
    return undo_rotary_order(*values, query ? spec_.num_heads : spec_.num_kv_heads, spec_.head_dim, columns);
  }

  std::vector<std::filesystem::path> files() const override {
    std::vector<std::filesystem::path> files;
    for (const GgufFile::Part& part : file_.parts()) files.push_back(part.path);
    return files;
  }

  // Everything is in the one file, or in its parts.
  Result<std::string> digest() const override {
    Sha256 digest;
    for (const GgufFile::Part& part : file_.parts()) digest.update(part.map.bytes());
    return digest.hex();
  }

 private:
  [[nodiscard]] const TensorView* find(std::string_view hf_name) const {
    const auto name = gguf_name_of_hf(hf_name);
    return name ? file_.find(*name) : nullptr;
  }

  // Other families' converters fuse, split or shift weights, each in its own way.
  [[nodiscard]] Status refuse_unknown_weights() const {
    for (const std::string_view known : {"llama", "qwen2", "qwen3"}) {
      if (spec_.model_type == known) return {};
    }
    return unsupported("the weights of " + spec_.architecture +
                       " cannot be read from a GGUF file; import the model's Hugging Face files instead");
  }

  Status refuse_other_tensors() const {
    std::vector<std::string> expected = tensor_names();
    std::sort(expected.begin(), expected.end());
    for (const TensorView& tensor : file_.tensors()) {
      const auto name = hf_name_of_gguf(tensor.name);
      const bool known = name && std::binary_search(expected.begin(), expected.end(), *name);
      if (!known && tensor.name != "rope_freqs.weight") {
        return unsupported("tensor '" + printable(tensor.name) + "' is no weight of " + spec_.architecture);
      }
    }
    return {};
  }

  Status read_special_tokens() {
    struct Named {
      std::string_view name;
      std::string_view key;
    };
    constexpr std::array kTokens = {
        Named{"bos_token", "tokenizer.ggml.bos_token_id"}, Named{"eos_token", "tokenizer.ggml.eos_token_id"},
        Named{"pad_token", "tokenizer.ggml.padding_token_id"}, Named{"unk_token", "tokenizer.ggml.unknown_token_id"}};
    GRAFT_TRY(const auto* tokens, file_.metadata().texts("tokenizer.ggml.tokens"));
    if (static_cast<int64_t>(tokens->size()) > spec_.vocab_size) {
      return invalid("tokenizer.ggml.tokens has " + std::to_string(tokens->size()) +
                     " tokens, but the embedding only " + std::to_string(spec_.vocab_size) + " rows");
    }
    for (const Named& token : kTokens) {
      if (!file_.metadata().has(token.key)) continue;
      GRAFT_TRY(const int64_t id, file_.metadata().integer(token.key));
      if (id < 0 || id >= static_cast<int64_t>(tokens->size())) {
        return invalid("metadata key '" + std::string(token.key) + "' is outside the vocabulary");
      }
      special_tokens_[std::string(token.name)] = (*tokens)[static_cast<size_t>(id)];
    }
    return {};
  }

  GgufFile file_;
};

}  // namespace

Result<std::unique_ptr<ModelSource>> open_gguf_source(const std::filesystem::path& path) {
  GRAFT_TRY(GgufFile file, GgufFile::open(path));
  auto source = std::make_unique<GgufSource>(path, std::move(file));
  if (const Status status = source->load(); !status.ok()) return at(path.string(), status.error());
  return std::unique_ptr<ModelSource>(std::move(source));
}

}  // namespace graft::formats
