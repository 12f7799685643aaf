#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/files.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/strings.h"
#include "formats/chat_template_files.h"
#include "formats/checkpoint.h"
#include "formats/hf_config.h"
#include "formats/model_sources.h"
#include "formats/sentencepiece.h"
#include "formats/weight_names.h"

namespace graft::formats {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 7> kSpecialTokens = {"bos_token", "eos_token", "pad_token", "unk_token",
                                                            "sep_token", "cls_token", "mask_token"};

// Everything that is read but the weights.
constexpr std::array<std::string_view, 7> kTextFiles = {
    "config.json",     "generation_config.json",  "tokenizer.json",     "tokenizer_config.json",
    "tokenizer.model", "special_tokens_map.json", "chat_template.jinja"};

Result<json> read_json(const fs::path& path) {
  GRAFT_TRY(const std::string text, read_file(path));
  auto parsed = parse_json(text);
  if (!parsed.ok()) return at(path.string(), parsed.error());
  if (!parsed->is_object()) return invalid(path.string() + ": must hold an object");
  return parsed;
}

// A special token is text, or an object with its text under "content".
void collect_special_tokens(const json& config, std::map<std::string, std::string>& tokens) {
  for (const std::string_view name : kSpecialTokens) {
    const auto entry = config.find(name);
    if (entry == config.end()) continue;
    if (entry->is_string()) tokens[std::string(name)] = entry->get<std::string>();
    if (entry->is_object() && entry->contains("content") && (*entry)["content"].is_string()) {
      tokens[std::string(name)] = (*entry)["content"].get<std::string>();
    }
  }
}

// Left-overs of older libraries that carry no information of their own: frequencies, causal masks, and the tied head.
bool ignorable(std::string_view name, const ModelSpec& spec) {
  for (const std::string_view buffer : {".rotary_emb.inv_freq", ".attn.bias", ".attention.bias", ".masked_bias"}) {
    if (name.ends_with(buffer)) return true;
  }
  return spec.tie_word_embeddings && name == std::string(weight_names(spec.weights)->lm_head) + ".weight";
}

class HfSource final : public ModelSource {
 public:
  HfSource(fs::path path, Checkpoint checkpoint) : ModelSource(std::move(path)), checkpoint_(std::move(checkpoint)) {}

  Status load() {
    GRAFT_TRY(spec_, read_hf_config(path_));
    GRAFT_CHECK_OK(check_tensors());
    GRAFT_CHECK_OK(load_tokenizer());
    if (fs::exists(path_ / "special_tokens_map.json")) {
      GRAFT_TRY(const json map, read_json(path_ / "special_tokens_map.json"));
      collect_special_tokens(map, special_tokens_);
    }
    const fs::path config_path = path_ / "tokenizer_config.json";
    if (fs::exists(config_path)) {
      GRAFT_TRY(const json config, read_json(config_path));
      collect_special_tokens(config, special_tokens_);
      const auto clean_up = config.find("clean_up_tokenization_spaces");
      clean_up_spaces_ = clean_up != config.end() && clean_up->is_boolean() && clean_up->get<bool>();
    }
    GRAFT_TRY(more_chat_templates_, read_chat_templates(path_));
    if (const auto found = more_chat_templates_.find("default"); found != more_chat_templates_.end()) {
      chat_template_ = found->second;
    }
    return {};
  }

  Result<std::vector<float>> read(std::string_view name) const override {
    const TensorView* view = checkpoint_.find(name);
    if (view == nullptr) return not_found(path_.string() + ": no tensor '" + printable(name) + "'");
    auto values = read_weight(*view);
    if (!values.ok()) return at(path_.string(), values.error());
    return values;
  }

  std::vector<fs::path> files() const override {
    std::vector<fs::path> files;
    for (const std::string& name : text_files()) files.push_back(path_ / name);
    for (const auto& file : checkpoint_.files()) files.push_back(file->path());
    return files;
  }

  Result<std::string> digest() const override {
    Sha256 digest;
    const auto add = [&](std::string_view name, std::span<const std::byte> bytes) {
      digest.update(std::string(name) + "\n" + std::to_string(bytes.size()) + "\n");
      digest.update(bytes);
    };
    for (const std::string& name : text_files()) {
      GRAFT_TRY(const MappedFile file, MappedFile::open(path_ / name));
      add(name, file.bytes());
    }
    for (const auto& file : checkpoint_.files()) add(file->path().filename().string(), file->bytes());
    return digest.hex();
  }

 private:
  Status load_tokenizer() {
    if (fs::exists(path_ / "tokenizer.json")) {
      GRAFT_TRY(tokenizer_json_, read_file(path_ / "tokenizer.json"));
      return {};
    }
    std::string config;
    if (fs::exists(path_ / "tokenizer_config.json")) {
      GRAFT_TRY(config, read_file(path_ / "tokenizer_config.json"));
    }
    GRAFT_TRY(const std::string bytes, read_file(path_ / "tokenizer.model"));
    auto converted = tokenizer_json_from_sentencepiece_file(bytes, config);
    if (!converted.ok()) return at((path_ / "tokenizer.model").string(), converted.error());
    tokenizer_json_ = std::move(converted).value();
    return {};
  }

  // Those that are there, in a fixed order.
  std::vector<std::string> text_files() const {
    std::vector<std::string> names;
    for (const std::string_view name : kTextFiles) {
      if (fs::exists(path_ / name)) names.emplace_back(name);
    }
    for (const auto& [name, source] : more_chat_templates_) {
      const std::string file = std::string(kChatTemplateFolder) + "/" + name + ".jinja";
      if (fs::exists(path_ / file)) names.push_back(file);
    }
    return names;
  }

  Status check_tensors() const {
    const Status status = check_weights(spec_, [this](const std::string& name) { return checkpoint_.find(name); });
    if (!status.ok()) return at(path_.string(), status.error());
    std::vector<std::string> known = tensor_names();
    std::sort(known.begin(), known.end());
    for (const std::string& name : checkpoint_.names()) {
      if (!std::binary_search(known.begin(), known.end(), name) && !ignorable(name, spec_)) {
        return unsupported(path_.string() + ": tensor '" + printable(name) + "' is no weight of " + spec_.architecture);
      }
    }
    return {};
  }

  Checkpoint checkpoint_;
};

}  // namespace

Result<std::unique_ptr<ModelSource>> open_hf_source(const fs::path& directory) {
  if (!fs::exists(directory / "config.json")) {
    return not_found(directory.string() + ": no config.json; give a Hugging Face model directory or a .gguf file");
  }
  if (!fs::exists(directory / "tokenizer.json") && !fs::exists(directory / "tokenizer.model")) {
    return not_found(directory.string() +
                     ": no tokenizer.json and no tokenizer.model; save the tokenizer with transformers' "
                     "save_pretrained");
  }
  GRAFT_TRY(Checkpoint checkpoint, Checkpoint::open(directory));
  auto source = std::make_unique<HfSource>(directory, std::move(checkpoint));
  GRAFT_CHECK_OK(source->load());
  return std::unique_ptr<ModelSource>(std::move(source));
}

}  // namespace graft::formats
